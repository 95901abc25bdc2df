"""
The public names of the package, in one table.

From it come the lazy imports of `storage` and `storage.testing`, what type checkers see of them (``make generated``
writes it), the stores of the registry, and the classes of `storage.sync`. The table has only names, so that a name is
known without importing the back end of its store.
"""

from __future__ import annotations

import sys
from importlib import import_module

TYPE_CHECKING = False  # type checkers assume True; importing it from typing would take longer than all the rest
if TYPE_CHECKING:
    from typing import Any

__all__ = ["PUBLIC", "SHORT_NAMES", "STORES", "TESTING", "import_name"]

#: The public names of `storage`, and the module that defines each.
PUBLIC = {
    "Attributes": "storage.types",
    "Base64Store": "storage.decorators.base64",
    "BinaryFile": "storage.decorators.buffer",
    "BucketStore": "storage.stores.s3",
    "BufferStore": "storage.decorators.buffer",
    "BulkError": "storage.errors",
    "ByteRange": "storage.types",
    "BytesReader": "storage.reader",
    "CacheStats": "storage.decorators.caching.cache",
    "CachingStore": "storage.decorators.caching",
    "Capabilities": "storage.types",
    "Change": "storage.functions.sync_stores",
    "ChecksumStore": "storage.decorators.checksum",
    "Coder": "storage.decorators.bases.data_transform",
    "ConcurrencyLimitStore": "storage.decorators.concurrency_limit",
    "ConfigError": "storage.errors",
    "CorruptObjectError": "storage.errors",
    "Data": "storage.types",
    "DataTransform": "storage.decorators.bases.data_transform",
    "DictStore": "storage.stores.dict",
    "Difference": "storage.decorators.mirroring.verify",
    "EncryptingStore": "storage.decorators.encrypting",
    "Event": "storage.decorators.notifying",
    "ExceptionLoggingStore": "storage.decorators.exception_logging",
    "ExpiringStore": "storage.decorators.expiring",
    "ExtensionFilterStore": "storage.decorators.extension_filter",
    "FallbackStore": "storage.decorators.fallback",
    "FilesystemStore": "storage.stores.filesystem",
    "Finding": "storage.types",
    "GzipStore": "storage.decorators.gzip",
    "HashPrefixStore": "storage.decorators.hash_prefix",
    "HashdirStore": "storage.stores.hashdir",
    "HttpStore": "storage.stores.http",
    "IncompleteListingError": "storage.errors",
    "Interceptor": "storage.decorators.bases.interceptor",
    "InvalidKeyError": "storage.errors",
    "Json": "storage.decorators.json",
    "JsonLike": "storage.decorators.json",
    "JsonStore": "storage.decorators.json",
    "KeyConflictError": "storage.errors",
    "KeyExistsError": "storage.errors",
    "KeyNotFoundError": "storage.errors",
    "KeyTransform": "storage.decorators.bases.key_transform",
    "KeyValidatingStore": "storage.decorators.key_validating",
    "LoggingStore": "storage.decorators.logging",
    "MirrorError": "storage.errors",
    "MirroringStore": "storage.decorators.mirroring",
    "NotifyingStore": "storage.decorators.notifying",
    "ObjectInfo": "storage.types",
    "ObjectReader": "storage.reader",
    "ObjectStore": "storage.base",
    "OutcomeUnknownError": "storage.errors",
    "PermissionDeniedError": "storage.errors",
    "PreconditionFailedError": "storage.errors",
    "PrefixStore": "storage.decorators.prefix",
    "Progress": "storage.functions.progress",
    "RangeNotSatisfiableError": "storage.errors",
    "ReadonlyStore": "storage.decorators.readonly",
    "RedisStore": "storage.stores.redis",
    "ReentrantCallError": "storage.errors",
    "RegexValidatingStore": "storage.decorators.regex_validating",
    "Registry": "storage.config.registry",
    "RetryingStore": "storage.decorators.retrying",
    "RoutingStore": "storage.decorators.routing",
    "SafeFilesystemStore": "storage.stores.safe_filesystem",
    "SqliteStore": "storage.stores.sqlite",
    "StackWarning": "storage.decorators.bases.stacking",
    "StorageError": "storage.errors",
    "StoreClosedError": "storage.errors",
    "StoreDecorator": "storage.decorators.bases.store_decorator",
    "StoreFactory": "storage.config.factory",
    "StoreFullError": "storage.errors",
    "StoreTimeoutError": "storage.errors",
    "StoreUnavailableError": "storage.errors",
    "StoreUrl": "storage.config.urls",
    "TelemetryStore": "storage.decorators.telemetry",
    "TextEncodingStore": "storage.decorators.text_encoding",
    "ThrottlingStore": "storage.decorators.throttling",
    "TieredStore": "storage.decorators.tiered",
    "TimeoutStore": "storage.decorators.timeout",
    "UnsupportedOperationError": "storage.errors",
    "UrlEncodingStore": "storage.decorators.url_encoding",
    "UrlValidatingStore": "storage.decorators.url_validating",
    "ValueTransform": "storage.decorators.bases.value_transform",
    "WriteonlyStore": "storage.decorators.writeonly",
    "ZipStore": "storage.stores.zip",
    "ZstdStore": "storage.decorators.zstd",
    "clear_store": "storage.functions.clear_store",
    "copy_store": "storage.functions.copy_store",
    "describe": "storage.functions.describe",
    "get_or": "storage.functions.get_or",
    "offload": "storage._concurrency.offload",
    "open_store": "storage.config.urls",
    "registry": "storage.config.registry",
    "sync_stores": "storage.functions.sync_stores",
    "update": "storage.functions.update",
}

#: The stores that users make, and the module that defines each; no other public name ends in ``Store``.
STORES = {name: home for name, home in PUBLIC.items() if name.endswith("Store") and name != "ObjectStore"}

#: Short names of stores, which are also the schemes of their URLs.
SHORT_NAMES = {
    "dict": "DictStore",
    "file": "FilesystemStore",
    "filesystem": "FilesystemStore",
    "hashdir": "HashdirStore",
    "http": "HttpStore",
    "https": "HttpStore",
    "memory": "DictStore",
    "redis": "RedisStore",
    "rediss": "RedisStore",
    "s3": "BucketStore",
    "safe": "SafeFilesystemStore",
    "sqlite": "SqliteStore",
    "zip": "ZipStore",
}

#: The public names of `storage.testing`, and the module that defines each.
TESTING = {
    "CountingStore": "storage.testing.stores.counting",
    "Failing": "storage.testing.stores.faulty",
    "Fault": "storage.testing.proxy.proxy",
    "FaultProxy": "storage.testing.proxy.proxy",
    "FaultyStore": "storage.testing.stores.faulty",
    "Harness": "storage.testing.suite.harness",
    "History": "storage.testing.history",
    "HistoryError": "storage.testing.history",
    "NASTY_KEYS": "storage.testing.suite.nasty_keys",
    "ProxiedRequest": "storage.testing.proxy.protocols",
    "RecordedCall": "storage.testing.history",
    "RecordedListing": "storage.testing.history",
    "RecordingStore": "storage.testing.stores.recording",
    "SlowStore": "storage.testing.stores.slow",
    "StoreConformance": "storage.testing.suite.conformance",
    "StoreMachine": "storage.testing.machine.machine",
    "needs": "storage.testing.suite.harness",
}


def import_name(package: str, homes: dict[str, str], attribute: str, name: str | None = None) -> Any:
    """
    Import the value of a public name, and keep it as an attribute of *package*.

    Args:
        package: the module whose attribute is missing.
        homes: its public names, and the module that defines each.
        attribute: the missing attribute.
        name: the public name that it is an alias of; itself, if not given.

    Raises:
        AttributeError: there is no such public name.
    """
    name = name or attribute
    try:
        home = homes[name]
    except KeyError:
        raise AttributeError(f"module {package!r} has no attribute {attribute!r}") from None
    value = getattr(import_module(home), name)
    setattr(sys.modules[package], attribute, value)
    return value
