"""`get_or`, `clear_store` and `update`: functions that use only the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest
from examples import MinimalStore

from storage import (
    ByteRange,
    DictStore,
    ObjectReader,
    ObjectStore,
    PreconditionFailedError,
    ReadonlyStore,
    StoreUnavailableError,
    UnsupportedOperationError,
    clear_store,
    get_or,
    update,
)
from storage._concurrency.stepping import step

# -- get_or, clear_store ------------------------------------------------------------------------------------------


async def test_get_or_gives_the_default_only_for_a_missing_key() -> None:
    """The default is returned for a missing key, and not for empty bytes."""
    store = DictStore()
    await store.put("empty", b"")

    assert b"" == await get_or(store, "empty", b"default")
    assert await get_or(store, "missing", None) is None


async def test_get_or_hides_no_other_error() -> None:
    """Errors other than a missing key are raised."""

    class Down(DictStore):
        async def get(self, key: str, *, byte_range: ByteRange | None = None) -> bytes:
            raise StoreUnavailableError("down")

    with pytest.raises(StoreUnavailableError):
        await get_or(Down(), "a", b"")


@pytest.mark.parametrize("kind", [DictStore, MinimalStore])
async def test_clear_store_deletes_below_a_prefix_or_all(kind: type[ObjectStore]) -> None:
    """`clear_store` deletes the keys with the prefix, or all."""
    store = kind()
    for key in ("a/1", "a/2", "b"):
        await store.put(key, b"")

    await clear_store(store, "a/")

    assert ["b"] == [key async for key in store.keys()]

    await clear_store(store)

    assert [] == [key async for key in store.keys()]


# -- update -------------------------------------------------------------------------------------------------------


def increment(value: bytes | None) -> bytes:
    """Add 1; a missing value counts as 0."""
    return b"%d" % (int(value or b"0") + 1)


class SlowStore(DictStore):
    """Lets other tasks run between a read and a write."""

    @asynccontextmanager
    async def open(self, key: str, *, byte_range: ByteRange | None = None) -> AsyncIterator[ObjectReader]:
        async with super().open(key, byte_range=byte_range) as reader:
            yield reader
        await anyio.lowlevel.checkpoint()


class BusyStore(DictStore):
    """Another writer changes the object between every read and the write after it."""

    _steppable = True

    @asynccontextmanager
    async def open(self, key: str, *, byte_range: ByteRange | None = None) -> AsyncIterator[ObjectReader]:
        async with super().open(key, byte_range=byte_range) as reader:
            yield reader
        await self.put(key, b"7")


async def test_update_creates_and_replaces() -> None:
    """The function gets None if there is no object, and `update` returns the new bytes."""
    store = DictStore()

    assert b"1" == await update(store, "n", increment)
    assert b"2" == await update(store, "n", increment)
    assert b"2" == await store.get("n")


async def test_concurrent_updates_lose_nothing() -> None:
    """Five workers with ten increments each reach fifty."""
    store = SlowStore()

    async def work() -> None:
        for _ in range(10):
            await update(store, "n", increment)

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(work)

    assert b"50" == await store.get("n")


async def test_update_keeps_the_attributes() -> None:
    """`update` keeps the attributes of the object."""
    store = DictStore()
    await store.put("n", b"1", attributes={"unit": "apples"})

    await update(store, "n", increment)

    assert {"unit": "apples"} == (await store.head("n")).attributes


async def test_update_gives_up_after_the_attempts() -> None:
    """`update` raises PreconditionFailedError after the last attempt."""
    calls = 0

    def count(value: bytes | None) -> bytes:
        nonlocal calls
        calls += 1
        return increment(value)

    store = BusyStore()
    await store.put("n", b"1")
    with pytest.raises(PreconditionFailedError, match="3 attempts"):
        await update(store, "n", count, attempts=3)

    assert 3 == calls


async def test_what_the_function_raises_passes_unchanged_and_nothing_is_written() -> None:
    """An error of the function is raised as it is, even one that would mean a conflict from the store."""
    store = DictStore()
    await store.put("n", b"1")
    mine = PreconditionFailedError("mine")

    def fail(value: bytes | None) -> bytes:
        raise mine

    with pytest.raises(PreconditionFailedError) as caught:
        await update(store, "n", fail)

    assert caught.value is mine
    assert b"1" == await store.get("n")


@pytest.mark.parametrize("store", [MinimalStore(), ReadonlyStore(DictStore())], ids=repr)
async def test_update_needs_conditional_puts(store: ObjectStore) -> None:
    """A store without conditional puts is an UnsupportedOperationError, and nothing is written."""
    with pytest.raises(UnsupportedOperationError):
        await update(store, "n", increment)

    assert not await store.exists("n")


async def test_update_without_attempts_is_refused() -> None:
    """`attempts=0` is a ValueError."""
    with pytest.raises(ValueError, match="at least 1"):
        await update(DictStore(), "n", increment, attempts=0)


def test_update_works_stepped() -> None:
    """`update` works without an event loop, also when it must wait and try again."""
    store = BusyStore()

    assert b"1" == step(update(store, "n", increment))
    with pytest.raises(PreconditionFailedError):
        step(update(store, "n", increment, attempts=3))
