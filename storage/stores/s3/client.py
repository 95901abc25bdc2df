"""`ClientBucket`: a bucket through an aiobotocore client, every operation a single attempt."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal, Protocol
from urllib.parse import quote

from storage._core.data import CHUNK
from storage.errors import (
    ConfigError,
    CorruptObjectError,
    KeyNotFoundError,
    PermissionDeniedError,
    StorageError,
    StoreTimeoutError,
    StoreUnavailableError,
)
from storage.stores.network import ProgressTimeout, Timeouts
from storage.stores.s3.errors import ErrorResponse, UploadGoneError, error_of
from storage.stores.s3.listing import Page

__all__ = ["Body", "ClientBucket"]

#: Operations that take a server long. It sends blanks meanwhile, so the client's read timeout notices a dead server.
_AT_WORK = ("complete_multipart_upload", "copy_object", "upload_part_copy")


class Body(Protocol):
    """The body of a response, read while it arrives."""

    async def read(self, size: int = -1, /) -> bytes:
        """Return up to *size* bytes, ``b""`` at the end; all the rest for -1."""
        ...


class ClientBucket:
    """
    One bucket, through a client of aiobotocore.

    Keys are those of the bucket. Every error is a `StorageError` and has the request id.
    """

    def __init__(self, client: Any, name: str, timeouts: Timeouts, store: str) -> None:
        self._client = client
        self._name = name
        self._timeouts = timeouts
        self._store = store

    @asynccontextmanager
    async def get(self, key: str, headers: Mapping[str, str]) -> AsyncIterator[tuple[Mapping[str, str], Body]]:
        """Begin to read an object: give the response's headers and body. *headers* are a range and conditions."""
        with_names = {_GET[name]: value for name, value in headers.items()}
        answer = await self.call("get_object", key, Key=key, **with_names)
        body = answer["Body"]
        try:
            yield _headers(answer), _Mapped(body, self._timeouts, key, self._store)
        finally:
            body.close()

    async def get_bytes(self, key: str, headers: Mapping[str, str]) -> tuple[Mapping[str, str], bytes]:
        """Read a whole object, or a range of one."""
        async with self.get(key, headers) as (answered, body):
            return answered, await body.read()

    async def head(self, key: str) -> Mapping[str, str]:
        """Return an object's headers."""
        return _headers(await self.call("head_object", key, Key=key))

    async def put(self, key: str, data: bytes, headers: Mapping[str, str]) -> str:
        """Put an object and return its etag; *headers* are attributes, conditions and checksums."""
        return _etag(await self.call("put_object", key, Key=key, Body=data, **_parameters(headers)))

    async def delete(self, key: str, if_match: str | None) -> None:
        """Delete an object."""
        await self.call("delete_object", key, Key=key, **({} if if_match is None else {"IfMatch": _quoted(if_match)}))

    async def delete_many(self, keys: Iterable[str]) -> dict[str, StorageError]:
        """Delete up to 1,000 objects with one request, and return the errors of those that could not be deleted."""
        objects = [{"Key": key} for key in keys]
        answer = await self.call("delete_objects", None, Delete={"Objects": objects, "Quiet": True})
        return {
            each["Key"]: error_of(
                ErrorResponse(0, each.get("Code", ""), each.get("Message", ""), _request_id(answer)),
                each["Key"],
                self._store,
            )
            for each in answer.get("Errors", ())
        }

    async def page(self, prefix: str, start_after: str, delimiter: str = "", limit: int = 1000) -> Page:
        """Return one page of the keys with *prefix* after *start_after*, in order."""
        answer = await self.call(
            "list_objects_v2",
            None,
            Prefix=prefix,
            StartAfter=start_after,
            MaxKeys=limit,
            **({"Delimiter": delimiter} if delimiter else {}),
        )
        keys = [each["Key"] for each in answer.get("Contents", ())]
        return Page(keys, [each["Prefix"] for each in answer.get("CommonPrefixes", ())], answer["IsTruncated"])

    async def create(self, region: str | None) -> None:
        """Create the bucket, unless it exists and is ours."""
        where = {} if region in (None, "us-east-1") else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        try:
            await self.call("create_bucket", None, **where)
        except ConfigError:  # it exists: servers differ in how they say whose it is
            await self.call("head_bucket", None)

    async def parts(self, key: str, upload: str) -> dict[int, tuple[int, str]]:
        """Return size and etag of every part of an upload that the server has, by number."""
        found: dict[int, tuple[int, str]] = {}
        answer: Any = {"IsTruncated": True, "NextPartNumberMarker": 0}
        while answer.get("IsTruncated"):
            marker = answer["NextPartNumberMarker"]
            try:
                answer = await self.call("list_parts", key, Key=key, UploadId=upload, PartNumberMarker=marker)
            except KeyNotFoundError as cause:  # the answer of Ceph
                raise UploadGoneError("there is no such upload", key=key, store=self._store) from cause
            found.update({each["PartNumber"]: (each["Size"], _etag(each)) for each in answer.get("Parts", ())})
        return found

    async def copy(self, source: str, target: str, headers: Mapping[str, str]) -> str:
        """Copy an object of up to 5 GiB with its attributes inside the bucket, and return the copy's etag."""
        origin = {"Bucket": self._name, "Key": source}
        answer = await self.call("copy_object", source, Key=target, CopySource=origin, **_parameters(headers))
        return _etag(answer["CopyObjectResult"])

    async def create_upload(self, key: str, headers: Mapping[str, str]) -> str:
        """Begin an upload in parts, and return its id."""
        upload: str = (await self.call("create_multipart_upload", key, Key=key, **_parameters(headers)))["UploadId"]
        return upload

    async def upload_part(self, key: str, upload: str, number: int, data: bytes) -> str:
        """Send one part of an upload, and return its etag."""
        return _etag(await self.call("upload_part", key, Key=key, UploadId=upload, PartNumber=number, Body=data))

    async def copy_part(self, source: str, etag: str, key: str, upload: str, number: int, byte_range: str) -> str:
        """Copy a range of an object, if its etag is *etag*, to a part of an upload, and return the part's etag."""
        answer = await self.call(
            "upload_part_copy",
            source,
            Key=key,
            UploadId=upload,
            PartNumber=number,
            CopySource={"Bucket": self._name, "Key": source},
            CopySourceRange=byte_range,
            CopySourceIfMatch=_quoted(etag),
        )
        return _etag(answer["CopyPartResult"])

    async def complete_upload(self, key: str, upload: str, etags: list[str], headers: Mapping[str, str]) -> str:
        """Make one object of the parts, and return its etag; *headers* are conditions."""
        parts = [{"PartNumber": number, "ETag": _quoted(etag)} for number, etag in enumerate(etags, start=1)]
        answer = await self.call(
            "complete_multipart_upload",
            key,
            Key=key,
            UploadId=upload,
            MultipartUpload={"Parts": parts},
            **_parameters(headers),
        )
        return _etag(answer)

    async def abort_upload(self, key: str, upload: str) -> None:
        """Abort an upload, so that its parts take up no space."""
        await self.call("abort_multipart_upload", key, Key=key, UploadId=upload)

    async def presign(self, method: Literal["GET", "PUT"], key: str, expires: int, content_type: str | None) -> str:
        """Return a URL with which anybody can get or put the object for *expires* seconds."""
        operation = {"GET": "get_object", "PUT": "put_object"}[method]
        parameters = {"Bucket": self._name, "Key": key}
        if content_type is not None:
            parameters["ContentType"] = content_type
        url: str = await self._client.generate_presigned_url(operation, Params=parameters, ExpiresIn=expires)
        return url

    def url(self, key: str) -> str:
        """Return the object's plain URL."""
        return f"{self._client.meta.endpoint_url}/{self._name}/{quote(key, safe='/-_.~')}"

    async def set_acl(self, key: str, acl: Literal["public-read", "private"]) -> None:
        """Set who may read an object."""
        await self.call("put_object_acl", key, Key=key, ACL=acl)

    def set_clock(self, response: ErrorResponse) -> bool:
        """Return whether a request was refused for its time, and the clock was set by the server's."""
        return False  # the caller's client signs by its own clock

    async def call(self, operation: str, key: str | None, **parameters: Any) -> Any:
        """
        Call the client, and raise its errors as ours.

        Raises:
            StorageError: about *key*.
        """
        try:
            return await self._call(operation, key, parameters)
        except ErrorResponse as response:
            if not self.set_clock(response):
                raise error_of(response, key, self._store) from response
        try:
            return await self._call(operation, key, parameters)
        except ErrorResponse as response:
            raise error_of(response, key, self._store) from response

    async def _call(self, operation: str, key: str | None, parameters: dict[str, Any]) -> Any:
        from botocore import exceptions as boto

        limit = self._timeouts.connect + self._timeouts.read
        if operation in _AT_WORK:
            limit += self._timeouts.retry
        try:
            # aiohttp's read timeout begins after the body is sent, so a server that never reads the body would block
            # the call for ever; and the caller's client has timeouts of its own
            async with ProgressTimeout(limit) as progress:
                if "Body" in parameters:
                    parameters = parameters | {"Body": _Watched(parameters["Body"], progress)}
                return await getattr(self._client, operation)(Bucket=self._name, **parameters)
        except StorageError:  # from signing the request
            raise
        except boto.ClientError as cause:
            raise _error_response(cause.response) from cause
        except TypeError as cause:  # aiobotocore 3.10 fails on a 304 that has a checksum
            raise StorageError("aiobotocore cannot read the server's answer", key=key, store=self._store) from cause
        except (TimeoutError, boto.ConnectTimeoutError, boto.ReadTimeoutError) as cause:
            raise StoreTimeoutError("the server did not answer in time", key=key, store=self._store) from cause
        except (
            boto.NoCredentialsError,
            boto.PartialCredentialsError,
            boto.TokenRetrievalError,
            boto.CredentialRetrievalError,
        ) as cause:
            raise PermissionDeniedError(f"no credentials: {cause}", key=key, store=self._store) from cause
        except (boto.BotoCoreError, OSError) as cause:
            raise StoreUnavailableError(
                f"no answer from the server: {type(cause).__name__}", key=key, store=self._store
            ) from cause


class _Watched(io.BytesIO):
    """A body that reports progress when a piece is read, in any thread."""

    def __init__(self, data: bytes, progress: ProgressTimeout) -> None:
        super().__init__(data)
        self._progress = progress
        self._loop = asyncio.get_running_loop()

    def read(self, size: int | None = -1, /) -> bytes:
        self._loop.call_soon_threadsafe(self._step)
        return super().read(size)

    def _step(self) -> None:
        with suppress(RuntimeError):  # the time limit has passed
            self._progress.step()


class _Mapped:
    """The body of a response, whose errors are raised as ours."""

    def __init__(self, body: Any, timeouts: Timeouts, key: str, store: str) -> None:
        self._body = body
        self._timeouts = timeouts
        self._key = key
        self._store = store

    async def read(self, size: int = -1, /) -> bytes:
        import aiohttp
        from botocore import exceptions as boto

        if size < 0:
            pieces = []
            while piece := await self.read(CHUNK):
                pieces.append(piece)
            return b"".join(pieces)
        try:
            async with asyncio.timeout(self._timeouts.read):
                data: bytes = await self._body.read(size)
        except (TimeoutError, boto.ReadTimeoutError) as cause:
            raise StoreTimeoutError("the server stopped sending", key=self._key, store=self._store) from cause
        except boto.FlexibleChecksumError as cause:
            raise CorruptObjectError(
                "the bytes do not match the checksum that was sent with them", key=self._key, store=self._store
            ) from cause
        except (boto.BotoCoreError, aiohttp.ClientError, OSError) as cause:
            raise StoreUnavailableError(
                f"the object was cut short: {type(cause).__name__}", key=self._key, store=self._store
            ) from cause
        return data


#: The headers of a request, and the client's names for them.
_GET = {"range": "Range", "if-match": "IfMatch", "x-amz-checksum-mode": "ChecksumMode"}
_PUT = {
    "cache-control": "CacheControl",
    "content-disposition": "ContentDisposition",
    "content-encoding": "ContentEncoding",
    "content-language": "ContentLanguage",
    "content-type": "ContentType",
    "expires": "Expires",
    "if-match": "IfMatch",
    "if-none-match": "IfNoneMatch",
    "x-amz-acl": "ACL",
    "x-amz-checksum-crc32": "ChecksumCRC32",
    "x-amz-copy-source-if-match": "CopySourceIfMatch",
    "x-amz-metadata-directive": "MetadataDirective",
}
_META = "x-amz-meta-"


def _parameters(headers: Mapping[str, str]) -> dict[str, Any]:
    """Return the client's parameters for headers."""
    metadata = {name[len(_META) :]: value for name, value in headers.items() if name.startswith(_META)}
    given: dict[str, Any] = {_PUT[name]: value for name, value in headers.items() if not name.startswith(_META)}
    return given | ({"Metadata": metadata} if metadata else {})


def _headers(answer: Mapping[str, Any]) -> Mapping[str, str]:
    headers: Mapping[str, str] = answer["ResponseMetadata"]["HTTPHeaders"]
    return headers


def _etag(answer: Mapping[str, Any]) -> str:
    etag: str = answer["ETag"]
    return etag.strip('"')


def _quoted(etag: str) -> str:
    return f'"{etag}"'


def _request_id(answer: Mapping[str, Any]) -> str | None:
    request_id: str | None = answer.get("ResponseMetadata", {}).get("RequestId")
    return request_id


def _error_response(answer: Mapping[str, Any]) -> ErrorResponse:
    error, metadata = answer.get("Error", {}), answer.get("ResponseMetadata", {})
    code = str(error.get("Code", ""))
    response = ErrorResponse(
        metadata.get("HTTPStatusCode", 0),
        "" if code.isdigit() else code,
        error.get("Message", "") if error.get("Message") != code else "",
        metadata.get("RequestId"),
    )
    response.headers = dict(metadata.get("HTTPHeaders", {}))
    return response
