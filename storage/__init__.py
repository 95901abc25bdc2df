"""
Object stores for asyncio: one small contract, stores that keep bytes in memory, files, SQLite or zip archives, and
decorators that stack on any of them. ``storage.sync`` is the same without ``await``.

Names are imported when they are first used, so that ``import storage`` costs nothing and pulls in no back end.
"""

from __future__ import annotations

from storage._names import PUBLIC, import_name

TYPE_CHECKING = False  # type checkers assume True; importing it from typing would take longer than all the rest

# GENERATED from storage/_names.py: change that, then run `make generated`.
if TYPE_CHECKING:
    from typing import Any

    from storage._concurrency.offload import offload as offload
    from storage.base import ObjectStore as ObjectStore
    from storage.config.factory import StoreFactory as StoreFactory
    from storage.config.registry import Registry as Registry
    from storage.config.registry import registry as registry
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
    from storage.errors import IncompleteListingError as IncompleteListingError
    from storage.errors import InvalidKeyError as InvalidKeyError
    from storage.errors import KeyConflictError as KeyConflictError
    from storage.errors import KeyExistsError as KeyExistsError
    from storage.errors import KeyNotFoundError as KeyNotFoundError
    from storage.errors import MirrorError as MirrorError
    from storage.errors import OutcomeUnknownError as OutcomeUnknownError
    from storage.errors import PermissionDeniedError as PermissionDeniedError
    from storage.errors import PreconditionFailedError as PreconditionFailedError
    from storage.errors import RangeNotSatisfiableError as RangeNotSatisfiableError
    from storage.errors import ReentrantCallError as ReentrantCallError
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
    from storage.types import Finding as Finding
    from storage.types import ObjectInfo as ObjectInfo

    # Every store has a second name, which users of similar libraries know.
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
# END OF GENERATED

__all__ = sorted(PUBLIC)


def __getattr__(name: str) -> Any:
    return import_name(__name__, PUBLIC, name, name.removeprefix("Async") if name.endswith("Store") else name)


def __dir__() -> list[str]:
    return sorted({*globals(), *PUBLIC})
