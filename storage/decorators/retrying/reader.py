"""`ResumingReader` and `resumed`: an open object and a listing continue after a failure."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from time import monotonic
from typing import Any, TypeVar

from storage._core.left_out import LeftOut
from storage._core.retry import Attempts
from storage.base import ObjectStore
from storage.decorators.retrying.nonce import hidden
from storage.errors import RangeNotSatisfiableError, StorageError, StoreUnavailableError
from storage.reader import ObjectReader
from storage.types import ByteRange

__all__ = ["ResumingReader", "after", "resumed"]

T = TypeVar("T")


class ResumingReader(ObjectReader):
    """
    A reader that opens the object again after a failed read, and continues at its position in the same version.

    Args:
        store: the store that has the object.
        reader: the open object.
        byte_range: what it was opened with.
        opened: closes the reader, and those that are opened later.
        attempts: makes the attempts of one read.
    """

    def __init__(
        self,
        store: ObjectStore[Any, Any],
        reader: ObjectReader,
        byte_range: ByteRange | None,
        opened: AsyncExitStack,
        attempts: Callable[[str, str], Attempts],
    ) -> None:
        super().__init__(hidden(reader.info))
        self._store = store
        self._reader: ObjectReader | None = reader
        self._range = byte_range
        self._opened = opened
        self._attempts = attempts
        self._seekable = reader.seekable()
        self._position = 0

    async def read(self, size: int = -1, /) -> bytes:
        attempts = self._attempts("read", self.info.key)
        while True:
            try:
                if self._reader is None and not await self._open_again():
                    break
                assert self._reader is not None
                piece = await self._reader.read(size)
            except StorageError as error:
                self._reader = None
                if not await attempts.another(error):
                    raise
            else:
                self._position += len(piece)
                return piece
        raise StoreUnavailableError(
            "the object changed while it was read; open it again", key=self.info.key, store=self._store
        )

    def seekable(self) -> bool:
        return self._seekable

    async def seek(self, offset: int, /) -> None:
        if not self._seekable:
            await super().seek(offset)
        if self._reader is not None:
            await self._reader.seek(offset)
        self._position = offset

    async def _open_again(self) -> bool:
        """Open the object at the position where reading failed; return whether it is still the same version."""
        with suppress(StorageError):  # from a reader that has failed already
            await self._opened.aclose()
        byte_range = self._range
        if not self._seekable:
            start, stop = (byte_range or ByteRange(0)).within(self.info.size)
            byte_range = ByteRange(start + self._position, stop)
        try:
            reader = await self._opened.enter_async_context(self._store.open(self.info.key, byte_range=byte_range))
        except RangeNotSatisfiableError:  # it is shorter now
            return False
        if reader.info.etag != self.info.etag:
            return False
        if self._seekable:
            await reader.seek(self._position)
        self._reader = reader
        return True


async def resumed(
    begin: Callable[[str | None], AsyncIterator[T]],
    name: Callable[[T], str],
    attempts: Callable[[float], Attempts],
    store: object,
) -> AsyncIterator[T]:
    """
    Yield a listing; after a failed step, list again after the name of the last item.

    Args:
        begin: starts the listing after a name, or from its beginning for None.
        name: returns the name of an item.
        attempts: returns the attempts of one step, which began at this time of the monotonic clock.
        store: the store that errors name.
    """
    last: str | None = None
    items = begin(last)
    tries: Attempts | None = None
    begun = monotonic()
    with LeftOut(store) as left_out:
        while True:
            try:
                item = await anext(items)
            except StopAsyncIteration:
                break
            except StorageError as error:
                tries = tries or attempts(begun)
                if not await tries.another(error):
                    raise
                left_out.take_over_failed(error)
                items = begin(last)
            else:
                last = name(item)
                yield item
                tries, begun = None, monotonic()


async def after(last: str | None, names: AsyncIterator[str]) -> AsyncIterator[str]:
    """Yield the sorted *names* that come after *last*."""
    async for name in names:
        if last is None or name > last:
            yield name
