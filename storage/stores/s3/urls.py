"""`UrlMethods`: URLs of objects in a bucket, and who may read them."""

from __future__ import annotations

from abc import abstractmethod
from datetime import timedelta
from typing import Literal

from storage._core.durations import seconds
from storage.stores.s3.retrying_client import RetryingBucket

__all__ = ["UrlMethods"]


class UrlMethods:
    """The methods of `BucketStore` that give others access to an object by its URL."""

    @abstractmethod
    async def _bucket(self) -> RetryingBucket: ...

    @abstractmethod
    def _object_key(self, key: str) -> str: ...

    async def presigned_get(self, key: str, expiry: float | timedelta = 3600) -> str:
        """
        Return a URL with which anybody can read the object for *expiry* seconds, a week at most.

        No request is sent, so the object need not exist.
        """
        bucket, object_key = await self._bucket(), self._object_key(key)
        return await bucket.once.presign("GET", object_key, int(seconds("expiry", expiry)), None)

    async def presigned_put(
        self, key: str, expiry: float | timedelta = 3600, *, content_type: str | None = None
    ) -> str:
        """
        Return a URL with which anybody can store the object for *expiry* seconds, a week at most.

        With *content_type* the request must have that ``Content-Type``; without it, some servers accept only requests
        that have none.
        """
        bucket, object_key = await self._bucket(), self._object_key(key)
        return await bucket.once.presign("PUT", object_key, int(seconds("expiry", expiry)), content_type)

    async def url(self, key: str) -> str:
        """Return the object's plain URL, which works if the object is public."""
        bucket, object_key = await self._bucket(), self._object_key(key)
        return bucket.once.url(object_key)

    async def make_public(self, key: str) -> None:
        """
        Allow everybody to read the object.

        Raises:
            KeyNotFoundError: the object does not exist.
            UnsupportedOperationError: the server has no access control lists, or the bucket has them disabled.
        """
        await self._set_acl(key, "public-read")

    async def make_private(self, key: str) -> None:
        """
        Allow only those to read the object who may by the bucket's own rules.

        Raises:
            KeyNotFoundError: the object does not exist.
            UnsupportedOperationError: the server has no access control lists, or the bucket has them disabled.
        """
        await self._set_acl(key, "private")

    async def _set_acl(self, key: str, acl: Literal["public-read", "private"]) -> None:
        bucket, object_key = await self._bucket(), self._object_key(key)
        await bucket.set_acl(object_key, acl)
