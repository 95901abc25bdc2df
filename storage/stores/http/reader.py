"""`HttpReader`: reads an object of a web server in pieces, and resumes after a broken response."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from storage._core.retry import RetryPolicy
from storage.errors import StorageError, StoreUnavailableError, UnsupportedOperationError
from storage.reader import ObjectReader
from storage.stores.http.errors import error_of
from storage.stores.http.responses import DescribedObject, describe_response, offset_and_size
from storage.stores.http.session import Response

__all__ = ["HttpReader"]

#: Bytes that are discarded in one piece, if a response begins before the requested range.
_SKIPPED = 1 << 20


class HttpReader(ObjectReader):
    """
    A reader of the bytes *start* to *stop* of an object.

    After a broken response it requests the rest, of the same version only; if no header identifies the version for
    sure, it raises an error.

    Attributes:
        replaced: whether the version that was being read was found to be replaced or deleted.

    Args:
        found: the description of the object.
        request: sends a GET with these additional headers.
        policy: how long to retry.
        start: the offset of the first byte to read.
        stop: the offset after the last byte to read.
        response: the response whose body has not been read yet, or None for an empty range.
        begin: the offset at which its body begins in the object.
        store: the name of the store in errors.
    """

    def __init__(
        self,
        found: DescribedObject,
        request: Callable[[Mapping[str, str]], Awaitable[Response]],
        policy: RetryPolicy,
        start: int,
        stop: int,
        response: Response | None,
        begin: int,
        store: str,
    ) -> None:
        super().__init__(found.info)
        self.replaced: bool = False
        self._condition = found.condition
        self._request = request
        self._policy = policy
        self._start = start
        self._stop = stop
        self._position = start
        self._response = response
        self._at = begin  # the offset in the object of the response's next byte
        self._store = store

    async def read(self, size: int = -1, /) -> bytes:
        left = max(self._stop - self._position, 0)
        wanted = left if size < 0 else min(size, left)
        pieces: list[bytes] = []
        while wanted:
            if self.resumable:
                piece = await self._policy.retry(partial(self.read_some, wanted))
            else:
                piece = await self.read_some(wanted)
            pieces.append(piece)
            wanted -= len(piece)
        return b"".join(pieces)

    @property
    def resumable(self) -> bool:
        """Whether a later response can be verified to be of the same version."""
        return self._condition is not None

    @property
    def remaining(self) -> int:
        """The number of bytes left to read."""
        return max(self._stop - self._position, 0)

    def seekable(self) -> bool:
        return self.resumable

    async def seek(self, offset: int, /) -> None:
        if not self.resumable:
            raise UnsupportedOperationError(
                "seek: no header of the server identifies the version for sure",
                key=self.info.key,
                store=self._store,
            )
        if self._start + offset != self._position:
            self._position = self._start + offset
            self.close()

    async def read_some(self, wanted: int) -> bytes:
        """Return 1 to *wanted* bytes, in one attempt."""
        try:
            response = self._response or await self._resume()
            while self._at < self._position:
                await self._read_body(response, min(self._position - self._at, _SKIPPED))
            piece = await self._read_body(response, wanted)
        except StorageError:
            self.close()
            raise
        self._position += len(piece)
        return piece

    def close(self) -> None:
        """Close the response."""
        response, self._response = self._response, None
        if response is not None:
            response.close()

    async def _read_body(self, response: Response, size: int) -> bytes:
        piece = await response.read(size)
        if not piece:
            raise StoreUnavailableError(
                "the response ended before the end of the object", key=self.info.key, store=self._store
            )
        self._at += len(piece)
        return piece

    async def _resume(self) -> Response:
        """Request the rest of the same version."""
        key = self.info.key
        if self._condition is None:
            raise StoreUnavailableError(
                "the response ended before the end of the object, and no header identifies the version for sure: "
                "read it again",
                key=key,
                store=self._store,
            )
        response = await self._request({"range": f"bytes={self._position}-{self._stop - 1}", **self._condition})
        try:
            if response.status in (404, 410, 412, 416):
                raise self._replaced_error()
            if response.status not in (200, 206):
                raise error_of(response.status, response.headers, key, self._store)
            begin, size = offset_and_size(response.status, response.headers, key, self._store)
            found = describe_response(response.headers, key, size)
            if found is None or (found.info.etag, found.info.size) != (self.info.etag, self.info.size):
                raise self._replaced_error()
            if begin > self._position:
                raise StorageError("the server sent another part than was requested", key=key, store=self._store)
        except StorageError:
            response.close()
            raise
        self._response, self._at = response, begin
        return response

    def _replaced_error(self) -> StorageError:
        """Return the error for an object that was replaced or deleted, and stop to resume."""
        self.replaced, self._condition = True, None
        return StorageError(
            "the object was replaced while it was read: open it again", key=self.info.key, store=self._store
        )
