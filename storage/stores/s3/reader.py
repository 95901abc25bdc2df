"""`BucketReader`: reads an object of a bucket in pieces, and continues where a broken response ended."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial

from storage.errors import PreconditionFailedError, StorageError, StoreUnavailableError
from storage.reader import ObjectReader
from storage.stores.s3.checksums import Checksum
from storage.stores.s3.client import Body
from storage.stores.s3.retrying_client import RetryingBucket
from storage.types import ObjectInfo

__all__ = ["BucketReader"]


class BucketReader(ObjectReader):
    """
    A reader over the bytes *start* to *stop* of an object.

    After a broken response, the rest of the same version is requested. If the whole object is read from its beginning
    to its end, its bytes are compared with the *checksum*, if there is one.
    """

    def __init__(
        self,
        info: ObjectInfo,
        bucket: RetryingBucket,
        object_key: str,
        store: str,
        opened: AsyncExitStack,
        start: int,
        stop: int,
        body: Body | None = None,
        checksum: Checksum | None = None,
    ) -> None:
        super().__init__(info)
        self._bucket = bucket
        self._object_key = object_key
        self._store = store
        self._opened = opened
        self._start = start
        self._stop = stop
        self._position = start
        self._body = body
        self._checksum = checksum

    async def read(self, size: int = -1, /) -> bytes:
        left = max(self._stop - self._position, 0)
        wanted = left if size < 0 else min(size, left)
        pieces: list[bytes] = []
        while wanted:
            piece = await self._bucket.retry(partial(self._some, wanted))
            pieces.append(piece)
            self._position += len(piece)
            wanted -= len(piece)
            self._verify(piece)
        return b"".join(pieces)

    def seekable(self) -> bool:
        return True

    async def seek(self, offset: int, /) -> None:
        if self._start + offset != self._position:
            self._position = self._start + offset
            self._checksum = None
            await self._drop()

    def _verify(self, piece: bytes) -> None:
        """Add a piece to the checksum, and compare it at the end of the object."""
        if self._checksum is not None:
            self._checksum.update(piece)
            if self._position == self._stop:
                self._checksum.check(self.info.key, self._store)

    async def _some(self, wanted: int) -> bytes:
        """Return up to *wanted* bytes, at least one, in one attempt."""
        body = self._body or await self._resume()
        try:
            piece = await body.read(wanted)
            if not piece:
                raise StoreUnavailableError("the object was cut short", key=self.info.key)
        except StorageError:
            await self._drop()
            raise
        return piece

    async def _resume(self) -> Body:
        """Request the rest of the version that is being read."""
        headers = {"range": f"bytes={self._position}-{self._stop - 1}", "if-match": f'"{self.info.etag}"'}
        try:
            _, body = await self._opened.enter_async_context(self._bucket.once.get(self._object_key, headers))
        except PreconditionFailedError as cause:
            raise StorageError(
                "the object was replaced while it was read; open it again", key=self.info.key, store=cause.store
            ) from cause
        self._body = body
        return body

    async def _drop(self) -> None:
        """Close a response that does not continue at the current position."""
        self._body = None
        await self._opened.aclose()
