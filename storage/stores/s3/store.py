"""`BucketStore`: objects in a bucket of Amazon S3 or of a compatible server."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from copy import copy
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from storage._concurrency.tasks import stream
from storage._core.bulk import pages, raise_failures
from storage._core.conditions import WriteConditions
from storage._core.keys import check_key
from storage._core.opened import opened
from storage._core.retry import RETRY_TIMEOUT
from storage.base import ObjectStore
from storage.errors import (
    ConfigError,
    InvalidKeyError,
    KeyNotFoundError,
    PreconditionFailedError,
    RangeNotSatisfiableError,
    StorageError,
    UnsupportedOperationError,
)
from storage.reader import ObjectReader
from storage.stores.network import CONNECT_TIMEOUT, READ_TIMEOUT, Timeouts, range_header
from storage.stores.s3.attributes import (
    decoded_size,
    describe,
    guessed_type,
    headers_for,
    is_packed,
    packed_headers,
    stored_length,
)
from storage.stores.s3.bulk import delete_page
from storage.stores.s3.checksums import WITH_CHECKSUM, Checksum
from storage.stores.s3.client import Body
from storage.stores.s3.conditions import ConditionalWrite, delete_version, honours_conditions
from storage.stores.s3.errors import with_key
from storage.stores.s3.gzip_objects import compressed, decompressed
from storage.stores.s3.gzip_reader import UnpackingReader, describe_packed
from storage.stores.s3.gzip_upload import is_worth_it, put_packed, size_inside
from storage.stores.s3.list_keys import list_children, list_keys
from storage.stores.s3.multipart import COPY_LIMIT, PART, copy_in_parts, numbered, parts_of, upload_in_parts
from storage.stores.s3.reader import BucketReader
from storage.stores.s3.resumable import ResumableUploads
from storage.stores.s3.retrying_client import RetryingBucket
from storage.stores.s3.session import Account, Session
from storage.stores.s3.urls import UrlMethods
from storage.types import Attributes, ByteRange, Capabilities, Data, Keys, ObjectInfo, check_attributes

if TYPE_CHECKING:
    from storage.config.urls import StoreUrl

__all__ = ["BucketStore"]

#: The most bytes of a key in UTF-8, and the most keys that one request deletes.
LONGEST_KEY, PAGE = 1024, 1000


class BucketStore(UrlMethods, ResumableUploads, ObjectStore):
    """
    Objects in a bucket of Amazon S3 or of a compatible server (Ceph, MinIO, R2, ...).

    Use it inside ``async with``; entering sends no request. One store belongs to one event loop.

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
        connect_timeout: float | timedelta = CONNECT_TIMEOUT,
        read_timeout: float | timedelta = READ_TIMEOUT,
        retry_timeout: float | timedelta = RETRY_TIMEOUT,
    ) -> None:
        if conditions not in ("auto", "trust", "off"):
            raise ValueError(f"conditions must be 'auto', 'trust' or 'off', not {conditions!r}")
        if (s3_access_key is None) != (s3_secret_key is None):
            raise ConfigError("s3_access_key and s3_secret_key belong together: give both, or neither")
        if anonymous and s3_access_key is not None:
            raise ConfigError("anonymous=True does not sign requests: leave out s3_access_key and s3_secret_key")
        self.bucket_name = bucket_name
        self.endpoint_url = endpoint_url
        self.prefix = prefix
        self.region = region
        self.cache_control = cache_control
        self.compress = compress
        self.conditions = conditions
        self._account = Account(
            bucket_name,
            endpoint_url,
            s3_access_key,
            s3_secret_key,
            session_token,
            region,
            path_style,
            anonymous,
            ca_bundle,
        )
        self._client = client
        self._timeouts = Timeouts(connect_timeout, read_timeout, retry_timeout)
        self._keeps_conditions: bool | None = {"auto": None, "trust": True, "off": False}[conditions]
        self._session: Session | None = None

    # -- life cycle --------------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        self._session = Session(self._account, self._timeouts, self._client, repr(self))

    async def _close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _bucket(self) -> RetryingBucket:
        return await opened(self._session, self).bucket()

    @classmethod
    def _from_url(cls, url: StoreUrl) -> ObjectStore:
        """Return the store of ``s3://bucket/prefix?endpoint_url=...`` or, with credentials, ``s3://key:secret@bucket``."""
        if url.port is not None or not url.host:
            raise ConfigError("s3 URL: write s3://bucket/prefix, and the server as ?endpoint_url=http://host:port")
        given: dict[str, object] = {"bucket_name": url.host}
        if url.path.strip("/"):
            given["prefix"] = url.path.removeprefix("/")
        if url.user:
            given |= {"s3_access_key": url.user, "s3_secret_key": url.password}
        return url.make(cls, **given)

    async def create_bucket(self) -> None:
        """Create the bucket in the store's region; if you own it already, do nothing."""
        bucket = await self._bucket()
        await bucket.create(self.region)

    def _object_key(self, key: str) -> str:
        object_key = self.prefix + check_key(key, self)
        if "\0" in object_key:
            raise InvalidKeyError(
                "a key in a bucket must not contain NUL: a listing cannot return it", key=key, store=self
            )
        if len(object_key) * 4 > LONGEST_KEY and len(object_key.encode()) > LONGEST_KEY:
            raise InvalidKeyError(
                f"a key in a bucket must have at most {LONGEST_KEY} bytes in UTF-8", key=key, store=self
            )
        return object_key

    # -- one object --------------------------------------------------------------------------------------------------

    async def get(self, key: str, *, byte_range: ByteRange | None = None) -> bytes:
        bucket, object_key = await self._bucket(), self._object_key(key)
        if byte_range is not None:
            async with self.open(key, byte_range=byte_range) as reader:
                return await reader.read()
        with with_key(object_key, key):
            answered, data = await bucket.get_bytes(object_key, {})
        if not is_packed(answered):
            return data
        size = decoded_size(answered)
        return await decompressed(data, size_inside(data, key) if size is None else size, key)

    async def put(
        self,
        key: str,
        data: Data,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        attributes: Attributes | None = None,
    ) -> str:
        bucket, object_key = await self._bucket(), self._object_key(key)
        headers = self._headers(attributes, key)
        conditional = if_absent or if_match is not None
        if conditional:
            await self._need_conditions(key, if_absent, if_match)
        with with_key(object_key, key):
            if isinstance(data, bytes) and len(data) <= PART:
                whole = data
            else:
                parts = parts_of(data)
                begun = [part for _ in range(2) if (part := await anext(parts, None)) is not None]
                if len(begun) > 1:
                    write = ConditionalWrite(bucket, object_key, key, if_absent, if_match)
                    stream = _before(begun, parts)
                    if self.compress and await is_worth_it(begun[0], headers):
                        return await put_packed(bucket, object_key, stream, headers, write)
                    return await upload_in_parts(bucket, object_key, numbered(stream), headers, write)
                [whole] = begun
            if self.compress:
                whole, headers = await compressed(whole, headers)
            if conditional:
                write = ConditionalWrite(bucket, object_key, key, if_absent, if_match)
                return await write.make(
                    lambda: bucket.once.put(object_key, whole, headers | write.mark | write.condition)
                )
            return await bucket.put(object_key, whole, headers)

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        bucket, object_key = await self._bucket(), self._object_key(key)
        with with_key(object_key, key):
            if if_match is None:
                await bucket.delete(object_key, None)
            else:
                await self._need_conditions(key, False, if_match)
                await delete_version(bucket, object_key, key, if_match)

    async def exists(self, key: str) -> bool:
        try:
            await self.head(key)
        except KeyNotFoundError:
            return False
        return True

    async def head(self, key: str) -> ObjectInfo:
        bucket, object_key = await self._bucket(), self._object_key(key)
        with with_key(object_key, key):
            found = await bucket.head(object_key)
            if is_packed(found) and decoded_size(found) is None:
                return await describe_packed(bucket, object_key, key)
            return describe(found, key)

    @asynccontextmanager
    async def open(self, key: str, *, byte_range: ByteRange | None = None) -> AsyncIterator[ObjectReader]:
        bucket, object_key = await self._bucket(), self._object_key(key)
        async with AsyncExitStack() as opened:
            with with_key(object_key, key):
                answered, body = await self._begin(bucket, object_key, byte_range, opened)
                if (
                    is_packed(answered) and byte_range is not None
                ):  # a part cannot be decompressed without the bytes before it
                    await opened.aclose()
                    answered, body = await self._begin(bucket, object_key, None, opened)
                    body = body if is_packed(answered) else None
                packed = is_packed(answered)
                info = describe(answered, key, stored_length(answered, key) if packed else None)
                start, stop = (0, info.size) if packed or byte_range is None else byte_range.within(info.size, key)
                checksum = None if body is None else Checksum.of(answered)
                reader: ObjectReader = BucketReader(
                    info, bucket, object_key, repr(self), opened, start, stop, body, checksum
                )
                if packed:
                    reader = await UnpackingReader.over(reader, answered, byte_range)
            yield reader

    async def _begin(
        self, bucket: RetryingBucket, object_key: str, byte_range: ByteRange | None, opened: AsyncExitStack
    ) -> tuple[Mapping[str, str], Body | None]:
        """Return the headers of an object, and its body if the range has any bytes."""
        nothing = byte_range is not None and (byte_range.last == 0 or byte_range.stop == byte_range.start)
        if not nothing:
            headers = WITH_CHECKSUM if byte_range is None else {"range": range_header(byte_range)}
            try:
                return await bucket.open(object_key, headers, opened)
            except RangeNotSatisfiableError:
                pass  # the range starts at the end of the object or after it; the size tells which
        return await bucket.head(object_key), None

    def _headers(self, attributes: Attributes | None, key: str) -> dict[str, str]:
        """Return the headers of a put."""
        given = check_attributes(attributes)
        if self.cache_control is not None:
            given.setdefault("cache-control", self.cache_control)
        return headers_for(given, key)

    # -- many objects ------------------------------------------------------------------------------------------------

    def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
        return list_keys(self._bucket, self.prefix, prefix, start_after)

    def children(self, prefix: str = "", delimiter: str = "/") -> AsyncIterator[str]:
        return list_children(self._bucket, self.prefix, prefix, delimiter)

    async def delete_many(self, keys: Keys, *, raise_errors: bool = True) -> dict[str, None | StorageError]:
        bucket = await self._bucket()
        results: dict[str, None | StorageError] = {}

        async def wanted() -> AsyncIterator[tuple[str, str]]:
            async for key in stream(keys):
                try:
                    yield self._object_key(key), key
                except InvalidKeyError as error:
                    results[key] = error

        async for page in pages(wanted(), PAGE):
            names = dict(page)
            results.update(dict.fromkeys(names.values()))
            errors = await delete_page(bucket, names)
            results.update(
                {names[object_key]: copy(error).with_key(names[object_key]) for object_key, error in errors.items()}
            )
        return raise_failures(results, self, raise_errors)

    async def copy(self, source: str, target: str, *, if_absent: bool = False) -> str:
        if if_absent or source == target:
            return await ObjectStore.copy(self, source, target, if_absent=if_absent)
        bucket, object_key = await self._bucket(), self._object_key(target)
        origin = self._object_key(source)
        with with_key(origin, source):
            found = await bucket.head(origin)
            info = describe(found, source)
            headers = headers_for(info.attributes, target)
            if (size := stored_length(found, source)) > COPY_LIMIT:
                write, headers = ConditionalWrite(bucket, object_key, target), headers | packed_headers(found)
                return await copy_in_parts(bucket, origin, info.etag, object_key, size, headers, write)
            if guessed_type(source) == guessed_type(target) or is_packed(found):
                return await bucket.copy(origin, object_key, {})
            headers |= {"x-amz-metadata-directive": "REPLACE", "x-amz-copy-source-if-match": f'"{info.etag}"'}
            return await bucket.copy(origin, object_key, headers)

    async def rename(self, source: str, target: str, *, if_absent: bool = False) -> str:
        await self.probe()  # a rename is a copy and a delete; the delete is conditional if the server supports that
        return await ObjectStore.rename(self, source, target, if_absent=if_absent)

    # -- conditions --------------------------------------------------------------------------------------------------

    async def probe(self) -> bool:
        """
        Return whether the server supports conditional writes; a test object is written to find out.

        `capabilities` reports the result from then on. With ``conditions="auto"`` the store calls this before its first
        conditional write.
        """
        bucket = await self._bucket()
        if self._keeps_conditions is None:
            self._keeps_conditions = await honours_conditions(bucket, self.prefix)
        return self._keeps_conditions

    async def _need_conditions(self, key: str, if_absent: bool, if_match: str | None) -> None:
        if self._keeps_conditions is None:
            WriteConditions.of(if_absent, if_match)  # both together are refused without asking the server
        if not await self.probe():
            why = "conditions='off'" if self.conditions == "off" else "this server ignores or refuses conditions"
            raise UnsupportedOperationError(f"conditional writes are not supported: {why}", key=key, store=self)
        WriteConditions.of(if_absent, if_match)
        if if_match is not None and _ETAG.fullmatch(if_match) is None:
            raise PreconditionFailedError(key, store=self)  # servers read some of these as a wildcard or a list

    # -- about itself ------------------------------------------------------------------------------------------------

    @property
    def capabilities(self) -> Capabilities:
        keeps = self._keeps_conditions is not False
        return self._supported(
            replace(Capabilities.all_but("etags", "steppable"), conditional_put=keeps, conditional_delete=keeps)
        )

    def __repr__(self) -> str:
        where = "" if self.endpoint_url is None else f", endpoint_url={self.endpoint_url!r}"
        return f"{type(self).__name__}({self.bucket_name!r}{where}{self.prefix and f', prefix={self.prefix!r}'})"


#: The etags that a server can have given, without quotes.
_ETAG = re.compile(r"[!#-)+\--~]+")


async def _before(first: list[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    while first:
        yield first.pop(0)  # keep no part longer than needed
    async for part in rest:
        yield part
