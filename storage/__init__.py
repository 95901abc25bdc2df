"""
Object stores for asyncio: one small contract, stores that keep bytes in memory, files, SQLite or zip archives, and
decorators that stack on any of them. ``storage.sync`` is the same without ``await``.

Names are imported when they are first used, so that ``import storage`` costs nothing and pulls in no back end.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from storage._core.registry import Registry as Registry
    from storage._core.registry import registry as registry
    from storage.base import ObjectStore as ObjectStore
    from storage.config.factory import StoreFactory as StoreFactory
    from storage.config.urls import StoreUrl as StoreUrl
    from storage.config.urls import open_store as open_store
    from storage.decorators.base64 import Base64Store as Base64Store
    from storage.decorators.bases.data_transform import Coder as Coder
    from storage.decorators.bases.data_transform import DataTransform as DataTransform
    from storage.decorators.bases.interceptor import Interceptor as Interceptor
    from storage.decorators.bases.key_transform import KeyTransform as KeyTransform
    from storage.decorators.bases.stacking import StackWarning as StackWarning
    from storage.decorators.bases.store_decorator import StoreDecorator as StoreDecorator
    from storage.decorators.bases.value_transform import ValueTransform as ValueTransform
    from storage.decorators.buffer import BinaryFile as BinaryFile
    from storage.decorators.buffer import BufferStore as BufferStore
    from storage.decorators.caching import CachingStore as CachingStore
    from storage.decorators.caching.cache import CacheStats as CacheStats
    from storage.decorators.checksum import ChecksumStore as ChecksumStore
    from storage.decorators.concurrency_limit import ConcurrencyLimitStore as ConcurrencyLimitStore
    from storage.decorators.encrypting import EncryptingStore as EncryptingStore
    from storage.decorators.exception_logging import ExceptionLoggingStore as ExceptionLoggingStore
    from storage.decorators.expiring import ExpiringStore as ExpiringStore
    from storage.decorators.extension_filter import ExtensionFilterStore as ExtensionFilterStore
    from storage.decorators.fallback import FallbackStore as FallbackStore
    from storage.decorators.gzip import GzipStore as GzipStore
    from storage.decorators.hash_prefix import HashPrefixStore as HashPrefixStore
    from storage.decorators.json import Json as Json
    from storage.decorators.json import JsonLike as JsonLike
    from storage.decorators.json import JsonStore as JsonStore
    from storage.decorators.key_validating import KeyValidatingStore as KeyValidatingStore
    from storage.decorators.logging import LoggingStore as LoggingStore
    from storage.decorators.mirroring import MirroringStore as MirroringStore
    from storage.decorators.mirroring.verify import Difference as Difference
    from storage.decorators.notifying import Event as Event
    from storage.decorators.notifying import NotifyingStore as NotifyingStore
    from storage.decorators.prefix import PrefixStore as PrefixStore
    from storage.decorators.readonly import ReadonlyStore as ReadonlyStore
    from storage.decorators.regex_validating import RegexValidatingStore as RegexValidatingStore
    from storage.decorators.retrying import RetryingStore as RetryingStore
    from storage.decorators.routing import RoutingStore as RoutingStore
    from storage.decorators.telemetry import TelemetryStore as TelemetryStore
    from storage.decorators.text_encoding import TextEncodingStore as TextEncodingStore
    from storage.decorators.throttling import ThrottlingStore as ThrottlingStore
    from storage.decorators.tiered import TieredStore as TieredStore
    from storage.decorators.timeout import TimeoutStore as TimeoutStore
    from storage.decorators.url_encoding import UrlEncodingStore as UrlEncodingStore
    from storage.decorators.url_validating import UrlValidatingStore as UrlValidatingStore
    from storage.decorators.writeonly import WriteonlyStore as WriteonlyStore
    from storage.decorators.zstd import ZstdStore as ZstdStore
    from storage.errors import BulkError as BulkError
    from storage.errors import ConfigError as ConfigError
    from storage.errors import CorruptObjectError as CorruptObjectError
    from storage.errors import InvalidKeyError as InvalidKeyError
    from storage.errors import KeyConflictError as KeyConflictError
    from storage.errors import KeyExistsError as KeyExistsError
    from storage.errors import KeyNotFoundError as KeyNotFoundError
    from storage.errors import MirrorError as MirrorError
    from storage.errors import OutcomeUnknownError as OutcomeUnknownError
    from storage.errors import PermissionDeniedError as PermissionDeniedError
    from storage.errors import PreconditionFailedError as PreconditionFailedError
    from storage.errors import RangeNotSatisfiableError as RangeNotSatisfiableError
    from storage.errors import StorageError as StorageError
    from storage.errors import StoreClosedError as StoreClosedError
    from storage.errors import StoreFullError as StoreFullError
    from storage.errors import StoreTimeoutError as StoreTimeoutError
    from storage.errors import StoreUnavailableError as StoreUnavailableError
    from storage.errors import UnsupportedOperationError as UnsupportedOperationError
    from storage.functions.clear_store import clear_store as clear_store
    from storage.functions.copy_store import copy_store as copy_store
    from storage.functions.describe import describe as describe
    from storage.functions.get_or import get_or as get_or
    from storage.functions.progress import Progress as Progress
    from storage.functions.sync_stores import Change as Change
    from storage.functions.sync_stores import sync_stores as sync_stores
    from storage.functions.update import update as update
    from storage.reader import BytesReader as BytesReader
    from storage.reader import ObjectReader as ObjectReader
    from storage.stores.dict import DictStore as DictStore
    from storage.stores.filesystem import FilesystemStore as FilesystemStore
    from storage.stores.hashdir import HashdirStore as HashdirStore
    from storage.stores.http import HttpStore as HttpStore
    from storage.stores.redis import RedisStore as RedisStore
    from storage.stores.s3 import BucketStore as BucketStore
    from storage.stores.safe_filesystem import SafeFilesystemStore as SafeFilesystemStore
    from storage.stores.sqlite import SqliteStore as SqliteStore
    from storage.stores.zip import ZipStore as ZipStore
    from storage.types import Attributes as Attributes
    from storage.types import ByteRange as ByteRange
    from storage.types import Capabilities as Capabilities
    from storage.types import Data as Data
    from storage.types import ObjectInfo as ObjectInfo

    # Every store has a second name, under which some know it.
    AsyncBase64Store = Base64Store
    AsyncBucketStore = BucketStore
    AsyncBufferStore = BufferStore
    AsyncCachingStore = CachingStore
    AsyncChecksumStore = ChecksumStore
    AsyncConcurrencyLimitStore = ConcurrencyLimitStore
    AsyncDictStore = DictStore
    AsyncEncryptingStore = EncryptingStore
    AsyncExceptionLoggingStore = ExceptionLoggingStore
    AsyncExpiringStore = ExpiringStore
    AsyncExtensionFilterStore = ExtensionFilterStore
    AsyncFallbackStore = FallbackStore
    AsyncFilesystemStore = FilesystemStore
    AsyncGzipStore = GzipStore
    AsyncHashPrefixStore = HashPrefixStore
    AsyncHashdirStore = HashdirStore
    AsyncHttpStore = HttpStore
    AsyncJsonStore = JsonStore
    AsyncKeyValidatingStore = KeyValidatingStore
    AsyncLoggingStore = LoggingStore
    AsyncMirroringStore = MirroringStore
    AsyncNotifyingStore = NotifyingStore
    AsyncObjectStore = ObjectStore
    AsyncPrefixStore = PrefixStore
    AsyncReadonlyStore = ReadonlyStore
    AsyncRedisStore = RedisStore
    AsyncRegexValidatingStore = RegexValidatingStore
    AsyncRetryingStore = RetryingStore
    AsyncRoutingStore = RoutingStore
    AsyncSafeFilesystemStore = SafeFilesystemStore
    AsyncSqliteStore = SqliteStore
    AsyncTelemetryStore = TelemetryStore
    AsyncTextEncodingStore = TextEncodingStore
    AsyncThrottlingStore = ThrottlingStore
    AsyncTieredStore = TieredStore
    AsyncTimeoutStore = TimeoutStore
    AsyncUrlEncodingStore = UrlEncodingStore
    AsyncUrlValidatingStore = UrlValidatingStore
    AsyncWriteonlyStore = WriteonlyStore
    AsyncZipStore = ZipStore
    AsyncZstdStore = ZstdStore

#: Where each public name lives; the names above are for type checkers, and a test holds the two against each other.
_HOMES = {
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
    "GzipStore": "storage.decorators.gzip",
    "HashPrefixStore": "storage.decorators.hash_prefix",
    "HashdirStore": "storage.stores.hashdir",
    "HttpStore": "storage.stores.http",
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
    "RegexValidatingStore": "storage.decorators.regex_validating",
    "Registry": "storage._core.registry",
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
    "open_store": "storage.config.urls",
    "registry": "storage._core.registry",
    "sync_stores": "storage.functions.sync_stores",
    "update": "storage.functions.update",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    plain = name.removeprefix("Async") if name.endswith("Store") else name
    try:
        home = _HOMES[plain]
    except KeyError:
        raise AttributeError(f"module 'storage' has no attribute {name!r}") from None
    value = getattr(import_module(home), plain)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
