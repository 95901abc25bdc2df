"""The data of a put in a decorator: its size, whether it can be put twice, and a wrapper around its pieces."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator
from typing import Any, TypeAlias, cast

from storage._concurrency.tasks import stream
from storage._core.bulk import pairs_of
from storage._core.data import as_bytes
from storage._core.traits import Trait
from storage.base import ObjectStore
from storage.decorators.bases.stacking import stack
from storage.types import In, Items, Keys

__all__ = ["Around", "Pull", "WatchedStream", "changed_items", "is_one_shot", "recorded_keys", "size_of", "takes_bytes"]

#: Returns the next piece of a stream, or None after its end.
Pull: TypeAlias = Callable[[], Awaitable[bytes | None]]

#: Wraps a `Pull`: it is awaited with that function, and returns what the function returns.
Around: TypeAlias = Callable[[Pull], Awaitable[bytes | None]]

_END: Any = object()


def takes_bytes(store: ObjectStore[Any, Any]) -> bool:
    """Return whether a stack takes bytes. If so, an iterator is a stream of bytes; if not, it is a value."""
    return not any(Trait.VALUES in each._traits for each in stack(store))


def is_one_shot(data: object) -> bool:
    """Return whether *data* can be put only once: iterators, readers and files; not collections."""
    if isinstance(data, Collection):  # buffers, too
        return False
    return isinstance(data, AsyncIterable | Iterable) or hasattr(data, "read")


def size_of(data: object) -> int | None:
    """Return the number of bytes of *data*; None if it is not known, as for a stream."""
    if isinstance(data, bytes | bytearray):
        return len(data)
    if isinstance(data, memoryview):
        return data.nbytes
    if isinstance(data, list | tuple):
        sizes = [size_of(piece) for piece in data if not isinstance(piece, list | tuple)]
        return sum(size for size in sizes if size is not None)
    return None


class WatchedStream:
    """A stream that reads each piece through *around*, which may wait, count or raise an error."""

    def __init__(self, data: Any, around: Around) -> None:
        self._data = data
        self._around = around
        self._iterator: AsyncIterator[object] | Iterator[object] | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        """Return the next piece."""
        piece = await self._around(self._pull)
        if piece is None:
            raise StopAsyncIteration
        return piece

    async def _pull(self) -> bytes | None:
        if self._iterator is None:
            self._iterator = aiter(self._data) if isinstance(self._data, AsyncIterable) else iter(self._data)
        if isinstance(self._iterator, AsyncIterator):
            piece = await anext(self._iterator, _END)
        else:
            piece = next(self._iterator, _END)
        return None if piece is _END else as_bytes(piece)


def changed_items(
    items: Items[In],
    change: Callable[[str, In], In],
) -> Iterable[tuple[str, In]] | AsyncIterable[tuple[str, In]]:
    """Return the items of a `put_many` with ``change(key, data)`` as their data; a collection stays a collection."""
    if isinstance(items, Collection):
        return [(key, change(key, data)) for key, data in cast("Iterable[tuple[str, In]]", pairs_of(items))]

    async def changed() -> AsyncIterator[tuple[str, In]]:
        async for key, data in stream(pairs_of(items)):
            yield key, change(key, data)

    return changed()


def recorded_keys(keys: Keys, recorded: list[str]) -> Keys:
    """Return *keys*; each is added to *recorded* when it is read. A collection stays a collection."""
    if isinstance(keys, Collection):
        recorded.extend(keys)
        return keys

    async def passed() -> AsyncIterator[str]:
        async for key in stream(keys):
            recorded.append(key)
            yield key

    return passed()
