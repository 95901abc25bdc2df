"""What the package costs beside doing the same without it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import storage.sync
from benchmarks.harness import Comparison, Work
from storage import ByteRange, DictStore, KeyNotFoundError, ObjectStore, PrefixStore, ReadonlyStore

__all__ = ["decorated_get", "sync_file_get", "sync_get"]

SMALL = bytes(100)
PAGE = bytes(4096)


def repeated(get: Callable[[str], bytes]) -> Work:
    """Return the work of so many calls of a plain function."""

    def work(count: int) -> None:
        for _ in range(count):
            get("key")

    return work


def awaited(store: ObjectStore) -> Work:
    """Return the work of so many awaited gets."""

    async def work(count: int) -> None:
        for _ in range(count):
            await store.get("key")

    return work


class _Kept(NamedTuple):
    data: bytes


class _Plain:
    """A dict store as one writes it by hand, without asyncio: the same calls and the same checks."""

    def __init__(self) -> None:
        self._objects = {"key": _Kept(SMALL)}

    def get(self, key: str, *, byte_range: ByteRange | None = None) -> bytes:
        data = self._find(key).data
        if byte_range is None:
            return data
        start, stop = byte_range.within(len(data), key)
        return data[start:stop]

    def _find(self, key: str) -> _Kept:
        try:
            return self._objects[key]
        except KeyError:
            raise KeyNotFoundError(key) from None


class _PlainFace:
    """One plain call before another."""

    def __init__(self, store: _Plain) -> None:
        self._store = store

    def get(self, key: str, *, byte_range: ByteRange | None = None) -> bytes:
        return self._store.get(key, byte_range=byte_range)


@asynccontextmanager
async def sync_get() -> AsyncIterator[Comparison]:
    """The synchronous face: a coroutine that is stepped, beside plain calls."""
    store = storage.sync.DictStore()
    store.put("key", SMALL)
    yield Comparison(
        title="sync get from memory",
        contenders={"plain function calls": repeated(_PlainFace(_Plain()).get), "sync.DictStore": repeated(store.get)},
        at_most=5,
    )


@asynccontextmanager
async def decorated_get() -> AsyncIterator[Comparison]:
    """What one decorator adds to an awaited get."""
    store = DictStore()
    await store.put("key", SMALL)
    await store.put("a/key", SMALL)
    yield Comparison(
        title="async get from memory, decorated",
        contenders={
            "DictStore": awaited(store),
            "ReadonlyStore over it": awaited(ReadonlyStore(store)),
            "PrefixStore over it": awaited(PrefixStore(store, "a/")),
        },
        adds_at_most=1e-6,
    )


@asynccontextmanager
async def sync_file_get() -> AsyncIterator[Comparison]:
    """A whole small file, in the page cache."""
    with tempfile.TemporaryDirectory() as root:
        store = storage.sync.FilesystemStore(root)
        store.put("key", PAGE)

        def raw(key: str) -> bytes:
            file = os.open(f"{root}/{key}", os.O_RDONLY | os.O_CLOEXEC)
            try:
                return os.read(file, len(PAGE))
            finally:
                os.close(file)

        yield Comparison(
            title="sync get of a 4 KiB file",
            contenders={"os.open, read, close": repeated(raw), "sync.FilesystemStore": repeated(store.get)},
            at_most=2,
        )
