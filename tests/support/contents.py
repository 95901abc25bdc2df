"""What stores hold, seen in several ways, and what is put into them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import cast

from doubles import ScriptedStore

from storage import DictStore, KeyNotFoundError, ObjectStore

__all__ = ["all_of", "contents", "filled", "listed", "opened", "pieces", "read"]


async def filled(*keys: str) -> DictStore:
    store = DictStore()
    await store.put_many(dict.fromkeys(keys, b"v"))
    return store


async def contents(store: ObjectStore) -> dict[str, bytes]:
    """Return all that a store holds."""
    return {key: await store.get(key) async for key in store.keys()}


async def all_of(*stores: ScriptedStore) -> list[dict[str, bytes]]:
    """Return what each of the stores below holds, past all trouble."""
    return [await contents(store.base) for store in stores]


async def listed(store: ObjectStore) -> list[list[str]]:
    """Return what the three listings give."""
    return [
        [key async for key in store.keys()],
        [info.key async for info in store.scan()],
        [name async for name in store.children()],
    ]


async def opened(store: ObjectStore, key: str) -> bytes:
    """Return an object as its reader gives it."""
    async with store.open(key) as reader:
        return await reader.read()


async def read(store: ObjectStore, key: str) -> list[bytes | None]:
    """Return the object as each way of reading gives it; None where it finds none."""
    try:
        async with store.open(key) as reader:
            streamed: bytes | None = await reader.read()
    except KeyNotFoundError:
        streamed = None
    many = (await store.get_many([key]))[key]
    try:
        got: bytes | None = await store.get(key)
    except KeyNotFoundError:
        got = None
    assert (got is not None) is await store.exists(key)
    assert got is None or (await store.head(key)).size == len(got)
    return [got, streamed, None if isinstance(many, KeyNotFoundError) else cast(bytes, many)]


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    """Yield these parts, each after other tasks had their turn."""
    for part in parts:
        await asyncio.sleep(0)
        yield part
