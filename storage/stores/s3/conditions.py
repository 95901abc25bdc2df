"""Conditional writes: whether the server supports them, and what one has done whose answer was lost."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable

from storage.errors import (
    KeyExistsError,
    KeyNotFoundError,
    OutcomeUnknownError,
    PreconditionFailedError,
    StorageError,
)
from storage.stores.s3.attributes import META, NONCE, describe, headers_for
from storage.stores.s3.errors import RefusedError, UploadGoneError
from storage.stores.s3.retrying_client import RetryingBucket

__all__ = ["ConditionalWrite", "delete_version", "honours_conditions"]


async def honours_conditions(bucket: RetryingBucket, prefix: str) -> bool:
    """
    Return whether the server refuses to create a test object twice, and to replace another version than is there.

    Whether only one of two concurrent creators succeeds cannot be tested.
    """
    key, attributes = f"{prefix}.conditions-{uuid.uuid4().hex}", headers_for({}, "")
    try:
        await bucket.put(key, b"", attributes)
        for condition in ({"if-none-match": "*"}, {"if-match": f'"{uuid.uuid4().hex}"'}):
            headers = attributes | condition
            try:
                await bucket.put(key, b"", headers)
            except PreconditionFailedError:
                continue
            except StorageError as error:
                if error.retryable:
                    raise
                return False
            return False
        return True
    finally:
        await bucket.delete(key, None)


async def delete_version(bucket: RetryingBucket, object_key: str, key: str, if_match: str) -> None:
    """
    Delete an object if its etag is *if_match*.

    Raises:
        PreconditionFailedError: the object is another version, or does not exist.
        OutcomeUnknownError: the same, after an answer was lost.
    """
    lost = False

    async def attempt() -> None:
        nonlocal lost
        try:
            if describe(await bucket.once.head(object_key), key).etag != if_match:
                raise PreconditionFailedError(object_key)
            await bucket.once.delete(object_key, if_match)
        except StorageError as error:
            if lost and isinstance(error, KeyNotFoundError | PreconditionFailedError):
                raise OutcomeUnknownError(
                    "the answer was lost, and the object is now another version or gone, perhaps by this call",
                    key=key,
                    store=error.store,
                ) from error
            lost = lost or (error.retryable and not isinstance(error, RefusedError))
            raise

    try:
        await bucket.retry(attempt)
    except KeyNotFoundError as error:
        raise PreconditionFailedError(key, store=error.store) from error


class ConditionalWrite:
    """
    A write that must not take effect twice or unnoticed: one with a condition, or the end of an upload.

    It puts a nonce into the object's metadata. After a lost answer, the object's metadata shows whether this write took
    effect.
    """

    def __init__(
        self,
        bucket: RetryingBucket,
        object_key: str,
        key: str,
        if_absent: bool = False,
        if_match: str | None = None,
        nonce: str | None = None,
    ) -> None:
        self._bucket = bucket
        self._object_key = object_key
        self._key = key
        self._if_absent = if_absent
        self._if_match = if_match
        self._nonce = nonce or uuid.uuid4().hex
        self.mark: dict[str, str] = {META + NONCE: self._nonce}
        self.condition: dict[str, str] = {}
        if if_absent:
            self.condition = {"if-none-match": "*"}
        elif if_match is not None:
            self.condition = {"if-match": f'"{if_match}"'}

    async def make(self, write: Callable[[], Awaitable[str]]) -> str:
        """
        Return the object's etag after *write*, which is retried.

        Raises:
            KeyExistsError: the write was to create the object, and another one exists.
            PreconditionFailedError: the write was to replace the object, which is another version or does not exist.
            OutcomeUnknownError: an answer was lost, and the object is now another version or gone.
        """
        lost: StorageError | None = None

        async def attempt() -> str:
            nonlocal lost
            try:
                return await write()
            except StorageError as error:
                if error.retryable and not isinstance(error, RefusedError):
                    lost = error
                elif isinstance(error, PreconditionFailedError | KeyNotFoundError | UploadGoneError):
                    # also if no answer was lost here: proxies and other clients retry by themselves
                    return await self._settled(lost, error)
                raise

        try:
            return await self._bucket.retry(attempt)
        except PreconditionFailedError as error:
            if self._if_absent:
                raise KeyExistsError(self._key, store=error.store) from error
            raise
        except KeyNotFoundError as error:
            if self._if_match is not None:  # some servers answer If-Match this way if there is no object
                raise PreconditionFailedError(self._key, store=error.store) from error
            raise
        except StorageError as error:
            if error is not lost:
                raise
            return await self._settled(lost, error)

    async def made(self) -> str | None:
        """Return the object's etag if this write created it, else None."""
        try:
            headers = await self._bucket.head(self._object_key)
        except KeyNotFoundError:
            return None
        return headers["etag"].strip('"') if headers.get(META + NONCE) == self._nonce else None

    async def _settled(self, lost: StorageError | None, error: StorageError) -> str:
        """Return the etag if this write created the object; else raise *error*, or `OutcomeUnknownError`."""
        try:
            headers = await self._bucket.head(self._object_key)
        except KeyNotFoundError:
            headers = {"etag": ""}
        etag = headers["etag"].strip('"')
        if etag and headers.get(META + NONCE) == self._nonce:
            return etag
        replaced = self._if_match is not None and etag != self._if_match
        if lost is not None and (replaced or isinstance(error, UploadGoneError)):
            raise OutcomeUnknownError(
                "the answer was lost, and the object is now another version or gone, perhaps by this call",
                key=self._key,
                store=error.store,
            ) from lost
        raise error from lost
