"""Objects in this process's memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

import storage.sync
from benchmarks.call_styles import (
    awaited_obstore,
    awaited_opendal,
    awaited_store,
    sync_fsspec,
    sync_obstore,
    sync_opendal,
    sync_store,
)
from benchmarks.contenders import Calls, Place, contender
from storage import ByteRange, DictStore, KeyNotFoundError

__all__: list[str] = []  # its contenders are found in CONTENDERS


@contender("memory", "DictStore", ours=True)
async def dict_store(place: Place) -> AsyncIterator[Calls]:
    yield awaited_store(DictStore())


@contender("memory", "obstore MemoryStore", needs="obstore")
async def obstore_memory(place: Place) -> AsyncIterator[Calls]:
    from obstore.store import MemoryStore

    yield awaited_obstore(MemoryStore())


@contender(
    "memory", "py-key-value MemoryStore", needs="key_value", less="keeps JSON: text of the same length, not bytes"
)
async def key_value_memory(place: Place) -> AsyncIterator[Calls]:
    from key_value.aio.stores.memory import MemoryStore

    store = MemoryStore(max_entries_per_collection=None)

    def value(data: bytes) -> dict[str, str]:
        return {"data": "x" * len(data)}

    async def get(key: str) -> object:
        return (await store.get(key))["data"]

    async def put_many(objects: dict[str, bytes]) -> None:
        await store.put_many(list(objects), [value(data) for data in objects.values()])

    yield Calls(
        get=get,
        put=lambda key, data: store.put(key, value(data)),
        keys=lambda: store.keys(limit=1_000_000),
        delete=store.delete,
        get_many=store.get_many,
        put_many=put_many,
        delete_many=store.delete_many,
    )


@contender("memory", "aiocache SimpleMemoryCache", needs="aiocache", less="no head, no listing")
async def aiocache_memory(place: Place) -> AsyncIterator[Calls]:
    from aiocache import SimpleMemoryCache

    cache = SimpleMemoryCache(namespace=place.directory)
    yield Calls(
        get=cache.get,
        put=cache.set,
        delete=cache.delete,
        get_many=cache.multi_get,
        put_many=lambda objects: cache.multi_set(list(objects.items())),
    )


@contender("memory", "opendal memory", needs="opendal")
async def opendal_memory(place: Place) -> AsyncIterator[Calls]:
    from opendal import AsyncOperator

    yield awaited_opendal(AsyncOperator("memory"))


@contender("memory", "a dict", less="nothing is checked, and there are no etags and times", limit=True)
async def bare_dict(place: Place) -> AsyncIterator[Calls]:
    objects: dict[str, bytes] = {}

    async def get(key: str) -> bytes:
        return objects[key]

    async def put(key: str, data: bytes) -> None:
        objects[key] = data

    async def keys() -> list[str]:
        return sorted(objects)

    yield Calls(get=get, put=put, keys=keys)


@contender("memory", "sync.DictStore", ours=True)
def sync_dict_store(place: Place) -> Iterator[Calls]:
    yield sync_store(storage.sync.DictStore())


@contender("memory", "obstore MemoryStore", needs="obstore")
def sync_obstore_memory(place: Place) -> Iterator[Calls]:
    from obstore.store import MemoryStore

    yield sync_obstore(MemoryStore())


@contender("memory", "fsspec memory", needs="fsspec", less="no etags")
def sync_fsspec_memory(place: Place) -> Iterator[Calls]:
    from fsspec.implementations.memory import MemoryFileSystem

    yield sync_fsspec(MemoryFileSystem(), place.directory)
    MemoryFileSystem.store.clear()


@contender("memory", "opendal memory", needs="opendal")
def sync_opendal_memory(place: Place) -> Iterator[Calls]:
    from opendal import Operator

    yield sync_opendal(Operator("memory"))


class _Kept(NamedTuple):
    data: bytes


class _Plain:
    """A hand-written dict store without asyncio: the same calls and the same checks of a get."""

    def __init__(self) -> None:
        self._objects: dict[str, _Kept] = {}

    def get(self, key: str, *, byte_range: ByteRange | None = None) -> bytes:
        data = self._find(key).data
        if byte_range is None:
            return data
        start, stop = byte_range.within(len(data), key)
        return data[start:stop]

    def put(self, key: str, data: bytes) -> None:
        self._objects[key] = _Kept(data)

    def _find(self, key: str) -> _Kept:
        try:
            return self._objects[key]
        except KeyError:
            raise KeyNotFoundError(key) from None


class _PlainFace:
    """A plain call that makes another."""

    def __init__(self, store: _Plain) -> None:
        self._store = store
        self.put = store.put

    def get(self, key: str, *, byte_range: ByteRange | None = None) -> bytes:
        return self._store.get(key, byte_range=byte_range)


@contender("memory", "plain function calls", less="a put checks nothing; there are no etags and times")
def plain_calls(place: Place) -> Iterator[Calls]:
    store = _PlainFace(_Plain())
    yield Calls(get=store.get, put=store.put)


@contender("memory", "a dict", less="nothing is checked, and there are no etags and times", limit=True)
def sync_bare_dict(place: Place) -> Iterator[Calls]:
    objects: dict[str, bytes] = {}
    yield Calls(get=objects.__getitem__, put=objects.__setitem__, keys=lambda: sorted(objects))
