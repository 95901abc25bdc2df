"""Drivers: call a store, async or synchronous, from code that is not async."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import aclosing, closing
from typing import Any, NamedTuple, cast

import storage.sync
from storage.base import ObjectStore
from storage.types import ByteRange, ObjectInfo

__all__ = ["AsyncDriver", "Driver", "Read", "SyncDriver", "driver_of"]


class Read(NamedTuple):
    """
    The result of reading an open object.

    Attributes:
        info: its description.
        pieces: the result of each read.
        sought: the bytes from the offset of the seek on; None if the reader cannot seek.
    """

    info: ObjectInfo
    pieces: list[bytes]
    sought: bytes | None


class Driver(ABC):
    """Calls the methods of one store by name, and returns when they have ended."""

    @abstractmethod
    def enter(self) -> None:
        """Enter the store."""

    @abstractmethod
    def leave(self) -> None:
        """Leave the store; nothing can be called after it."""

    @abstractmethod
    def call(self, name: str, /, *args: Any, **options: Any) -> Any:
        """Return the result of a method."""

    @abstractmethod
    def listed(self, name: str, /, *args: Any, most: int | None = None, **options: Any) -> list[Any]:
        """Return the items of a listing; with *most*, only its first items, and then close it."""

    @abstractmethod
    def read(self, key: str, byte_range: ByteRange | None, sizes: Sequence[int], offset: int) -> Read:
        """Open an object, read pieces of these *sizes*, then go to *offset* and read the rest."""

    @abstractmethod
    def stream(self, pieces: Iterable[bytes]) -> Any:
        """Return a stream of the kind that is most difficult for the store."""


class AsyncDriver(Driver):
    """Calls an async store, on an event loop of its own."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        self._runner = asyncio.Runner()

    def enter(self) -> None:
        self._run(self.store.__aenter__())

    def leave(self) -> None:
        try:
            self._run(self.store.__aexit__(None, None, None))
        finally:
            self._runner.close()

    def call(self, name: str, /, *args: Any, **options: Any) -> Any:
        return self._run(getattr(self.store, name)(*args, **options))

    def listed(self, name: str, /, *args: Any, most: int | None = None, **options: Any) -> list[Any]:
        async def collect() -> list[Any]:
            found: list[Any] = []
            async with aclosing(getattr(self.store, name)(*args, **options)) as items:
                while len(found) != most and (item := await anext(items, _END)) is not _END:
                    found.append(item)
            return found

        return cast("list[Any]", self._run(collect()))

    def read(self, key: str, byte_range: ByteRange | None, sizes: Sequence[int], offset: int) -> Read:
        async def read() -> Read:
            async with self.store.open(key, byte_range=byte_range) as reader:
                pieces = [await reader.read(size) for size in sizes]
                if not reader.seekable():
                    return Read(reader.info, pieces, None)
                await reader.seek(offset)
                return Read(reader.info, pieces, b"".join([piece async for piece in reader]))

        return cast("Read", self._run(read()))

    def stream(self, pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
        async def each() -> AsyncIterator[bytes]:
            for piece in pieces:
                await asyncio.sleep(0)
                yield piece

        return each()

    def _run(self, call: Any) -> Any:
        return self._runner.get_loop().run_until_complete(call)


class SyncDriver(Driver):
    """Calls a synchronous store."""

    def __init__(self, store: storage.sync.ObjectStore) -> None:
        self.store = store

    def enter(self) -> None:
        self.store.__enter__()

    def leave(self) -> None:
        self.store.__exit__(None, None, None)

    def call(self, name: str, /, *args: Any, **options: Any) -> Any:
        return getattr(self.store, name)(*args, **options)

    def listed(self, name: str, /, *args: Any, most: int | None = None, **options: Any) -> list[Any]:
        found: list[Any] = []
        with closing(getattr(self.store, name)(*args, **options)) as items:
            while len(found) != most and (item := next(items, _END)) is not _END:
                found.append(item)
        return found

    def read(self, key: str, byte_range: ByteRange | None, sizes: Sequence[int], offset: int) -> Read:
        with self.store.open(key, byte_range=byte_range) as file:
            pieces = [file.read(size) for size in sizes]
            if not file.seekable():
                return Read(file.info, pieces, None)
            file.seek(offset)
            return Read(file.info, pieces, file.read())

    def stream(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        yield from pieces


_END: Any = object()


def driver_of(store: ObjectStore | storage.sync.ObjectStore) -> Driver:
    """Return what calls the store, whichever of the two kinds it is."""
    return AsyncDriver(store) if isinstance(store, ObjectStore) else SyncDriver(store)
