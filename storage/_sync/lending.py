"""Iterables that a thread lends to async code on the background loop, and that run in this thread."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import Any, TypeVar

from storage._core.data import as_bytes
from storage._sync.caller import Caller

__all__ = ["PIECE_SIZE", "JoinedPieces", "LentIterable"]

T = TypeVar("T")

#: Bytes that a thread joins from its own iterable before it hands them to the loop: a hop for each line would be slow.
PIECE_SIZE = 1 << 18

#: What `next` gives after the last item.
_END: Any = object()


class LentIterable(AsyncIterable[T]):
    """The caller's iterable, as an async iterable; each step runs in the caller's thread."""

    def __init__(self, items: Iterable[T], caller: Caller) -> None:
        self._items = items
        self._caller = caller

    async def __aiter__(self) -> AsyncIterator[T]:
        ask = self._caller.ask
        iterator = await ask(iter, self._items)
        while (item := await ask(next, iterator, _END)) is not _END:
            yield item


class JoinedPieces(Iterable[bytes]):
    """The pieces of an iterable, joined to at least `PIECE_SIZE` bytes; iterable as often as these are."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        gathered = bytearray()
        for piece in self._pieces:
            gathered += as_bytes(piece)
            if len(gathered) >= PIECE_SIZE:
                yield bytes(gathered)
                gathered.clear()
        if gathered:
            yield bytes(gathered)
