"""The options of a cache: bounds, missing keys, comparing with the main store, writing through."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from contents import opened
from doubles import ScriptedStore

from storage import (
    ByteRange,
    CachingStore,
    DictStore,
    KeyNotFoundError,
    ObjectStore,
    StorageError,
    StoreUnavailableError,
)
from storage.decorators.caching import recent_keys
from storage.decorators.caching.recent_keys import RecentKeys


@pytest.fixture
def main() -> ScriptedStore:
    """Return the store that has the objects."""
    return ScriptedStore(DictStore())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that lets seconds pass."""
    passed = [0.0]
    monkeypatch.setattr(recent_keys, "now", lambda: passed[0])
    monkeypatch.setattr("storage.decorators.caching.store.now", lambda: passed[0])

    def pass_(seconds: float) -> None:
        passed[0] += seconds

    return pass_


async def held(store: ObjectStore) -> list[str]:
    return [key async for key in store.keys()]


def read_from(main: ScriptedStore) -> int:
    """Return how often an object was read from the store."""
    return main.count("open") + main.count("get")


# -- bounds ------------------------------------------------------------------------------------------------------------


async def test_least_recently_used_goes_first(main: ScriptedStore) -> None:
    """The max_count objects that were used last stay; reading an object from the cache is a use."""
    store = CachingStore(main, cache := DictStore(), max_count=2)
    for key in "abc":
        await main.base.put(key, key.encode())
    for key in "abac":
        assert key.encode() == await store.get(key)

    assert ["a", "c"] == await held(cache)


async def test_bytes_are_bounded(main: ScriptedStore) -> None:
    """All entries have max_bytes at most, their descriptions included; a larger one is not cached and deletes none."""
    for key, size in {"a": 300, "b": 300, "c": 300, "large": 900, "d": 600}.items():
        await main.base.put(key, b"x" * size)
    store = CachingStore(main, cache := DictStore(), max_bytes=1000)
    for key in ("a", "b", "c"):
        await store.get(key)
    assert ["b", "c"] == await held(cache)

    assert 900 == len(await store.get("large"))
    assert ["b", "c"] == await held(cache)
    await store.get("d")
    assert ["d"] == await held(cache)
    assert 0 == store.stats.errors


async def test_what_the_cache_holds_already_counts(main: ScriptedStore) -> None:
    """A bound includes what the cache store held before, and the objects cached first are deleted first."""
    cache = DictStore()
    for key in "abcd":
        await main.base.put(key, key.encode())
        await CachingStore(main, cache).get(key)

    store = CachingStore(main, cache, max_count=2)
    await store.get("b")

    assert ["a", "b", "c", "d"] == await held(cache)
    await main.base.put("e", b"e")
    await store.get("e")
    assert ["d", "e"] == await held(cache)


async def test_what_was_written_or_cleared_takes_no_room(main: ScriptedStore) -> None:
    """Objects that are no longer cached do not count."""
    store = CachingStore(main, cache := DictStore(), max_count=3)
    for key in ("a", "b", "x/c", "d", "e"):
        await main.base.put(key, key.encode())
    for key in ("a", "b", "x/c"):
        await store.get(key)
    await store.delete("b")
    await store.clear("x/")

    await store.get("d")
    await store.get("e")
    assert ["a", "d", "e"] == await held(cache)


async def test_cache_that_is_entered_again_is_counted_again(main: ScriptedStore) -> None:
    """The cache store may have been changed in the meantime."""
    cache = DictStore()
    for key in "abcd":
        await main.base.put(key, key.encode())
    store = CachingStore(main, cache, max_count=2)
    async with store:
        await store.get("a")
    other = CachingStore(main, cache)
    await other.get("b")
    await other.get("c")

    async with store:
        await store.get("d")
    assert ["c", "d"] == await held(cache)


# -- options -----------------------------------------------------------------------------------------------------------


async def test_missing_key_is_remembered_for_a_while(main: ScriptedStore, clock: Callable[[float], None]) -> None:
    """With negative= a missing key is read once from the main store, until the time has passed or it is put."""
    store = CachingStore(main, DictStore(), negative=timedelta(minutes=1))
    for _ in range(2):
        for call in (store.get("k"), opened(store, "k"), store.head("k"), store.get("k", byte_range=ByteRange(0))):
            with pytest.raises(KeyNotFoundError) as caught:
                await call
            assert "k" == caught.value.key
        assert not await store.exists("k")
    assert 1 == read_from(main) + main.count("head") + main.count("exists")
    assert 9 == store.stats.missing

    await main.base.put("k", b"past the cache")
    clock(59.9)
    assert not await store.exists("k")
    clock(0.1)
    assert b"past the cache" == await store.get("k")

    await store.delete("k")
    assert not await store.exists("k")
    await store.put("k", b"new")
    assert b"new" == await store.get("k")


@pytest.mark.parametrize("first", ["head", "exists"])
async def test_missing_key_is_remembered_however_it_was_found_out(main: ScriptedStore, first: str) -> None:
    """`exists` is enough; `forget` forgets it, too."""
    store = CachingStore(main, DictStore(), negative=60)
    assert first == "head" or not await store.exists("k")
    if first == "head":
        with pytest.raises(KeyNotFoundError):
            await store.head("k")

    await main.base.put("k", b"past the cache")
    assert not await store.exists("k")
    await store.forget()
    assert await store.exists("k")


def test_what_is_remembered_is_bounded() -> None:
    """However many keys are read, a bounded number is remembered: the last ones."""
    recent = RecentKeys(math.inf, limit=3)
    for key in "abcda":
        recent.remember(key)

    assert (3, {"a", "c", "d"}) == (len(recent), {key for key in "abcd" if key in recent})


async def test_object_is_compared_with_the_main_stores_each_time(main: ScriptedStore) -> None:
    """With revalidate=0 others' writes are seen immediately, for a head; unchanged objects are not read again."""
    store = CachingStore(main, DictStore(), revalidate=0)
    await main.base.put("k", b"one")
    for _ in range(3):
        assert b"one" == await store.get("k")
    assert (1, 2) == (main.count("open"), main.count("head"))

    await main.base.put("k", b"two", attributes={"color": "red"})
    assert b"two" == await store.get("k")
    assert {"color": "red"} == (await store.head("k")).attributes

    await main.base.delete("k")
    assert not await store.exists("k")
    with pytest.raises(KeyNotFoundError):
        await store.get("k")


async def test_object_is_compared_after_a_while(main: ScriptedStore, clock: Callable[[float], None]) -> None:
    """With revalidate=60 an object may be a minute old, counted from its last read or comparison."""
    store = CachingStore(main, DictStore(), revalidate=60)
    await main.base.put("k", b"one")
    await store.get("k")
    clock(60)
    await store.get("k")
    await main.base.put("k", b"two")

    clock(59)
    assert (b"one", 1) == (await store.get("k"), main.count("head"))
    clock(1)
    assert b"two" == await store.get("k")


async def test_time_counts_from_when_the_main_store_was_asked(
    main: ScriptedStore, clock: Callable[[float], None]
) -> None:
    """A slow result is old when it arrives."""
    store = CachingStore(main, DictStore(), revalidate=60)
    await main.base.put("k", b"one")
    gate = main.hold("open", after=True)
    slow = asyncio.create_task(store.get("k"))
    await gate.reached()
    clock(50)
    gate.open()
    await slow
    await main.base.put("k", b"two")

    clock(10)
    assert b"two" == await store.get("k")


async def test_stale_object_is_better_than_none_if_one_says_so(main: ScriptedStore) -> None:
    """When the main store is unavailable the cached object is returned; other errors, and objects not cached, raise."""
    await main.base.put("k", b"v")
    store = CachingStore(main, DictStore(), revalidate=0, stale_on_error=True)
    strict = CachingStore(main, store.cache_store, revalidate=0)
    await store.get("k")

    main.fail("head", "open")
    assert b"v" == await store.get("k") == await opened(store, "k")
    assert 2 == store.stats.stale
    with pytest.raises(StoreUnavailableError):
        await strict.get("k")
    with pytest.raises(StoreUnavailableError):
        await store.get("other")

    main.heal()
    main.fail("open")
    main.fail("head", error=lambda: StorageError("no such bucket"))
    with pytest.raises(StorageError, match="bucket"):
        await store.get("k")


@pytest.mark.parametrize("past", [False, True], ids=["through the cache", "past it"])
async def test_deleted_object_is_not_given_for_stale(main: ScriptedStore, past: bool) -> None:
    """Once its deletion has been seen, whoever deleted it; even when the main store is unavailable."""
    await main.base.put("k", b"v")
    store = CachingStore(main, DictStore(), revalidate=0, stale_on_error=True)
    await store.get("k")
    await (main.base if past else store).delete("k")
    assert not await store.exists("k")
    main.fail("head", "open")

    with pytest.raises(StoreUnavailableError):
        await store.get("k")


async def test_write_through_caches_what_is_put(main: ScriptedStore) -> None:
    """With write="through" a buffer that is put is cached, with the main store's description; a stream is not."""
    store = CachingStore(main, cache := DictStore(), write="through", max_object_size=10)
    buffer = bytearray(b"0123456789")
    gate = main.hold("put", after=True)
    putting = asyncio.create_task(store.put("k", buffer, attributes={"color": "red"}))
    await gate.reached()
    buffer[0:1] = b"x"
    gate.open()
    await putting
    await store.put("stream", [b"piece"])
    await store.put("large", b"0123456789+")
    assert ["k"] == await held(cache)

    assert b"0123456789" == await store.get("k")
    assert await main.base.head("k") == await store.head("k")
    assert 0 == read_from(main)


async def test_write_through_of_another_version_is_not_kept(main: ScriptedStore) -> None:
    """If another writer has written since, or `head` fails, the put has still succeeded."""
    store = CachingStore(main, cache := DictStore(), write="through")
    gate = main.hold("put", after=True)
    putting = asyncio.create_task(store.put("k", b"mine"))
    await gate.reached()
    await main.base.put("k", b"another's")
    gate.open()
    await putting
    assert [] == await held(cache)

    main.heal()
    main.fail("head")
    await store.put("k", b"mine")
    assert [] == await held(cache)


async def test_forget_empties_the_cache_and_nothing_else(main: ScriptedStore) -> None:
    """One key or all keys; the objects stay."""
    store = CachingStore(main, cache := DictStore(), max_count=2)
    for key in "ab":
        await store.put(key, b"v")
        await store.get(key)

    await store.forget("a")
    await store.forget("never there")
    assert ["b"] == await held(cache)
    await store.forget()
    assert [] == await held(cache)
    assert ["a", "b"] == await held(main)


@pytest.mark.parametrize(
    "options",
    [
        {"max_bytes": 0},
        {"max_count": -1},
        {"max_object_size": 0},
        {"write": "back"},
        {"negative": 0},
        {"revalidate": -1},
    ],
)
def test_wrong_option_is_a_value_error(options: dict[str, Any]) -> None:
    """The message names the option."""
    with pytest.raises(ValueError, match=next(iter(options))):
        CachingStore(DictStore(), DictStore(), **options)
