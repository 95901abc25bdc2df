"""`ExpiringStore` with bounds: only the most recently used objects are kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from doubles import HandClock
from examples import MinimalStore
from expiring_tools import expiring, held

from storage import (
    ConfigError,
    Data,
    DictStore,
    ExpiringStore,
    JsonStore,
    ObjectInfo,
    ObjectStore,
    StoreDecorator,
    StoreFullError,
)
from storage.testing.suite.harness import listed

# -- which go --------------------------------------------------------------------------------------------------------


async def test_least_recently_used_goes_first(base: ObjectStore) -> None:
    """put, get and open count as use; head and exists do not."""
    store = ExpiringStore(base, max_count=4)
    for key in "abcd":
        await store.put(key, b"v")
    await store.get("a")
    async with store.open("b") as reader:
        await reader.read()
    await store.head("c")
    await store.exists("c")
    await listed(store.scan())
    await store.put("d", b"w")

    await store.put("e", b"v")
    assert ["a", "b", "d", "e"] == await listed(base.keys())
    await store.get_many(["a"])
    await store.put("f", b"v")
    assert ["a", "d", "e", "f"] == await listed(base.keys())


async def test_bytes_are_bounded_too(base: ObjectStore) -> None:
    """As many objects are deleted as needed, and an overwritten object counts once."""
    store = ExpiringStore(base, max_bytes=10)
    for key in "abcde":
        await store.put(key, b"12")
    await store.put("e", b"34")
    assert 5 == (await held(base))[0]

    await store.put("f", b"12345")

    assert ["d", "e", "f"] == await listed(base.keys())


async def test_object_may_have_as_many_bytes_as_there_is_room(base: ObjectStore) -> None:
    """Then it is the only object."""
    store = ExpiringStore(base, max_bytes=10)
    await store.put("a", b"1")
    await store.put("b", b"0123456789")

    assert ["b"] == await listed(base.keys())


@pytest.mark.parametrize("data", [b"01234567890", memoryview(b"01234567890"), [b"0123456", b"7890"]], ids=type)
async def test_larger_object_is_refused(base: ObjectStore, data: Data) -> None:
    """Nothing is put, and the old object and all others are kept."""
    store = ExpiringStore(base, max_bytes=10)
    await store.put("k", b"old")
    await store.put("other", b"v")

    with pytest.raises(StoreFullError) as caught:
        await store.put("k", data)

    assert "k" == caught.value.key
    assert {"k": b"old", "other": b"v"} == await store.get_many(["k", "other"])


async def test_endless_stream_is_broken_off(base: ObjectStore) -> None:
    """The put stops as soon as the stream is larger than the bound."""
    given = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given
        while True:
            given += 1
            yield b"x" * 1000

    with pytest.raises(StoreFullError):
        await ExpiringStore(base, max_bytes=10_000).put("k", endless())

    assert 11 == given


@pytest.mark.parametrize("size", [1, 3])
async def test_streams_are_counted_as_well(base: ObjectStore, size: int) -> None:
    """Their size is known at their end."""
    store = ExpiringStore(base, max_bytes=10)
    for key in "abcdef":
        await store.put(key, [b"x"] * size)

    assert list("abcdef")[-(10 // size) :] == await listed(base.keys())


async def test_all_ways_to_make_objects_are_bounded(base: ObjectStore) -> None:
    """Bulk calls, copies and renames make room like puts."""
    store = ExpiringStore(base, max_count=3, max_bytes=9)
    await store.put_many({f"k{number}": b"123" for number in range(10)})
    assert (3, 9) == await held(base)

    await store.put("a", b"1")
    await store.copy("a", "b")
    await store.copy("a", "c")
    await store.rename("b", "d")
    assert ["a", "c", "d"] == await listed(base.keys())
    await store.put("e", b"1")
    assert ["c", "d", "e"] == await listed(base.keys())


async def test_what_is_deleted_makes_room(base: ObjectStore) -> None:
    """After any kind of delete, no other object is deleted for the next put."""
    store = ExpiringStore(base, max_count=7, max_bytes=7)
    etags = {key: await store.put(key, b"v") for key in ("oldest", "a", "b", "c", "d/1", "d/2", "e")}
    await store.delete("a")
    await store.delete("b", if_match=etags["b"])
    await store.delete_many(["c"])
    await store.clear("d/")
    await store.rename("e", "f")
    await store.put_many(dict.fromkeys("vwxyz", b"v"))

    assert ["f", "oldest", "v", "w", "x", "y", "z"] == await listed(base.keys())


async def test_what_has_expired_makes_room_when_it_is_removed(base: ObjectStore) -> None:
    """Until then it counts, because it still takes space."""
    clock = HandClock()
    store = expiring(base, clock, max_count=3)
    await store.put("live", b"v")
    await store.put("found", b"v", ttl=60)
    await store.put("swept", b"v", ttl=60)
    clock.go_on(60)
    assert not await store.exists("found")
    await store.put("a", b"v")
    assert ["a", "live", "swept"] == await listed(base.keys())

    await store.sweep()
    await store.put("b", b"v")

    assert ["a", "b", "live"] == await listed(base.keys())


# -- what was there before -------------------------------------------------------------------------------------------


async def test_what_the_store_held_counts_from_the_first_put(base: ObjectStore) -> None:
    """In the order in which it was written, and before the objects that were read meanwhile."""
    for key in ("c", "a", "d", "b"):
        await base.put(key, b"v")
        await asyncio.sleep(0.001)
    async with ExpiringStore(base, max_count=4) as store:
        await store.get("c")
        await store.put("e", b"v")
        assert ["b", "c", "d", "e"] == await listed(base.keys())
        await store.put("f", b"v")
        assert ["b", "c", "e", "f"] == await listed(base.keys())


async def test_store_that_is_opened_again_counts_again(base: ObjectStore) -> None:
    """Others may have put objects meanwhile."""
    store = ExpiringStore(base, max_count=3)
    async with store:
        await store.put("a", b"v")
    await base.put("b", b"v")
    await base.put("c", b"v")
    async with store:
        await store.put("d", b"v")
        await store.put("e", b"v")

    assert 3 == (await held(base))[0]


async def test_what_was_too_large_goes_alone(base: ObjectStore) -> None:
    """No other object is deleted for an object over the bound that the store already had, or for a copy of it."""
    await base.put("a", b"v")
    await base.put("large", b"0123456789")
    await base.put("b", b"v")
    store = ExpiringStore(base, max_bytes=5)

    await store.copy("large", "copy")

    assert ["a", "b"] == await listed(base.keys())


async def test_many_first_puts_count_once() -> None:
    """Concurrent puts do not each list a store with ten million keys."""
    listings = 0

    class Counted(StoreDecorator):
        async def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
            nonlocal listings
            listings += 1
            async for info in self.base.scan(prefix, start_after=start_after):
                await asyncio.sleep(0)
                yield info

    base = DictStore()
    await base.put_many({f"old{number}": b"v" for number in range(10)})
    store = ExpiringStore(Counted(base), max_count=5)

    await asyncio.gather(*(store.put(f"new{number}", b"v") for number in range(20)))

    assert (1, 5) == (listings, (await held(base))[0])


async def test_minimal_store_can_be_bounded() -> None:
    """A bound needs no capability. For a store of values, only the number can be bounded."""
    base = MinimalStore()
    store = ExpiringStore(base, max_count=2, max_bytes=100)
    for key in "abc":
        await store.put(key, b"v")
        await store.get("a")
    assert ["a", "c"] == sorted(base.objects)

    values: Any = ExpiringStore(JsonStore(DictStore()), max_count=2)
    for key in "abc":
        await values.put(key, {"key": key})
    assert ["b", "c"] == await listed(values.keys())
    with pytest.raises(ConfigError, match="put it below the store that encodes them"):
        ExpiringStore(JsonStore(DictStore()), max_bytes=100)
