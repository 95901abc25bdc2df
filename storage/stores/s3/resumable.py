"""`ResumableUploads`: uploads that another process can continue."""

from __future__ import annotations

import json
import uuid
from abc import abstractmethod
from typing import NamedTuple

from storage.errors import StorageError
from storage.stores.s3.attributes import headers_for
from storage.stores.s3.conditions import ConditionalWrite
from storage.stores.s3.errors import UploadGoneError
from storage.stores.s3.multipart import numbered, parts_of, send_parts
from storage.stores.s3.retrying_client import RetryingBucket
from storage.types import Attributes, Data, check_attributes

__all__ = ["ResumableUploads"]


class _Begun(NamedTuple):
    key: str
    upload: str
    nonce: str

    @classmethod
    def of(cls, token: str) -> _Begun:
        try:
            begun = cls(**json.loads(token))
        except (TypeError, ValueError, RecursionError) as cause:
            raise ValueError("the token is not one that begin_upload returned") from cause
        if not all(isinstance(part, str) for part in begun):
            raise ValueError("the token is not one that begin_upload returned")
        return begun


class ResumableUploads:
    """
    The methods of `BucketStore` for uploads that can be continued by another process.

    ``begin_upload`` returns a token, a text to keep in a safe place; ``resume_upload`` sends what is missing, and can
    be called again after a failure. Until it has returned, the object does not exist, but its parts take up space:
    abort an upload that is no longer needed (`abort_upload`), or let a life-cycle rule of the bucket do it.
    """

    @abstractmethod
    async def _bucket(self) -> RetryingBucket: ...

    @abstractmethod
    def _object_key(self, key: str) -> str: ...

    async def begin_upload(self, key: str, *, attributes: Attributes | None = None) -> str:
        """Begin to upload an object in parts, and return the token to continue it with; the token holds no secret."""
        bucket, object_key = await self._bucket(), self._object_key(key)
        write = ConditionalWrite(bucket, object_key, key, nonce=uuid.uuid4().hex)
        headers = headers_for(check_attributes(attributes), key) | write.mark
        upload = await bucket.create_upload(object_key, headers)
        return json.dumps(_Begun(key, upload, write.mark.popitem()[1])._asdict())

    async def resume_upload(self, token: str, data: Data) -> str:
        """
        Send the parts of *data* that the server does not have yet, publish the object, and return its etag.

        *data* is the whole object, from its start: parts that the server has already, byte for byte, are read here but
        not sent. If the call fails or the process ends, the parts stay, and the same call continues from there.
        Called again after it has succeeded, it returns the same etag.

        Raises:
            StorageError: the upload was aborted, and did not create the object.
            ValueError: *token* is not one that `begin_upload` returned.
        """
        begun = _Begun.of(token)
        bucket, object_key = await self._bucket(), self._object_key(begun.key)
        write = ConditionalWrite(bucket, object_key, begun.key, nonce=begun.nonce)
        try:
            there = await bucket.parts(object_key, begun.upload)
            etags = await send_parts(bucket, object_key, begun.upload, numbered(parts_of(data)), there)
            return await write.make(lambda: bucket.once.complete_upload(object_key, begun.upload, etags, {}))
        except UploadGoneError as error:
            if (etag := await write.made()) is not None:
                return etag
            error.with_key(begun.key)
            raise
        except StorageError as error:
            if error.key == object_key:
                error.with_key(begun.key)
            raise

    async def abort_upload(self, token: str) -> None:
        """Abort an upload and delete its parts; do nothing if it has ended already."""
        begun = _Begun.of(token)
        bucket, object_key = await self._bucket(), self._object_key(begun.key)
        try:
            await bucket.abort_upload(object_key, begun.upload)
        except UploadGoneError:
            pass
