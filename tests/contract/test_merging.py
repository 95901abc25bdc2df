"""Ordered listings of several stores become one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from operator import attrgetter

import anyio
import pytest

from storage import DictStore, StoreUnavailableError
from storage._concurrency.stepping import step
from storage._core.merging import merged


async def _store(*keys: str) -> DictStore:
    store = DictStore()
    for key in keys:
        await store.put(key, key.encode() * len(keys))
    return store


async def test_keys_come_once_and_in_order() -> None:
    """Also those that several listings have, one that is empty, and one that ends early."""
    listings = [["a", "c", "c/d", "z"], [], ["b", "c", "é"], ["a", "b"]]
    stores = [await _store(*keys) for keys in listings]

    assert ["a", "b", "c", "c/d", "z", "é"] == [key async for key in merged([store.keys() for store in stores])]


async def test_nothing_merged_is_nothing() -> None:
    none: list[AsyncIterator[str]] = []

    assert [] == [key async for key in merged(none)]


async def test_first_listing_wins() -> None:
    """Of an object that several stores have, the description is the first store's."""
    first, second = await _store("b"), await _store("a", "b", "c")

    found = [info async for info in merged([first.scan(), second.scan()], attrgetter("key"))]

    assert [("a", 3), ("b", 1), ("c", 3)] == [(info.key, info.size) for info in found]


async def test_listings_go_no_further_than_asked() -> None:
    """One who stops early has not made every store list everything."""
    taken: list[str] = []

    async def listing(name: str) -> AsyncIterator[str]:
        for number in range(1000):
            taken.append(f"{number:03}{name}")
            yield f"{number:03}{name}"

    both = merged([listing("a"), listing("b")])

    assert ["000a", "000b"] == [await anext(both), await anext(both)]
    assert ["000a", "000b", "001a"] == taken


async def test_listings_begin_at_once() -> None:
    """Each waits for the other here: one after the other they would wait for ever."""
    begun = [anyio.Event(), anyio.Event()]

    async def listing(number: int) -> AsyncIterator[str]:
        begun[number].set()
        await begun[1 - number].wait()
        yield str(number)

    assert ["0", "1"] == [key async for key in merged([listing(0), listing(1)])]


@pytest.mark.parametrize("failing_at", [0, 2])
async def test_error_of_one_listing_is_raised_as_it_is(failing_at: int) -> None:
    """Neither in a group nor dropped, at the first step or later."""

    async def listing() -> AsyncIterator[str]:
        for number in range(failing_at):
            yield f"{number}"
        raise StoreUnavailableError("gone")

    with pytest.raises(StoreUnavailableError, match="gone"):
        _ = [key async for key in merged([(await _store("a", "b")).keys(), listing()])]


async def test_between_two_items_nothing_is_held() -> None:
    """A task may begin a listing and another one end it, and a scope around one step does not reach the next."""
    both = merged([(await _store("a", "c")).keys(), (await _store("b", "d")).keys()])
    found: list[str] = []

    async def some(count: int) -> None:
        with anyio.CancelScope() as scope:
            found.extend([await anext(both) for _ in range(count)])
            scope.cancel()

    for count in (1, 3):
        async with anyio.create_task_group() as group:
            group.start_soon(some, count)

    assert ["a", "b", "c", "d"] == found


def test_merging_can_be_stepped() -> None:
    """Where no listing suspends there need be no event loop."""

    async def keys() -> list[str]:
        stores = [await _store("a", "c"), await _store("b")]
        return [key async for key in merged([store.keys() for store in stores])]

    assert ["a", "b", "c"] == step(keys())
