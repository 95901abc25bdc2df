"""Writes on a condition: whether the server keeps it, and what became of one whose answer was lost."""

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
    Try on an object of our own whether the server refuses what it has to: it is created twice, and replaced wrongly.

    Whether two creators at once are kept apart cannot be tried.
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
    Delete an object if it is the version of this etag.

    Raises:
        PreconditionFailedError: it is another version, or there is none.
        OutcomeUnknownError: an answer was lost, and now it is so.
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
                    "the answer was lost, and the object has been replaced or deleted since", key=key, store=error.store
                ) from error
            lost = lost or (error.retryable and not isinstance(error, RefusedError))
            raise

    try:
        await bucket.retry(attempt)
    except KeyNotFoundError as error:
        raise PreconditionFailedError(key, store=error.store) from error


class ConditionalWrite:
    """
    A write that must not be made twice, or made without being told: one on a condition, or the end of an upload.

    It carries a word of its own in the object's metadata, so that after a lost answer a look at the object says whether
    it was this write that took effect.
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
        Make one attempt after another at *write*, and return the object's etag.

        Raises:
            KeyExistsError: it was to create, and there is an object which is not ours.
            PreconditionFailedError: it was to replace, and the object is another version or missing.
            OutcomeUnknownError: an answer was lost, and since then somebody else has written or deleted.
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
                    # also when no answer was lost to us: proxies and clients of others send again by themselves
                    return await self._settled(lost, error)
                raise

        try:
            return await self._bucket.retry(attempt)
        except PreconditionFailedError as error:
            if self._if_absent:
                raise KeyExistsError(self._key, store=error.store) from error
            raise
        except KeyNotFoundError as error:
            if self._if_match is not None:  # what some servers say to If-Match where there is no object
                raise PreconditionFailedError(self._key, store=error.store) from error
            raise
        except StorageError as error:
            if error is not lost:
                raise
            return await self._settled(lost, error)

    async def made(self) -> str | None:
        """Return the object's etag if it was this write that made it, else None."""
        try:
            headers = await self._bucket.head(self._object_key)
        except KeyNotFoundError:
            return None
        return headers["etag"].strip('"') if headers.get(META + NONCE) == self._nonce else None

    async def _settled(self, lost: StorageError | None, error: StorageError) -> str:
        """Return the etag when the object is ours; else raise *error*, or say that nobody can know."""
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
                "the answer was lost, and the object has been replaced or deleted since",
                key=self._key,
                store=error.store,
            ) from lost
        raise error from lost
