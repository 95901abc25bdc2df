"""`FaultyStore`, `SlowStore` and `CountingStore`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

import storage.sync
from storage import (
    BulkError,
    DictStore,
    JsonStore,
    KeyNotFoundError,
    RetryingStore,
    StoreFullError,
    StoreTimeoutError,
    StoreUnavailableError,
)
from storage.testing import CountingStore, FaultyStore, SlowStore

# -- FaultyStore -----------------------------------------------------------------------------------------------------


async def test_call_fails_before_it_takes_effect() -> None:
    """A call fails with the given error and the key, before it takes effect; other calls work."""
    store = FaultyStore(DictStore())
    failing = store.fail("put", error=StoreFullError)
    with pytest.raises(StoreFullError) as caught:
        await store.put("k", b"v")

    assert "k" == caught.value.key
    assert not await store.exists("k")
    assert [("put", "k")] == store.failures
    assert [("put", "k"), ("exists", "k")] == store.calls
    assert 1 == failing.failed


async def test_call_fails_after_it_took_effect() -> None:
    """With ``after=True`` a call takes effect and then fails."""
    store = FaultyStore(DictStore())
    store.fail("put", error=lambda: StoreTimeoutError("no answer"), after=True)
    with pytest.raises(StoreTimeoutError, match="no answer"):
        await store.put("k", b"v")

    assert b"v" == await store.get("k")


async def test_calls_fail_by_their_number() -> None:
    """`skip` calls work, `times` calls fail, and later ones work."""
    store = FaultyStore(DictStore())
    store.fail("exists", skip=1, times=2)
    outcomes = [await _outcome(store) for _ in range(5)]

    assert [False, StoreUnavailableError, StoreUnavailableError, False, False] == outcomes


async def test_calls_fail_by_chance_and_alike_for_one_seed() -> None:
    """The share of failures is about the probability, and a seed gives the same failures each time."""

    async def failed(seed: int) -> list[object]:
        store = FaultyStore(DictStore(), seed=seed)
        store.fail("exists", probability=0.3)
        return [await _outcome(store) for _ in range(200)]

    one = await failed(1)

    assert one == await failed(1)
    assert one != await failed(2)
    assert 30 < one.count(StoreUnavailableError) < 90


async def test_calls_fail_that_are_chosen() -> None:
    """`when` selects calls by action and key, also single objects of a bulk call; `heal` ends the failures."""
    store = FaultyStore(DictStore())
    store.fail(when=lambda action, key: key == "b")
    with pytest.raises(BulkError) as caught:
        await store.put_many({"a": b"1", "b": b"2", "c": b"3"})

    assert isinstance(caught.value.results["b"], StoreUnavailableError)
    store.heal()
    assert ["a", "c"] == [key async for key in store.keys()]
    await store.put("b", b"2")


async def _outcome(store: FaultyStore) -> object:
    try:
        return await store.exists("k")
    except StoreUnavailableError as error:
        return type(error)


@pytest.mark.parametrize("at", [0, 1, 4, 1_500_000, 3_000_000])
async def test_stream_that_is_put_breaks_in_the_middle(at: int) -> None:
    """A stream fails after so many bytes, and the old object stays."""
    taken = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(2):
            taken += 1_000_000
            yield b"x" * 1_000_000

    store = FaultyStore(DictStore())
    await store.put("k", b"old")
    store.fail("put", at=at)
    with pytest.raises(StoreUnavailableError):
        await store.put("k", pieces())

    assert b"old" == await store.get("k")
    assert min(2_000_000, -(-at // 1_000_000) * 1_000_000) == taken


async def test_object_that_is_read_breaks_in_the_middle() -> None:
    """A read fails after so many bytes, and the bytes before are right."""
    store = FaultyStore(DictStore())
    await store.put("k", b"0123456789")
    store.fail("open", at=7)

    async with store.open("k") as reader:
        assert b"012" == await reader.read(3)
        assert b"3456" == await reader.read()
        with pytest.raises(StoreUnavailableError):
            await reader.read()


async def test_listing_breaks_in_the_middle() -> None:
    """A listing can fail at one of its steps."""
    store = FaultyStore(DictStore())
    await store.put_many(dict.fromkeys("abc", b""))
    store.fail("next", skip=1)

    keys = store.keys()

    assert ["a", "b"] == [await anext(keys), await anext(keys)]
    with pytest.raises(StoreUnavailableError):
        await anext(keys)


def test_faulty_store_is_stepped() -> None:
    """A FaultyStore over a store that never waits needs no event loop."""
    faulty = FaultyStore(DictStore())
    faulty.fail("get", error=ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        storage.sync.ObjectStore(faulty).get("k")

    assert faulty.capabilities.steppable


# -- SlowStore -------------------------------------------------------------------------------------------------------


async def test_slow_store_waits_before_and_after() -> None:
    """With a `sleep` of one's own no time passes; the call takes effect between the two waits."""
    below = DictStore()
    waits: list[tuple[float, bool]] = []

    async def sleep(seconds: float) -> None:
        waits.append((seconds, await below.exists("k")))

    store = SlowStore(below, 2.0, after=lambda action, key: 3.0 if action == "put" else 0.0, sleep=sleep)
    await store.put("k", b"v")
    await store.get("k")

    assert [(2.0, False), (3.0, True), (2.0, True)] == waits
    assert 7.0 == store.waited
    assert not store.capabilities.steppable


def test_slow_store_waits_really() -> None:
    """By default real time passes, also without an event loop."""
    store = SlowStore(DictStore(), 0.001)
    storage.sync.ObjectStore(store).put("k", b"v")

    assert store.capabilities.steppable
    assert 0.001 == store.waited


# -- CountingStore ---------------------------------------------------------------------------------------------------


async def test_calls_and_bytes_are_counted() -> None:
    """A bulk call and a listing count as one call, and streams and readers count their bytes."""
    store = CountingStore(DictStore())
    await store.put("a", b"12345")
    await store.put("b", iter([b"12", b"3"]))
    await store.put_many({"c": b"1", "d": b"23"})
    await store.get_many(["a", "b", "missing"])
    async with store.open("a") as reader:
        await reader.read(2)
    with pytest.raises(KeyNotFoundError):
        await store.get("missing")
    assert 4 == len([key async for key in store.keys()])

    assert {"put": 2, "put_many": 1, "get_many": 1, "open": 1, "get": 1, "keys": 1} == store.calls
    assert {"get": 1} == store.errors
    assert (5 + 3 + 3, 5 + 3 + 2) == (store.bytes_in, store.bytes_out)
    store.reset()
    assert ({}, {}, 0, 0, 0) == (store.calls, store.errors, store.bytes_in, store.bytes_out, store.most_at_once)


async def test_calls_at_once_are_counted() -> None:
    """The most concurrent calls are counted, and none are running at the end."""
    store = CountingStore(SlowStore(DictStore(), sleep=lambda seconds: asyncio.sleep(0), before=1.0))
    await asyncio.gather(*(store.exists("k") for _ in range(5)))
    await store.exists("k")

    assert (5, 0) == (store.most_at_once, store.running)


async def test_values_are_not_counted_in_bytes() -> None:
    """The bytes of a store of values are not counted."""
    store = CountingStore(JsonStore(DictStore()))
    await store.put("k", {"a": 1})

    assert {"a": 1} == await store.get("k")
    assert (0, 0) == (store.bytes_in, store.bytes_out)


async def test_they_go_under_other_decorators() -> None:
    """Retries are counted below the retrying decorator, and not above it."""
    faulty = FaultyStore(DictStore())
    below = CountingStore(faulty)
    above = CountingStore(RetryingStore(below, attempts=3, base_delay=0))
    faulty.fail("put", times=2)
    await above.put("k", b"v")

    assert (1, 3) == (above.calls["put"], below.calls["put"])
