"""
The synchronous face: every store, decorator and function of `storage`, without ``await``.

GENERATED from the async code: change that, then run ``make generated``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic

import storage
from storage._sync.callbacks import stored_callback
from storage._sync.caller import Data, In, Items, Keys
from storage._sync.facade import SyncStore, async_store_of, caller_for
from storage._sync.factory import SyncStoreFactory
from storage._sync.object_file import ObjectFile, open_file
from storage.types import Out

if TYPE_CHECKING:
    import io
    import logging
    import os
    import re
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime, timedelta
    from typing import Literal

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from storage.decorators.buffer import BinaryFile
    from storage.decorators.caching.cache import CacheStats
    from storage.decorators.json import Json, JsonLike
    from storage.decorators.mirroring.store import Require
    from storage.decorators.mirroring.verify import Difference
    from storage.decorators.notifying import Event
    from storage.errors import StorageError
    from storage.functions.get_or import T
    from storage.functions.progress import Progress
    from storage.functions.sync_stores import Change
    from storage.stores.files.durability import Durability
    from storage.types import Attributes, ByteRange, Capabilities, Finding, ObjectInfo

__all__ = [
    "Base64Store",
    "BucketStore",
    "BufferStore",
    "CachingStore",
    "ChecksumStore",
    "ConcurrencyLimitStore",
    "Data",
    "DictStore",
    "EncryptingStore",
    "ExceptionLoggingStore",
    "ExpiringStore",
    "ExtensionFilterStore",
    "FallbackStore",
    "FilesystemStore",
    "GzipStore",
    "HashPrefixStore",
    "HashdirStore",
    "HttpStore",
    "JsonStore",
    "KeyValidatingStore",
    "LoggingStore",
    "MirroringStore",
    "NotifyingStore",
    "ObjectFile",
    "ObjectStore",
    "PrefixStore",
    "ReadonlyStore",
    "RedisStore",
    "RegexValidatingStore",
    "RetryingStore",
    "RoutingStore",
    "SafeFilesystemStore",
    "SqliteStore",
    "StoreFactory",
    "TelemetryStore",
    "TextEncodingStore",
    "ThrottlingStore",
    "TieredStore",
    "TimeoutStore",
    "UrlEncodingStore",
    "UrlValidatingStore",
    "WriteonlyStore",
    "ZipStore",
    "ZstdStore",
    "clear_store",
    "copy_store",
    "get_or",
    "open_store",
    "sync_stores",
    "update",
]


class ObjectStore(SyncStore[Out], Generic[In, Out]):
    """
    An async store, called without ``await``.

    A stack that never suspends is stepped in the caller's thread; every other one, and with ``stepped=False`` any, runs
    on one background event loop, which all such stores share.

    Args:
        store: the async store, with all its decorators.
        stepped: False to use the background loop even if the stack could be stepped.
    """

    # -- the five ------------------------------------------------------------------------------------------------

    def get(self, key: str, *, byte_range: ByteRange | None = None) -> Out:
        """
        Return the object's bytes, or those of *byte_range*.

        Raises:
            KeyNotFoundError: there is no such object.
            RangeNotSatisfiableError: the range starts after the object's end.
        """
        return self._run(self._store.get(key, byte_range=byte_range))

    def put(
        self,
        key: str,
        data: In,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        attributes: Attributes | None = None,
    ) -> str:
        """
        Store *data* under *key* and return the new etag; readers see the old object or the new one, never half.

        A put that fails, is cancelled or killed leaves the old object. An iterable is streamed, and its exceptions pass
        unchanged. Without *attributes* the new object has none.

        Args:
            key: the name of the object.
            data: its bytes, or an iterable of them.
            if_absent: only create the object; of many concurrent creators exactly one succeeds.
            if_match: only replace the version with this etag (compare-and-swap).
            attributes: text to store with the bytes, under lower-case names.

        Raises:
            KeyExistsError: *if_absent*, and there is an object.
            PreconditionFailedError: *if_match*, and the object is another version or missing.
            InvalidKeyError: this store cannot hold an object of this key.
            TypeError: *data* is ``str`` or not bytes at all.
            ValueError: both conditions were given.
        """
        caller = self._call()
        work = self._store.put(key, caller.data(data), if_absent=if_absent, if_match=if_match, attributes=attributes)
        return caller.run(work)

    def delete(self, key: str, *, if_match: str | None = None) -> None:
        """
        Delete the object of this key, if there is one; a missing object is no error.

        Raises:
            PreconditionFailedError: *if_match*, and the object is another version or missing.
        """
        self._run(self._store.delete(key, if_match=if_match))

    def exists(self, key: str) -> bool:
        """Return whether there is an object of this key."""
        return self._run(self._store.exists(key))

    def keys(self, prefix: str = "", *, start_after: str = "") -> Iterator[str]:
        """
        Yield every key that starts with *prefix* and sorts after *start_after*, once, in code-point order.

        Objects may be put and deleted meanwhile: a key that exists throughout is yielded, any other may be.
        """
        return self._call().iterate(self._store.keys(prefix, start_after=start_after))

    # -- with a default ------------------------------------------------------------------------------------------

    def head(self, key: str) -> ObjectInfo:
        """
        Return the object's size, etag, time and attributes, without its bytes.

        Raises:
            KeyNotFoundError: there is no such object.
        """
        return self._run(self._store.head(key))

    def open(self, key: str, *, byte_range: ByteRange | None = None) -> ObjectFile:
        """
        Open the object for reading in pieces: ``with store.open(key) as reader: reader.read(1000)``.

        Everything that the reader returns is of one version, which ``reader.info`` describes.

        Raises:
            KeyNotFoundError: there is no such object.
            RangeNotSatisfiableError: the range starts after the object's end.
        """
        return open_file(self._call, self._store.open(key, byte_range=byte_range), byte_range)

    def get_many(self, keys: Keys) -> dict[str, Out | StorageError]:
        """Return for every key its bytes, or the `StorageError` that `get` would raise."""
        caller = self._call()
        return caller.run(self._store.get_many(caller.iterable(keys)))

    def put_many(self, items: Items[In], *, raise_errors: bool = True) -> dict[str, str | StorageError]:
        """
        Put every (key, data) and return for every key its etag; all are tried, even if some fail.

        Raises:
            BulkError: some failed; its ``results`` have for every key the etag or the `StorageError`. With
                ``raise_errors=False`` these results are returned instead.
        """
        caller = self._call()
        return caller.run(self._store.put_many(caller.items(items), raise_errors=raise_errors))

    def delete_many(self, keys: Keys, *, raise_errors: bool = True) -> dict[str, None | StorageError]:
        """
        Delete every key and return for every key None; all are tried, even if some fail.

        Raises:
            BulkError: some failed; its ``results`` have for every key None or the `StorageError`. With
                ``raise_errors=False`` these results are returned instead.
        """
        caller = self._call()
        return caller.run(self._store.delete_many(caller.iterable(keys), raise_errors=raise_errors))

    def children(self, prefix: str = "", delimiter: str = "/") -> Iterator[str]:
        """
        Yield the names one level below *prefix*, in order: keys, and common prefixes, which end in *delimiter*.

        They are whole keys and prefixes: ``children("a/")`` yields ``"a/b"`` and ``"a/c/"``.
        """
        return self._call().iterate(self._store.children(prefix, delimiter))

    def copy(self, source: str, target: str, *, if_absent: bool = False) -> str:
        """
        Copy an object with its attributes within the store and return the copy's etag.

        Raises:
            KeyNotFoundError: there is no object *source*.
            KeyExistsError: *if_absent*, and there is an object *target*.
            CorruptObjectError: the object is damaged, or has an attribute with which it cannot be put.
        """
        return self._run(self._store.copy(source, target, if_absent=if_absent))

    def rename(self, source: str, target: str, *, if_absent: bool = False) -> str:
        """
        Rename an object within the store and return its etag; if both keys are equal, nothing changes.

        It is one atomic step where the back end has one, else a copy and then a delete: both objects exist in between,
        and after a call that fails or is cancelled there. A version of the source that is put in between is renamed
        too, not lost; without the capability ``conditional_delete`` it is lost if it is put in the moment between the
        last look at the source and its delete.

        Raises:
            KeyNotFoundError: there is no object *source*.
            KeyExistsError: *if_absent*, and there is an object *target*.
        """
        return self._run(self._store.rename(source, target, if_absent=if_absent))

    def clear(self, prefix: str = "") -> None:
        """
        Delete every object whose key starts with *prefix*.

        Raises:
            BulkError: some could not be deleted; all were tried.
        """
        self._run(self._store.clear(prefix))

    def scan(self, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectInfo]:
        """
        Yield like `keys`, but descriptions instead of keys; an object deleted meanwhile is left out.

        Raises:
            IncompleteListingError: at the end, after all others: some objects are damaged, and were left out.
        """
        return self._call().iterate(self._store.scan(prefix, start_after=start_after))

    # -- about itself --------------------------------------------------------------------------------------------

    @property
    def capabilities(self) -> Capabilities:
        """What this store supports, with all its decorators."""
        return self._store.capabilities


class Base64Store(ObjectStore):
    """Objects are base64 text (RFC 4648, section 4, padded, without line ends) in the store below."""

    def __init__(self, base: ObjectStore) -> None:
        super().__init__(storage.Base64Store(async_store_of(base)))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.Base64Store: ...


class BucketStore(ObjectStore):
    """
    Objects in a bucket of Amazon S3 or of a compatible server (Ceph, MinIO, R2, ...).

    Use it inside ``with``; entering sends no request. One store belongs to one event loop.

    Args:
        bucket_name: the bucket.
        endpoint_url: the URL of the server; None for Amazon's.
        s3_access_key: the access key; None to let aiobotocore find credentials (environment, profile, role).
        s3_secret_key: the secret that belongs to it.
        session_token: the session token of temporary credentials.
        region: the region of the bucket; None to take it from the environment.
        prefix: added before every key, unchanged.
        client: an S3 client of aiobotocore that is used for all requests; the store does not close it.
        path_style: whether the bucket's name is in the URL's path and not in its host; None: only with *endpoint_url*.
        anonymous: whether requests are sent unsigned, to read public objects.
        ca_bundle: a file with the certificates to trust, for a server whose certificate the system does not know.
        cache_control: the ``Cache-Control`` of objects that are stored without one.
        compress: whether text, JSON and similar types are stored as gzip with a ``Content-Encoding``; streams as well,
            but not what `resume_upload` sends. Compressed objects are always decompressed when they are read.
        conditions: ``"auto"`` tests once, before the first conditional write, whether the server supports conditions;
            ``"trust"`` assumes that it does, ``"off"`` refuses conditional writes.
        connect_timeout: seconds, or a timedelta, that setting up a connection may take.
        read_timeout: seconds without progress after which an attempt fails, uploads included.
        retry_timeout: seconds within which all attempts of one call must begin. A put or delete without a condition
            whose answer was lost is sent again as it is, over what others wrote meanwhile; with 0, one attempt is made,
            and a `RetryingStore` above repeats it on a condition.
    """

    def __init__(
        self,
        bucket_name: str,
        *,
        endpoint_url: str | None = None,
        s3_access_key: str | None = None,
        s3_secret_key: str | None = None,
        session_token: str | None = None,
        region: str | None = None,
        prefix: str = "",
        client: Any = None,
        path_style: bool | None = None,
        anonymous: bool = False,
        ca_bundle: str | None = None,
        cache_control: str | None = None,
        compress: bool = False,
        conditions: Literal["auto", "trust", "off"] = "auto",
        connect_timeout: float | timedelta = 5,
        read_timeout: float | timedelta = 20,
        retry_timeout: float | timedelta = 60,
    ) -> None:
        work = storage.BucketStore(
            bucket_name,
            endpoint_url=endpoint_url,
            s3_access_key=s3_access_key,
            s3_secret_key=s3_secret_key,
            session_token=session_token,
            region=region,
            prefix=prefix,
            client=client,
            path_style=path_style,
            anonymous=anonymous,
            ca_bundle=ca_bundle,
            cache_control=cache_control,
            compress=compress,
            conditions=conditions,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            retry_timeout=retry_timeout,
        )
        super().__init__(work)

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.BucketStore: ...

    def create_bucket(self) -> None:
        """Create the bucket in the store's region; if you own it already, do nothing."""
        self._run(self.async_store.create_bucket())

    def probe(self) -> bool:
        """
        Return whether the server supports conditional writes; a test object is written to find out.

        `capabilities` reports the result from then on. With ``conditions="auto"`` the store calls this before its first
        conditional write.
        """
        return self._run(self.async_store.probe())

    def presigned_get(self, key: str, expiry: float | timedelta = 3600) -> str:
        """
        Return a URL with which anybody can read the object for *expiry* seconds, a week at most.

        No request is sent, so the object need not exist.
        """
        return self._run(self.async_store.presigned_get(key, expiry))

    def presigned_put(self, key: str, expiry: float | timedelta = 3600, *, content_type: str | None = None) -> str:
        """
        Return a URL with which anybody can store the object for *expiry* seconds, a week at most.

        With *content_type* the request must have that ``Content-Type``; without it, some servers accept only requests
        that have none.
        """
        return self._run(self.async_store.presigned_put(key, expiry, content_type=content_type))

    def url(self, key: str) -> str:
        """Return the object's plain URL, which works if the object is public."""
        return self._run(self.async_store.url(key))

    def make_public(self, key: str) -> None:
        """
        Allow everybody to read the object.

        Raises:
            KeyNotFoundError: the object does not exist.
            UnsupportedOperationError: the server has no access control lists, or the bucket has them disabled.
        """
        self._run(self.async_store.make_public(key))

    def make_private(self, key: str) -> None:
        """
        Allow only those to read the object who may by the bucket's own rules.

        Raises:
            KeyNotFoundError: the object does not exist.
            UnsupportedOperationError: the server has no access control lists, or the bucket has them disabled.
        """
        self._run(self.async_store.make_private(key))

    def begin_upload(self, key: str, *, attributes: Attributes | None = None) -> str:
        """Begin to upload an object in parts, and return the token to continue it with; the token holds no secret."""
        return self._run(self.async_store.begin_upload(key, attributes=attributes))

    def resume_upload(self, token: str, data: Data) -> str:
        """
        Send the parts of *data* that the server does not have yet, publish the object, and return its etag.

        *data* is the whole object, from its start: parts that the server has already, byte for byte, are read here but
        not sent. If the call fails or the process ends, the parts stay, and the same call continues from there.
        Called again after it has succeeded, it returns the same etag.

        Raises:
            StorageError: the upload was aborted, and did not create the object.
            ValueError: *token* is not one that `begin_upload` returned.
        """
        caller = self._call()
        return caller.run(self.async_store.resume_upload(token, caller.data(data)))

    def abort_upload(self, token: str) -> None:
        """Abort an upload and delete its parts; do nothing if it has ended already."""
        self._run(self.async_store.abort_upload(token))


class BufferStore(ObjectStore["BinaryFile | Data", "io.BytesIO"]):
    """
    `put` takes a binary file, and `get` returns an ``io.BytesIO`` at its start.

    A file is read from its current position to its end, in a thread and in bounded memory, and is not closed. `put`
    also takes the bytes and streams that other stores take. `open` reads an object in pieces.
    """

    def __init__(self, base: ObjectStore) -> None:
        super().__init__(storage.BufferStore(async_store_of(base)))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.BufferStore: ...


class CachingStore(ObjectStore):
    """
    Objects of *main_store* that have been read are kept in *cache_store*, and read from there.

    Writes go to the main store, and the cached copy is deleted before and after each write; listings come from the main
    store. A read through this store never returns an older version than the last one written through it. What other
    processes write is seen when the object is no longer cached; see *revalidate*. A write that got no answer, or was
    cancelled, may land later: its key is not cached for five minutes; one that lands later still may stay hidden. An
    object that expires in the main store is not returned after its deadline, `ObjectInfo.expires`.

    A failure of the cache store never makes a read or a write fail. It is logged, and counted in `stats`.

    Args:
        main_store: the store that has the objects.
        cache_store: holds the copies, and nothing else. Put an `ExpiringStore` over it to drop them after some time.
        max_object_size: bytes above which an object is not cached, and not read into memory by `open`.
        max_bytes: the bytes of all cached objects at most, each with some 200 for its description; the least recently
            used are deleted. Processes that share *cache_store* keep the bound together, within a fifth, if its
            capabilities have ``multi_process`` and its listing is not a call for each object, as that of a bucket; else
            each process has a bound of its own. None for no bound.
        max_count: the number of cached objects at most, likewise.
        write: what `put` does to the cached copy: ``"around"`` deletes it, ``"through"`` replaces it if the data is one
            buffer, which takes a `head` of the main store.
        negative: seconds for which the store remembers that the main store lacks a key; None not to remember it.
        revalidate: seconds after which a cached object is compared with the main store's by its etag, 0 for each time;
            None for never.
        stale_on_error: return the cached object, and do not raise the error, if it cannot be compared because the main
            store is unavailable (the error is ``retryable``).

    Raises:
        ConfigError: the main store cannot be read, the cache store cannot be read and written, both are the same, or
            *revalidate* is given for a main store whose `head` reads the object. If that is because of a file system,
            entering the store or the first comparison raises it.
    """

    def __init__(
        self,
        main_store: ObjectStore,
        cache_store: ObjectStore,
        *,
        max_object_size: int = 8 << 20,
        max_bytes: int | None = None,
        max_count: int | None = None,
        write: Literal["around", "through"] = "around",
        negative: float | timedelta | None = None,
        revalidate: float | timedelta | None = None,
        stale_on_error: bool = False,
    ) -> None:
        work = storage.CachingStore(
            async_store_of(main_store),
            async_store_of(cache_store),
            max_object_size=max_object_size,
            max_bytes=max_bytes,
            max_count=max_count,
            write=write,
            negative=negative,
            revalidate=revalidate,
            stale_on_error=stale_on_error,
        )
        super().__init__(work)

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.CachingStore: ...

    def forget(self, key: str | None = None) -> None:
        """
        Empty the cache, or delete the cached copy of one object; the objects stay in the main store.

        Reads that begin after it read the main store, even if the cache failed to delete, which is logged.
        """
        self._run(self.async_store.forget(key))

    @property
    def stats(self) -> CacheStats:
        """What the cache has done so far."""
        return self.async_store.stats


class ChecksumStore(ObjectStore):
    """
    Objects in the store below end with a checksum of their bytes, which is verified on each read.

    It detects damage by disks and programs; against people who can write to the store below, use `EncryptingStore`. A
    reader of the whole object verifies it before it returns the last bytes. A range that is read with `open` is not
    verified; `get` of a range reads and verifies the whole object.

    Args:
        base: the store below.
        algorithm: the name of a hash of `hashlib`; the checksum is as long as its digest.
    """

    def __init__(self, base: ObjectStore, *, algorithm: str = "sha256") -> None:
        super().__init__(storage.ChecksumStore(async_store_of(base), algorithm=algorithm))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.ChecksumStore: ...


class ConcurrencyLimitStore(ObjectStore[In, Out]):
    """
    At most *limit* calls run concurrently in the store below; the others wait and run in the order in which they came.

    Each object of a bulk call, each step of a listing and each read of an open object counts as one call, and between
    them none is counted. A put is not counted while it waits for the caller's own stream, which may be read from the
    same store.

    Args:
        base: the store below.
        limit: the number of calls, at least 1.
    """

    def __init__(self, base: ObjectStore[In, Out], limit: int) -> None:
        super().__init__(storage.ConcurrencyLimitStore(async_store_of(base), limit))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.ConcurrencyLimitStore[Any, Out]: ...


class DictStore(ObjectStore):
    """
    Objects in a dict: for tests, as a cache, and as the simplest example of a complete store.

    Several threads may use it through its synchronous API. Nothing in it ever suspends.
    """

    def __init__(self) -> None:
        super().__init__(storage.DictStore())

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.DictStore: ...


class EncryptingStore(ObjectStore):
    """
    Objects in the store below are encrypted and authenticated with AES-256-GCM, and bound to their names.

    Somebody who can write to the store below can delete an object or restore an older version of it. An object that was
    changed, truncated or stored under another name raises `CorruptObjectError`; only verified bytes are returned.
    Attributes are bound to their object, if the store below keeps any: `head`, `open` and `scan` return those that were
    put, or raise. Object names, attributes and times are not encrypted, and sizes are visible. `copy` and `rename`
    decrypt and encrypt again. Needs ``pip install 'stackstore[crypto]'``.

    Args:
        base: the store below.
        keys: the encryption keys by their ids: 32 bytes each, as bytes or as text in hex or base64. An id has up to 32
            bytes and is stored with every object. All keys are used to decrypt.
        active: the id of the key to encrypt with; can be omitted if there is only one key.
    """

    def __init__(self, base: ObjectStore, keys: Mapping[str, bytes | str], *, active: str | None = None) -> None:
        super().__init__(storage.EncryptingStore(async_store_of(base), keys, active=active))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.EncryptingStore: ...

    @staticmethod
    def generate_key() -> str:
        """Return a new random key as text, for a configuration."""
        return storage.EncryptingStore.generate_key()

    def reencrypt(self, key: str) -> bool:
        """
        Encrypt an object again if its key is not the active one, and return whether that was done.

        It is also done for an object of an earlier version of this store, to which its attributes are not bound yet.

        The object keeps its attributes. An object that is put meanwhile is kept; over a store without conditional puts,
        nobody else may write meanwhile.

        Raises:
            KeyNotFoundError: there is no such object.
            CorruptObjectError: it is not encrypted with any of the keys.
        """
        return self._run(self.async_store.reencrypt(key))


class ExceptionLoggingStore(ObjectStore[In, Out]):
    """
    The exceptions of calls are logged with their tracebacks, and raised unchanged.

    A key that is missing, exists already or has another version is an answer, not a failure: it is logged only with
    *answers*. A cancellation is never logged.

    With *swallow*, failed writes and deletes do not raise a `StorageError`: a put, copy or rename returns ``""``, which
    is no object's etag, a delete or `clear` returns None, and a bulk call returns its results instead of raising a
    `BulkError`. Reads still raise, because there is nothing correct to return. So do answers, calls with a condition,
    and all exceptions that are not a `StorageError`.

    Args:
        base: the store below.
        logger: the logger, or its name.
        level: the level of the log records.
        answers: whether answers are logged, too.
        swallow: whether failed writes and deletes are only logged.
    """

    def __init__(
        self,
        base: ObjectStore[In, Out],
        *,
        logger: logging.Logger | str = "storage",
        level: int | str = "ERROR",
        answers: bool = False,
        swallow: bool = False,
    ) -> None:
        work = storage.ExceptionLoggingStore(
            async_store_of(base), logger=logger, level=level, answers=answers, swallow=swallow
        )
        super().__init__(work)

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.ExceptionLoggingStore[Any, Out]: ...


class ExpiringStore(ObjectStore[In, Out]):
    """
    Objects expire after a time, and the least recently used ones are deleted when there are too many.

    An object that has expired is gone for every method, even before its bytes are removed. They are removed when the
    object is next used, and by `sweep`, which runs regularly inside ``with``.

    A put sets the lifetime of its object by ``ttl=``, or through other decorators by the attribute ``expires-in``
    (seconds as text); the default is the store's *ttl*. Copies and renamed objects keep the deadline. The store below
    keeps it as the attribute ``expires-at``, which callers do not see. Objects that were put into that store directly
    have no deadline and do not expire.

    Args:
        base: the store below; for a *ttl* it needs the capability ``attributes``.
        ttl: lifetime of objects in seconds or as a timedelta, from the start of the put; None for no limit.
        max_count: maximum number of objects. The least recently used ones are deleted; reading and putting is use.
            Processes that share *base* keep the bound together, within a fifth, if its capabilities have
            ``multi_process`` and its listing is not a call for each object, as that of a bucket; else each process
            keeps it for the objects that it has counted when it began, and those that it has put since.
        max_bytes: maximum total size in bytes, likewise; putting a larger object is a `StoreFullError`.
        sweep_interval: seconds or a timedelta between sweeps; None for no sweeps. A sweep lists the whole store. Over a
            store that removes expired objects by itself, as `RedisStore` does, there are no sweeps.

    Raises:
        ConfigError: the store below lacks a capability that is needed. Whether a file system can keep deadlines is
            found out on entering, or at the first put.
        ValueError: an option is not more than 0.
    """

    def __init__(
        self,
        base: ObjectStore[In, Out],
        ttl: float | timedelta | None = None,
        *,
        max_count: int | None = None,
        max_bytes: int | None = None,
        sweep_interval: float | timedelta | None = 300.0,
    ) -> None:
        work = storage.ExpiringStore(
            async_store_of(base), ttl, max_count=max_count, max_bytes=max_bytes, sweep_interval=sweep_interval
        )
        super().__init__(work)

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.ExpiringStore[Any, Out]: ...

    def expires(self, key: str) -> datetime | None:
        """
        Return when the object expires; None if it never does.

        Raises:
            KeyNotFoundError: there is no such object.
        """
        return self._run(self.async_store.expires(key))

    def touch(self, key: str, *, ttl: float | timedelta | None = None) -> str:
        """
        Give the object the deadline that it would have if it were put now, and return its new etag.

        The object is read and written again, because stores keep attributes together with the bytes.

        Args:
            key: the object.
            ttl: the lifetime, as in `put`.

        Raises:
            KeyNotFoundError: there is no such object.
        """
        return self._run(self.async_store.touch(key, ttl=ttl))

    def sweep(self, prefix: str = "") -> int:
        """
        Remove all expired objects, a page at a time, and return their number.

        Args:
            prefix: only objects whose keys start with this.

        Raises:
            StorageError: some objects could not be removed, after all were tried; this is the first error.
            UnsupportedOperationError: the store below cannot delete a single version of an object.
        """
        return self._run(self.async_store.sweep(prefix))

    def put(
        self,
        key: str,
        data: In,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        attributes: Attributes | None = None,
        ttl: float | timedelta | None = None,
    ) -> str:
        """
        Store *data* like `ObjectStore.put`, with a deadline.

        Args:
            key: the name of the object.
            data: its bytes, or an iterable of them.
            if_absent: create only; an expired object counts as absent.
            if_match: replace only the version of this etag.
            attributes: text to keep with the bytes; ``expires-in`` is the lifetime in seconds.
            ttl: the lifetime in seconds or as a timedelta, ``math.inf`` for no limit; None for that of the attribute
                ``expires-in``, or else that of the store.

        Raises:
            StoreFullError: the object is larger than *max_bytes*.
        """
        caller = self._call()
        work = self.async_store.put(
            key, caller.data(data), if_absent=if_absent, if_match=if_match, attributes=attributes, ttl=ttl
        )
        return caller.run(work)


class ExtensionFilterStore(ObjectStore[In, Out]):
    """
    Every method refuses keys that do not end in one of *extensions* with `InvalidKeyError`. Listings skip such keys,
    and log each at level INFO to the logger ``storage``.

    A name must have something before its extension: ``"a/.tif"`` has no extension.

    Args:
        base: the store below.
        extensions: such as ``{".tif", ".roi.zip"}``, each with its dot.
        ignore_case: whether ``.TIF`` is accepted as ``.tif``.

    Raises:
        ValueError: *extensions* is empty, or one does not begin with a dot, is only a dot, or contains a slash.
    """

    def __init__(self, base: ObjectStore[In, Out], extensions: Iterable[str], *, ignore_case: bool = False) -> None:
        super().__init__(storage.ExtensionFilterStore(async_store_of(base), extensions, ignore_case=ignore_case))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.ExtensionFilterStore[Any, Out]: ...


class FallbackStore(ObjectStore[In, Out]):
    """
    Objects are read from the first child that has them, and written only to the first one: for example a new store
    before an old archive, which is never changed.

    A child that fails is skipped like one that lacks the object; but if no other child has the object, the error is
    raised, as the failing child may have it. A listing is the union of all children, and fails if one of them does.

    An object of another child can be replaced, which hides it. It cannot be deleted or renamed, as it would still be
    found in the other child: that raises `UnsupportedOperationError`. Conditions apply to the objects of all children.

    Args:
        children: the stores, one or more, beginning with the one that is written to; all must be readable.

    Raises:
        ConfigError: there is no child, one twice, or one that cannot be read.
    """

    def __init__(self, children: Sequence[ObjectStore[In, Out]]) -> None:
        super().__init__(storage.FallbackStore([async_store_of(store) for store in children]))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.FallbackStore[Any, Out]: ...


class FilesystemStore(ObjectStore):
    """
    Objects are plain files, and keys are their paths below *root*.

    It reads directories of other programs as they are; symlinks in them are neither followed nor listed. A key is a
    plain relative path: ``..``, ``.``, empty segments, NUL and names that are too long raise `InvalidKeyError`. While
    ``a`` is an object, ``a/b`` cannot be one: `KeyConflictError`.
    """

    def __init__(self, root: str | os.PathLike[str], *, durability: Durability = "atomic") -> None:
        super().__init__(storage.FilesystemStore(root, durability=durability))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.FilesystemStore: ...


class GzipStore(ObjectStore):
    """
    Objects are gzip files (RFC 1952) in the store below, which any other program can read.

    With zlib-ng installed (``pip install 'stackstore[fast]'``) it takes about half the time; the files have the same
    format and about the same size.

    Args:
        base: the store below.
        level: 0 (no compression) to 9 (smallest, slowest).
        max_size: maximum of bytes that `get` decompresses, and that `head`, `scan` and `open` decompress to measure an
            object whose size is not stored with it, against decompression bombs (see `Compressor`).
    """

    def __init__(self, base: ObjectStore, *, level: int = 6, max_size: int = 1 << 30) -> None:
        super().__init__(storage.GzipStore(async_store_of(base), level=level, max_size=max_size))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.GzipStore: ...


class HashPrefixStore(ObjectStore[In, Out]):
    """
    In the store below, every key begins with the first hex digits of its own SHA-256: ``"a.csv"`` is
    ``"32f29f33/a.csv"`` there.

    This spreads the load evenly in back ends that divide it by the first characters of keys, and keeps directories
    small. Objects in the store below whose keys do not begin with their hash are not visible and not changed. A listing
    collects all keys and sorts them.

    Args:
        base: the store below.
        hash_length: hex digits of the hash, 1 to 64.
        separator: the text between the hash and the key.

    Raises:
        ValueError: *hash_length* is not in this range.
    """

    def __init__(self, base: ObjectStore[In, Out], *, hash_length: int = 8, separator: str = "/") -> None:
        super().__init__(storage.HashPrefixStore(async_store_of(base), hash_length=hash_length, separator=separator))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.HashPrefixStore[Any, Out]: ...


class HashdirStore(ObjectStore):
    """
    An object is the file ``aa/bb/cc/rest``, named by the SHA-256 of its key in hex, with exactly the object's bytes.

    Any key is valid, and no directory grows large. The text of the key is in ``rest.key`` next to the file. The name
    determines it, so it is written once, before the object first appears and under the same lock, and stays right for
    every later version. Unlike an extended attribute it can have any length, and tools that copy only bytes copy it
    too. Hashes have no order: `keys` reads all of these files and sorts; an object without a valid one is left out, and
    the listing says so at its end (`IncompleteListingError`). Whatever else is below the root is left alone: files and
    directories whose names no key has, and keys' files whose content has another hash.

    Args:
        root: the directory; the first put creates it when it is missing.
        width: hex digits in the name of a directory.
        depth: levels of directories.
        durability: as for every `FileStore`.
    """

    def __init__(
        self, root: str | os.PathLike[str], width: int = 2, depth: int = 3, *, durability: Durability = "atomic"
    ) -> None:
        super().__init__(storage.HashdirStore(root, width, depth, durability=durability))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.HashdirStore: ...


class HttpStore(ObjectStore):
    """
    The objects of a web server: the key ``reports/2024.csv`` is the URL ``base_url/reports/2024.csv``.

    It reads from any web server, and writes to one that accepts PUT and DELETE. Use it inside ``with``; entering
    sends no request. One store belongs to one event loop.

    Args:
        base_url: the URL below which all objects are; a ``user:password@`` in it sets `username` and `password`.
        token: sent as ``Authorization: Bearer``.
        username: sent with the password as ``Authorization: Basic``.
        password: the password of the user.
        headers: additional headers for every request to this server.
        redirects: whether reads follow redirects; credentials and *headers* are never sent to another host.
        writable: whether the server accepts PUT and DELETE.
        conditions: ``"trust"`` if the server is known to check ``If-Match`` and ``If-None-Match`` of writes; many
            servers ignore them, including nginx, so ``"off"`` refuses conditional writes.
        listing: ``"autoindex"`` if the server lists directories as nginx does with ``autoindex_format json``; with None
            `keys` raises `UnsupportedOperationError`.
        ca_bundle: a file with the certificates to trust, for a server with a private certificate.
        connect_timeout: seconds, or a timedelta, until a connection must be established.
        read_timeout: seconds without progress, also of an upload, after which an attempt fails.
        retry_timeout: seconds within which all attempts of one call must begin. A put or delete without a condition
            whose answer was lost is sent again as it is, over what others wrote meanwhile; with 0, one attempt is made,
            and a `RetryingStore` above repeats it on a condition.
        session: a session of aiohttp to use; the store does not close it.
    """

    def __init__(
        self,
        base_url: str,
        *,
        token: str | None = None,
        username: str | None = None,
        password: str | None = None,
        headers: Mapping[str, str] | None = None,
        redirects: bool = False,
        writable: bool = False,
        conditions: Literal["trust", "off"] = "off",
        listing: Literal["autoindex"] | None = None,
        ca_bundle: str | None = None,
        connect_timeout: float | timedelta = 5,
        read_timeout: float | timedelta = 20,
        retry_timeout: float | timedelta = 60,
        session: Any = None,
    ) -> None:
        work = storage.HttpStore(
            base_url,
            token=token,
            username=username,
            password=password,
            headers=headers,
            redirects=redirects,
            writable=writable,
            conditions=conditions,
            listing=listing,
            ca_bundle=ca_bundle,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            retry_timeout=retry_timeout,
            session=session,
        )
        super().__init__(work)

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.HttpStore: ...


class JsonStore(ObjectStore["JsonLike", "Json"]):
    """
    `put` takes JSON values (dicts with text keys, lists, text, numbers, booleans, None), and `get` returns them.

    The store below keeps UTF-8 text (RFC 8259), without spaces unless it is indented. A number that is not finite, or a
    value that is nested too deeply, is a ``ValueError``; a value that JSON cannot represent is a ``TypeError``. Text in
    the store below that is not JSON, or has a number or text that cannot be put, is a `CorruptObjectError`.

    With orjson installed (``pip install 'stackstore[json]'``) it is faster; the values it takes and returns are the
    same.

    Args:
        base: the store below.
        indent: spaces of indentation, for people to read; None for one line.
        sort_keys: whether the keys of dicts are sorted, so that equal values give equal bytes.
    """

    def __init__(self, base: ObjectStore, *, indent: int | None = None, sort_keys: bool = False) -> None:
        super().__init__(storage.JsonStore(async_store_of(base), indent=indent, sort_keys=sort_keys))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.JsonStore: ...


class KeyValidatingStore(ObjectStore[In, Out]):
    """
    Every method refuses keys that *validator* does not accept with `InvalidKeyError`; listings skip them.

    Args:
        base: the store below.
        validator: a pure function that takes a key and returns whether it is accepted. It may raise a ``ValueError``
            instead, whose message is used for the error; other exceptions are raised unchanged.

    Raises:
        TypeError: *validator* cannot be called.
    """

    def __init__(self, base: ObjectStore[In, Out], validator: Callable[[str], object]) -> None:
        super().__init__(storage.KeyValidatingStore(async_store_of(base), validator))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.KeyValidatingStore[Any, Out]: ...


class LoggingStore(ObjectStore[In, Out]):
    """
    Every operation is logged in one line when it has ended: its name, the key, how much data and how long.

    Keys are logged as Python literals, so that a key cannot forge a line. Data and attributes are not logged.

    A failure is logged as a warning; an exception that is not a `StorageError` is a mistake in a program, and is logged
    as an error. A key that is missing, exists already or has another version is an answer, and is logged like a
    success.

    Args:
        base: the store below.
        logger: the logger, or its name.
        level: the level for operations that succeed.
        store_name: the name of the store in the lines; without it they begin with the name of the operation.
    """

    def __init__(
        self,
        base: ObjectStore[In, Out],
        *,
        logger: logging.Logger | str = "storage",
        level: int | str = "DEBUG",
        store_name: str | None = None,
    ) -> None:
        super().__init__(storage.LoggingStore(async_store_of(base), logger=logger, level=level, store_name=store_name))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.LoggingStore[Any, Out]: ...


class MirroringStore(ObjectStore):
    """
    Every object is in every child: writes go to all children concurrently, reads to the first that returns the object.

    *require* is the number of children on which a write must succeed. If it succeeds on so many, the failures of the
    others are logged; else `MirrorError` is raised and lists the children that hold the new version. Either way a child
    that missed a write is *stale* for that key: it is not read until the next read or write of the key has brought it
    up to date. A key is missing if so many children lack the object that the others are too few for *require*: no
    write that succeeded can be on them alone.

    A stream is read once. Each piece of it is sent when all children are ready for it, and no child publishes the
    object before the stream has come to its end. Conditions are checked by the first child, which is written to before
    all others; while it is not available, conditional writes fail. Etags are those of the first child; an etag of
    another child has the child's number added.

    Two concurrent writes of one key through this store leave the same version on all children. The store does not see
    what others write to the children: `verify` finds such differences. A write that is cancelled after it has begun on
    a child goes on, on all children, for up to 5 seconds.

    Before a write that a child missed is acknowledged, a mark is put into the children that hold the new version: an
    object of the key ``.storage-mirror``, which the mirror does not list. After a restart the children that a mark
    names are not read until ``verify(repair=True)`` has finished. If each child missed something that another one has,
    the marks cannot tell which is right for which key: the children are then read in their order, and an error is
    logged. A child whose mark cannot be read within 5 seconds is read without it; its mark is tried again after a
    minute.

    Args:
        children: the stores, one or more. The first one must be readable and all must be writable; those that cannot be
            read are only written to. All are entered, and one that fails to open stops the mirror, whatever *require*
            is.
        require: the number of children on which a write must succeed: ``"all"``, ``"quorum"`` (more than half) or
            ``"any"`` (one).
        repair: whether reads repair children that are stale or have lost the object. Turn it off if other processes
            delete objects: an object that is deleted on some children looks like one that the others have lost.
        max_behind: the number of keys, at most, for which children may be stale. Beyond it a child is not read at all
            until ``verify(repair=True)`` has finished. Each key takes some 200 bytes.

    Raises:
        ConfigError: there is no child, one twice, one that is not writable, or the first one cannot be read.
    """

    def __init__(
        self,
        children: Sequence[ObjectStore],
        *,
        require: Require = "all",
        repair: bool = True,
        max_behind: int = 100_000,
    ) -> None:
        work = storage.MirroringStore(
            [async_store_of(store) for store in children], require=require, repair=repair, max_behind=max_behind
        )
        super().__init__(work)

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.MirroringStore: ...

    def verify(self, prefix: str = "", *, repair: bool = False, content: bool = True) -> Iterator[Difference]:
        """
        Compare the children, and yield the differences in key order.

        The right version is the one that most children have. If several versions are equally frequent, it is that of
        the first child under ``require="all"``, and otherwise the one that was modified last, by the children's clocks.
        An object that only some children have was lost by the others, unless this mirror deleted it.
        Children that cannot be read are not compared.

        Args:
            prefix: compare only keys that start with this.
            repair: copy the right version to the children that differ.
            content: read all objects and compare their bytes; else only sizes and attributes.

        Raises:
            StorageError: a child fails, so that it cannot be compared.
        """
        return self._call().iterate(self.async_store.verify(prefix, repair=repair, content=content))


class NotifyingStore(ObjectStore[In, Out]):
    """
    Handlers are called after every put and delete of an object, successful or failed, with an `Event`.

    Each object of a bulk call or of `clear` is an event of its own. A delete is an event even if there was no object.
    An operation that is cancelled may have taken effect: its event has an `OutcomeUnknownError`, and its handlers have
    two seconds. So may each change of a bulk call that breaks off, as by an error of the caller's iterable.

    Handlers are called one after the other before the operation returns, and no lock is held meanwhile. They may use
    this store, which calls the handlers again for what they do; or the store below (``event.store.base``), which does
    not.

    Args:
        base: the store below.
        on_put: called when an object was put, or could not be put.
        on_delete: called when an object was deleted, or could not be deleted.
        on_change: called for both, after the other handler.
        on_error: what to do when a handler raises. ``"raise"``: raise its error after all handlers have been called,
            although the operation has taken effect; if the operation failed, raise its own error and log the handler's.
            ``"log"``: log the error with its traceback. ``"ignore"``: nothing.
    """

    def __init__(
        self,
        base: ObjectStore[In, Out],
        *,
        on_put: Callable[[Event], object] | None = None,
        on_delete: Callable[[Event], object] | None = None,
        on_change: Callable[[Event], object] | None = None,
        on_error: Literal["raise", "log", "ignore"] = "raise",
    ) -> None:
        work = storage.NotifyingStore(
            async_store_of(base),
            on_put=stored_callback(on_put),
            on_delete=stored_callback(on_delete),
            on_change=stored_callback(on_change),
            on_error=on_error,
        )
        super().__init__(work)

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.NotifyingStore[Any, Out]: ...


class PrefixStore(ObjectStore[In, Out]):
    """
    Every key begins with *prefix* in the store below; objects there without it are not visible and not changed.

    Args:
        base: the store below.
        prefix: put before every key unchanged; let it end with ``"/"`` for a directory.
    """

    def __init__(self, base: ObjectStore[In, Out], prefix: str) -> None:
        super().__init__(storage.PrefixStore(async_store_of(base), prefix))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.PrefixStore[Any, Out]: ...


class ReadonlyStore(ObjectStore[In, Out]):
    """
    Objects can be read; every method that would change an object raises `UnsupportedOperationError`.

    Args:
        base: the store below.

    Raises:
        ConfigError: *base* cannot be read.
    """

    def __init__(self, base: ObjectStore[In, Out]) -> None:
        super().__init__(storage.ReadonlyStore(async_store_of(base)))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.ReadonlyStore[Any, Out]: ...


class RedisStore(ObjectStore):
    """
    Objects in the memory of a Redis server (6.2 or later, or Valkey), shared by many processes, optionally with expiry.

    Use it inside ``with``; entering sends no request. One store belongs to one event loop.

    Redis itself removes an object that was put with ``ttl=``, or through an `ExpiringStore`, when it expires.

    Args:
        url: ``redis://user:password@host:port/database``, ``rediss://`` with TLS, or ``unix:///path/to/socket``; its
            query may have the options of redis-py.
        prefix: separates the objects of this store from others in the same database; text without braces.
        client: a client of ``redis.asyncio`` to use instead, also of a cluster; the store does not close it.
        connect_timeout: seconds, or a timedelta, until a connection must be established.
        read_timeout: seconds for a reply of the server, of at most 1 MiB, after which an attempt fails.
        retry_timeout: seconds within which all attempts of one call must begin.

    Raises:
        ValueError: the URL is not one of Redis, or the prefix has braces.
    """

    def __init__(
        self,
        url: str = "redis://localhost:6379/0",
        *,
        prefix: str = "",
        client: Any = None,
        connect_timeout: float | timedelta = 5,
        read_timeout: float | timedelta = 20,
        retry_timeout: float | timedelta = 60,
    ) -> None:
        work = storage.RedisStore(
            url,
            prefix=prefix,
            client=client,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            retry_timeout=retry_timeout,
        )
        super().__init__(work)

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.RedisStore: ...

    def expires(self, key: str) -> datetime | None:
        """
        Return the time at which Redis removes the object, or None if it does not expire.

        Raises:
            KeyNotFoundError: there is no such object.
        """
        return self._run(self.async_store.expires(key))

    def put(
        self,
        key: str,
        data: Data,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        attributes: Attributes | None = None,
        ttl: float | timedelta | None = None,
    ) -> str:
        """
        Store *data* as every store does, optionally with expiry.

        Args:
            key: the name of the object.
            data: its bytes, or an iterable of them.
            if_absent: create only.
            if_match: replace only the version of this etag.
            attributes: text to store with the object.
            ttl: seconds or a timedelta after which Redis removes the object. With None the deadline of an
                `ExpiringStore` or the attribute ``expires-in`` (seconds as text) applies, and else it never expires.
        """
        caller = self._call()
        work = self.async_store.put(
            key, caller.data(data), if_absent=if_absent, if_match=if_match, attributes=attributes, ttl=ttl
        )
        return caller.run(work)


class RegexValidatingStore(ObjectStore[In, Out]):
    """
    Every method refuses keys that *pattern* does not match as a whole with `InvalidKeyError`; listings skip them.

    Args:
        base: the store below.
        pattern: a regular expression of Python's `re`, as text or compiled.

    Raises:
        ConfigError: *pattern* is not a regular expression.
    """

    def __init__(self, base: ObjectStore[In, Out], pattern: str | re.Pattern[str]) -> None:
        super().__init__(storage.RegexValidatingStore(async_store_of(base), pattern))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.RegexValidatingStore[Any, Out]: ...


class RetryingStore(ObjectStore[In, Out]):
    """
    A decorator that retries calls after errors that are `retryable`, after pauses that are random and grow.

    Perhaps only the answer to a failed call was lost. So before a write is retried, the object is looked up. A put or
    delete without a condition is repeated on the condition that the object has not changed since; if it has, another
    write came later, and the call returns. For a conditional put or delete and a rename, `OutcomeUnknownError` is
    raised if the object does not tell whether the call took effect; for this, objects that are put conditionally get a
    nonce in an attribute, which the caller does not see.

    Another write can still be undone that falls between the first attempt and the look after it, for instance while a
    timeout is awaited; by a first attempt that the network delivers late; and, in a store without conditions, by every
    repeated put or delete. `copy` and `delete_many` are repeated without a condition. Where that matters, write
    conditionally.

    A stream is put again only if nothing of it was read. After a failed read, the object is opened again and read on if
    it is still the same version; a listing continues after its last key.

    Args:
        base: the store below.
        attempts: the most attempts of one call, the first included.
        budget: seconds, pauses included, after which no further attempt begins; None for no such limit.
        base_delay: the longest first pause in seconds; the limit doubles for each further pause.
        max_delay: the longest pause in seconds.
    """

    def __init__(
        self,
        base: ObjectStore[In, Out],
        *,
        attempts: int = 5,
        budget: float | timedelta | None = 60.0,
        base_delay: float | timedelta = 0.1,
        max_delay: float | timedelta = 10.0,
    ) -> None:
        work = storage.RetryingStore(
            async_store_of(base), attempts=attempts, budget=budget, base_delay=base_delay, max_delay=max_delay
        )
        super().__init__(work)

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.RetryingStore[Any, Out]: ...


class RoutingStore(ObjectStore[In, Out]):
    """
    Several stores as one: the key of an object decides which of them has it.

    It is the store of the first pattern that matches the whole key; else that of the longest prefix in *routes*; else
    *default*. If no route matches a key, every method raises `InvalidKeyError`. Objects that a store holds under keys
    of another store are neither listed nor changed.

    An object is streamed when it is copied or renamed from one store to another; such a rename is a copy and a delete.

    Args:
        routes: the store of each prefix; one store may have several prefixes.
        patterns: the store of each regular expression of Python's `re`, in the order in which they are tried.
        default: the store of all other keys.
        strip_prefix: cut the prefix off the keys in the stores of *routes*. Each store can then have one route only.

    Raises:
        ConfigError: there is no store, a pattern is not a regular expression, the route ``""`` leaves no keys for the
            default, or with *strip_prefix* two keys would be one object.
    """

    def __init__(
        self,
        routes: Mapping[str, ObjectStore[In, Out]] | None = None,
        *,
        patterns: Mapping[str, ObjectStore[In, Out]] | None = None,
        default: ObjectStore[In, Out] | None = None,
        strip_prefix: bool = False,
    ) -> None:
        work = storage.RoutingStore(
            None if routes is None else {name: async_store_of(store) for name, store in routes.items()},
            patterns=None if patterns is None else {name: async_store_of(store) for name, store in patterns.items()},
            default=None if default is None else async_store_of(default),
            strip_prefix=strip_prefix,
        )
        super().__init__(work)

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.RoutingStore[Any, Out]: ...


class SafeFilesystemStore(ObjectStore):
    """
    Objects are plain files below *root*, with names that are valid everywhere and can be decoded to the keys.

    Slashes stay directories and ``reports/2024-q1.csv`` stays readable. Characters that file systems treat differently,
    upper case included, are escaped (`storage.stores.files.safe_names`). Other files in the directory are skipped. Only
    keys whose escaped path is longer than the operating system's 4,096 bytes raise `InvalidKeyError`.
    """

    def __init__(self, root: str | os.PathLike[str], *, durability: Durability = "atomic") -> None:
        super().__init__(storage.SafeFilesystemStore(root, durability=durability))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.SafeFilesystemStore: ...


class SqliteStore(ObjectStore):
    """
    Objects in one SQLite database: a file that several processes may use concurrently, or memory.

    When a write returns, its data is on the disk and survives a power loss. Writes that arrive while another one is
    running share a transaction. Objects over 1 MiB are kept in chunks and streamed. Needs
    ``pip install 'stackstore[sqlite]'``.

    A store object belongs to the process and the event loop in which it was opened.

    Args:
        path: the file of the database, which is created if it is missing, or ``":memory:"``. It is never a URI.
        busy_timeout: seconds to wait for the lock of another process before `StoreUnavailableError` is raised.
    """

    def __init__(self, path: str | os.PathLike[str], *, busy_timeout: float = 5.0) -> None:
        super().__init__(storage.SqliteStore(path, busy_timeout=busy_timeout))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.SqliteStore: ...

    def backup(self, path: str | os.PathLike[str]) -> None:
        """
        Copy the database to another file, while this store and others go on reading and writing.

        The copy has one state of the database, with all that was acknowledged before the call. It is complete and on
        the disk before it gets its name; a call that fails or is cancelled leaves no file. An older backup of that name
        is replaced, and the draft of a killed backup to it removed, and nothing else: no other file, and no database
        that is in use.

        Args:
            path: the file to write.

        Raises:
            StorageError: something else is there, or the file cannot be written.
        """
        self._run(self.async_store.backup(path))

    def check(self) -> Iterator[Finding]:
        """
        Look for damage in the whole database, and yield what is found.

        It finds damaged pages, rows that no store writes, large objects whose chunks are missing or too many, chunks
        that belong to no object, and tables of others. It changes nothing, takes bounded memory, and reads everything
        once, beside all other work.
        """
        return self._call().iterate(self.async_store.check())


class TelemetryStore(ObjectStore[In, Out]):
    """
    Every operation has a span, named ``storage.get`` and so on, and is counted in metrics.

    An open object with all its reads is one span, and so is a listing with all its steps, and a bulk call. The span is
    the current one only while the store below works. So the spans of its requests are children of it, but not the spans
    of the caller between two items.

    The metrics are ``storage.operation.duration`` (a histogram in seconds, of the time in the store below),
    ``storage.io`` (bytes, by ``network.io.direction``) and ``storage.operation.errors`` (by ``error.type``). Their
    attributes are the names of the operation and of the store, never a key.

    Without providers, given here or set for the program, it does nothing. Needs ``pip install
    'stackstore[telemetry]'``.

    Args:
        base: the store below.
        tracer_provider: the provider for spans; None for the program's.
        meter_provider: the provider for metrics; None for the program's.
        store_name: the name of the store in spans and metrics.
        record_keys: whether spans contain keys, and the messages of errors, which may contain keys. There can be many
            keys, and they may be private.
    """

    def __init__(
        self,
        base: ObjectStore[In, Out],
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        store_name: str | None = None,
        record_keys: bool = False,
    ) -> None:
        work = storage.TelemetryStore(
            async_store_of(base),
            tracer_provider=tracer_provider,
            meter_provider=meter_provider,
            store_name=store_name,
            record_keys=record_keys,
        )
        super().__init__(work)

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.TelemetryStore[Any, Out]: ...


class TextEncodingStore(ObjectStore["str", "str"]):
    """
    `put` takes text and `get` returns text; the store below keeps it encoded.

    Text that cannot be encoded is a `UnicodeEncodeError`, which is a ``ValueError``; bytes in the store below that
    cannot be decoded are a `CorruptObjectError`.

    Args:
        base: the store below.
        encoding: the name of a text encoding of Python.
        errors: the error handler for text that cannot be encoded or decoded, a name that ``str.encode`` takes:
            ``"strict"`` raises, others change the text.
    """

    def __init__(self, base: ObjectStore, encoding: str = "utf-8", *, errors: str = "strict") -> None:
        super().__init__(storage.TextEncodingStore(async_store_of(base), encoding, errors=errors))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.TextEncodingStore: ...


class ThrottlingStore(ObjectStore[In, Out]):
    """
    Limits the rate of calls and of bytes; calls over the limit wait, in the order in which they came.

    Each object of a bulk call counts as one call; a listing is one call, and so is an open object with all its reads.
    The bytes are those that are put and those that are read. The size of a read is known only after it, so the next
    call waits for it.

    Args:
        base: the store below.
        rate: calls per second; None for no limit.
        burst: calls that may come without waiting after a pause.
        bytes_per_second: bytes put and read per second, where those of one second may come without waiting; None for no
            limit.
    """

    def __init__(
        self,
        base: ObjectStore[In, Out],
        rate: float | None = None,
        *,
        burst: int = 1,
        bytes_per_second: float | None = None,
    ) -> None:
        work = storage.ThrottlingStore(async_store_of(base), rate, burst=burst, bytes_per_second=bytes_per_second)
        super().__init__(work)

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.ThrottlingStore[Any, Out]: ...


class TieredStore(ObjectStore):
    """
    Objects are read from the first of *tiers* that has them, and copied to all tiers before it.

    It is a stack of `CachingStore`: ``TieredStore([memory, disk, bucket])`` is ``CachingStore(CachingStore(bucket,
    disk), memory)``, with the same guarantees. The last tier has the objects: listings come from it, and writes go to
    it. A failure of another tier makes no read or write fail.

    Args:
        tiers: the stores, the fastest first; all but the last hold copies, and nothing else.
        ttl: seconds for which each tier but the last keeps an object, in the order of *tiers*, None for ever; one value
            for all of them, or a list. A tier with a ttl needs the capability ``attributes``. A tier counts the time
            from when it got the object, no matter how long the next tier has had it: the times add up.
        write: what `put` does to the copies: ``"around"`` deletes them, ``"through"`` replaces them.
        max_object_size: bytes above which an object is in the last tier only.

    Raises:
        ConfigError: a store cannot be used as a tier in its place.
        ValueError: there are no tiers, or *ttl* has not one value for each tier but the last.

    Attributes:
        base: the caches over the last tier.
    """

    def __init__(
        self,
        tiers: Sequence[ObjectStore],
        *,
        ttl: float | timedelta | Sequence[float | timedelta | None] | None = None,
        write: Literal["around", "through"] = "around",
        max_object_size: int = 8 << 20,
    ) -> None:
        work = storage.TieredStore(
            [async_store_of(store) for store in tiers], ttl=ttl, write=write, max_object_size=max_object_size
        )
        super().__init__(work)

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.TieredStore: ...

    def forget(self, key: str | None = None) -> None:
        """Empty all tiers but the last, or delete the copies of one object: see `CachingStore.forget`."""
        self._run(self.async_store.forget(key))

    @property
    def stats(self) -> list[CacheStats]:
        """What each tier but the last has done so far."""
        return self.async_store.stats


class TimeoutStore(ObjectStore[In, Out]):
    """
    A call that takes too long is cancelled, and raises `StoreTimeoutError`.

    Each object of a bulk call, each step of a listing and each read of an open object counts as one call. The time in
    which the caller's own stream produces its next piece does not count, and the time starts again with each piece.

    A write that timed out may have taken effect, like any write that is cancelled. On local stores the error is raised
    only after the write has ended, so that it changes nothing afterwards.

    Args:
        base: the store below.
        timeout: seconds, or a timedelta, for each call.
    """

    def __init__(self, base: ObjectStore[In, Out], timeout: float | timedelta) -> None:
        super().__init__(storage.TimeoutStore(async_store_of(base), timeout))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.TimeoutStore[Any, Out]: ...


class UrlEncodingStore(ObjectStore[In, Out]):
    """
    Keys are percent-encoded in the store below, segment by segment, so that the hierarchy is kept:
    ``"reports/50 % off"`` is ``"reports/50%20%25%20off"`` there.

    Only ``A-Z a-z 0-9 - . _ ~`` and the slashes between segments are not encoded; segments that are ``.`` or ``..`` are
    encoded, too. Every key is returned unchanged. Objects in the store below whose keys are not encoded in exactly this
    way are not visible and not changed. A listing collects all keys below its prefix and sorts them.

    Args:
        base: the store below.
    """

    def __init__(self, base: ObjectStore[In, Out]) -> None:
        super().__init__(storage.UrlEncodingStore(async_store_of(base)))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.UrlEncodingStore[Any, Out]: ...


class UrlValidatingStore(ObjectStore[In, Out]):
    """
    Keys are absolute URLs, with a scheme and a host: ``"https://example.org/a?b=c"``. Every method refuses others with
    `InvalidKeyError`; listings skip them.

    URLs are not normalised: two spellings of one address are two keys.

    Args:
        base: the store below. It must accept keys with ``//``, which directories do not.
        schemes: the schemes that are accepted, in lower case; in keys the case does not matter.

    Raises:
        ValueError: *schemes* is empty, or one of them is not a scheme.
    """

    def __init__(self, base: ObjectStore[In, Out], *, schemes: Iterable[str] = ("http", "https")) -> None:
        super().__init__(storage.UrlValidatingStore(async_store_of(base), schemes=schemes))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.UrlValidatingStore[Any, Out]: ...


class WriteonlyStore(ObjectStore[In, Out]):
    """
    Objects can be put, deleted and cleared. Every method that would read or list objects raises
    `UnsupportedOperationError`, and so do `exists`, and `copy` and `rename`, which read what they write.

    The conditions of `put` and `delete` work as in the store below, so that they show whether there is an object.

    Args:
        base: the store below.

    Raises:
        ConfigError: *base* cannot be written to.
    """

    def __init__(self, base: ObjectStore[In, Out]) -> None:
        super().__init__(storage.WriteonlyStore(async_store_of(base)))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.WriteonlyStore[Any, Out]: ...


class ZipStore(ObjectStore):
    """
    Objects in one zip archive, which other programs can read after `flush` and after the store is closed.

    A put or delete appends to the file; overwritten and deleted data occupies space until `compact`. After a crash the
    next opening restores every acknowledged write. Only one store in one process can open the archive at a time.

    Args:
        path: the archive, which is created if it is missing. Archives of other programs can be used.
        compression: ``"deflate"``, or ``"stored"`` for uncompressed data: ranges of such objects are read directly.
        level: of deflate, 0 to 9; a higher level is slower and compresses better.
        durability: ``"fsync"``: a put or delete that has returned survives a power loss; ``"atomic"``: it survives the
            end of the process, and after a power loss the writes since `flush` are there up to some point.
        max_size: the most bytes that one `get`, or one `read` of a reader, returns, and for which it decompresses:
            an archive of a few bytes can declare any size. Larger objects are read in pieces with `open`.

    Raises:
        ConfigError: no file can have the path: it has a NUL, or characters that the locale's encoding lacks.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        compression: Literal["deflate", "stored"] = "deflate",
        level: int = 6,
        durability: Durability = "fsync",
        max_size: int = 1 << 30,
    ) -> None:
        work = storage.ZipStore(path, compression=compression, level=level, durability=durability, max_size=max_size)
        super().__init__(work)

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.ZipStore: ...

    def flush(self) -> None:
        """Write the archive's directory, if anything has changed, so that other programs see all objects."""
        self._run(self.async_store.flush())

    def compact(self) -> None:
        """
        Free the space of overwritten and deleted data: a new archive is written, and replaces this one atomically.

        It takes the time and the space of a copy of all objects. Reads and writes go on, except that a write waits for
        the last step. A cancelled one leaves the archive as it was.

        Raises:
            CorruptObjectError: an entry is not where the archive's directory says, or entries overlap; the archive is
                not changed.
            StoreUnavailableError: another program has moved or replaced the archive, which is not touched.
            UnsupportedOperationError: the file has other names (hard links), or bytes that are not the archive's
                between or after its entries, as a signature has: the new file would not have them.
            StoreFullError: there is no space for both archives.
        """
        self._run(self.async_store.compact())


class ZstdStore(ObjectStore):
    """
    Objects are Zstandard files (RFC 8878) in the store below, which any other program can read.

    Needs ``pip install 'stackstore[zstd]'`` before Python 3.14.

    Args:
        base: the store below.
        level: 1 (fastest) to 22 (smallest, slowest; over 19 it takes much memory).
        max_size: maximum of bytes that `get` decompresses, and that `head`, `scan` and `open` decompress to measure an
            object whose size is not stored with it, against decompression bombs (see `Compressor`).
    """

    def __init__(self, base: ObjectStore, *, level: int = 3, max_size: int = 1 << 30) -> None:
        super().__init__(storage.ZstdStore(async_store_of(base), level=level, max_size=max_size))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.ZstdStore: ...


class StoreFactory(SyncStoreFactory["ObjectStore[Any, Any]"]):
    """
    Builds the stores of a configuration: a YAML or JSON file, or a mapping of the same form.

    Each store is built once, also one that several others are built on. Building reads and opens nothing.

    Args:
        source: the path of a file, or a mapping.
        objects: what text cannot express (functions, clients, loggers), under the names that the configuration uses.
            They belong to the async store: functions are called where it runs.
        registry: the registry that has the types; a configuration can name nothing else.
        environ: the variables for ``${NAME}``; by default those of the process.

    Raises:
        ConfigError: it is not a configuration; the message names the file, the store and the correction.
    """

    _store_class = ObjectStore


def clear_store(store: ObjectStore, prefix: str = "") -> None:
    """
    Delete every object whose key starts with *prefix*, by default all: `ObjectStore.clear` as a function.

    Raises:
        BulkError: some objects could not be deleted; all were tried.
    """
    caller = caller_for(store)
    caller.run(storage.clear_store(async_store_of(store), prefix))


def copy_store(
    source: ObjectStore,
    target: ObjectStore,
    overwrite: bool = True,
    *,
    prefix: str = "",
    start_after: str = "",
    concurrency: int = 16,
    progress: Callable[[Progress], object] | None = None,
) -> Progress:
    """
    Copy every object to the same key of another store, and return the number of objects and bytes.

    Attributes are copied if the target keeps attributes. Objects of up to 1 MiB are copied whole, larger ones are
    streamed: with stores that stream, memory stays below *concurrency* times a few MiB, for any number of keys. Small
    objects are copied in pages of some hundred if a store reads or writes many in one call, and one page is read while
    others are written.

    A damaged object is passed over, and does not stop the copy of the others; so is one whose attribute ``expires-in``
    the target does not take. Any other error stops the copy and is raised as it is. Objects that were copied stay. To
    continue, call again with the ``key`` of the last progress as *start_after*, or with ``overwrite=False``.

    Args:
        source: the store to read from.
        target: the store to put into; its other objects stay.
        overwrite: replace objects that exist in the target; else they are skipped without being read.
        prefix: copy only keys that start with this.
        start_after: copy only keys that sort after this one.
        concurrency: objects, or pages of small ones, copied concurrently; one when run without an event loop.
        progress: called after each object; its ``key`` never goes back. An exception that it raises stops the copy.

    Raises:
        BulkError: at the end, after all others: some objects are damaged; its ``results`` have their errors.
        StorageError: an object could not be read or written; the error has its ``key``.
        ValueError: *concurrency* is less than 1.
    """
    caller = caller_for(source, target)
    work = storage.copy_store(
        async_store_of(source),
        async_store_of(target),
        overwrite,
        prefix=prefix,
        start_after=start_after,
        concurrency=concurrency,
        progress=caller.callback(progress),
    )
    return caller.run(work)


def get_or(store: ObjectStore, key: str, default: T) -> bytes | T:
    """Return the object's bytes, or *default* if there is no object."""
    caller = caller_for(store)
    return caller.run(storage.get_or(async_store_of(store), key, default))


def open_store(url: str, **options: object) -> ObjectStore[Any, Any]:
    """
    Return the store that a URL names. It is not opened yet.

    ``with open_store("sqlite:objects.sqlite") as store:`` opens it. The scheme is the short name of a class, the
    path is its first parameter, and the query has the others: ``sqlite:///data/objects.sqlite?busy_timeout=10``.
    Special characters are percent-encoded: ``%3F`` for a question mark in a path.

    Args:
        url: the URL. Errors show only its scheme and the names of its parameters.
        options: more arguments for the constructor, such as those that a URL cannot express.

    Raises:
        ConfigError: the scheme or a parameter is unknown, or a value has the wrong type.
    """
    return ObjectStore(storage.open_store(url, **options))


def sync_stores(
    source: ObjectStore,
    target: ObjectStore,
    delete: bool = False,
    *,
    compare: Literal["checksum", "etag", "size"] = "checksum",
    dry_run: bool = False,
    prefix: str = "",
    start_after: str = "",
    concurrency: int = 16,
    progress: Callable[[Progress], object] | None = None,
    on_change: Callable[[Change], object] | None = None,
) -> Progress:
    """
    Make the target hold the objects of the source, copying only those that are missing or different there.

    Both stores are listed side by side, in order, and objects above 1 MiB are streamed: memory does not grow with the
    number of keys. A damaged object of the source is passed over, and its copy in the target stays; a damaged one of
    the target is replaced. If the listing of the source is incomplete, nothing is deleted. Any other error stops the
    call and is raised as it is. To continue, call again with the ``key`` of the last progress as *start_after*.

    Args:
        source: the store to read from.
        target: the store to put into.
        delete: delete objects of the target that the source does not have (with *prefix*, only such keys); else they
            stay. The keys of the source are listed once more for this, before anything is changed.
        compare: how objects of the same key and size are compared. ``"checksum"`` reads both and compares bytes and
            attributes. ``"etag"`` keeps the source's etag with each copy, in the attribute ``source-etag``, and reads
            only objects whose etag has changed; the target must keep attributes. ``"size"`` takes them as equal.
        dry_run: change nothing; only count and report what would be done.
        prefix: only keys that start with this.
        start_after: only keys that sort after this one.
        concurrency: objects copied concurrently; one when run without an event loop.
        progress: called after each object; its ``key`` never goes back. An exception that it raises stops the call.
        on_change: called with each `Change` before it is made.

    Raises:
        BulkError: at the end, after all others: some objects are damaged; its ``results`` have their errors.
        StorageError: an object could not be read or written; the error has its ``key``.
        UnsupportedOperationError: *compare* is ``"etag"`` and the target keeps no attributes.
        ValueError: *concurrency* is less than 1, or *compare* is none of the three.
    """
    caller = caller_for(source, target)
    work = storage.sync_stores(
        async_store_of(source),
        async_store_of(target),
        delete,
        compare=compare,
        dry_run=dry_run,
        prefix=prefix,
        start_after=start_after,
        concurrency=concurrency,
        progress=caller.callback(progress),
        on_change=caller.callback(on_change),
    )
    return caller.run(work)


def update(store: ObjectStore, key: str, fn: Callable[[bytes | None], bytes], *, attempts: int = 100) -> bytes:
    """
    Replace the object's bytes with ``fn(bytes)`` and return them; no concurrent writer's change is lost.

    This is a compare-and-swap loop: if another writer changes the object between the read and the write, *fn* is called
    again with the new bytes, after a short random pause. The object keeps its attributes.

    Args:
        store: one whose capabilities have ``conditional_put``.
        key: the key of the object; if there is no object, *fn* gets None and the object is created.
        fn: a function, or async function, from the old bytes to the new; an exception that it raises is raised as it
            is, and nothing is written.
        attempts: the most attempts.

    Raises:
        PreconditionFailedError: other writers changed the object during each attempt.
        UnsupportedOperationError: the store has no conditional put.
        ValueError: *attempts* is less than 1.
    """
    caller = caller_for(store)
    return caller.run(storage.update(async_store_of(store), key, caller.result_callback(fn), attempts=attempts))
