"""`ExpiringStore`: an expired object is gone for every method."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from contents import opened
from doubles import HandClock
from examples import MinimalStore
from expiring_tools import ASKING, expiring

import storage.sync
from storage import (
    ByteRange,
    ConfigError,
    DictStore,
    ExpiringStore,
    KeyNotFoundError,
    NotifyingStore,
    ObjectStore,
    RangeNotSatisfiableError,
    ReadonlyStore,
    SqliteStore,
    StoreDecorator,
    UnsupportedOperationError,
    WriteonlyStore,
)
from storage.testing.suite.harness import listed

# -- from the very moment, for every method --------------------------------------------------------------------------


#: What gives something else when there is no object, and what that is.
LOOKING: dict[str, tuple[Callable[[ExpiringStore], Awaitable[object]], object]] = {
    "exists": (lambda store: store.exists("a/k"), False),
    "keys": (lambda store: listed(store.keys()), []),
    "scan": (lambda store: listed(store.scan()), []),
    "children": (lambda store: listed(store.children()), []),
}


@pytest.mark.parametrize("name", ASKING)
async def test_nothing_is_asked_of_what_has_expired(base: ObjectStore, clock: HandClock, name: str) -> None:
    """A microsecond before its deadline the object exists; at its deadline no method finds it."""
    store = expiring(base, clock, 60)
    for moment in (59.999999, 0.000001):
        await store.put("a/k", b"value")
        clock.go_on(moment)
        if name != "rename":
            with suppress(RangeNotSatisfiableError):
                await ASKING[name](store)
        await store.put("a/k", b"value")
        clock.go_on(60)

        with pytest.raises(KeyNotFoundError) as caught:
            await ASKING[name](store)
        assert "a/k" == caught.value.key


@pytest.mark.parametrize("name", LOOKING)
async def test_nothing_shows_what_has_expired(base: ObjectStore, clock: HandClock, name: str) -> None:
    """A microsecond before its deadline the object is listed; at its deadline no method lists it."""
    look, nothing = LOOKING[name]
    store = expiring(base, clock, 60)
    await store.put("a/k", b"value")

    clock.go_on(59.999999)
    assert nothing != await look(store)
    clock.go_on(0.000001)
    assert nothing == await look(store)


async def test_get_many_tells_what_has_expired_from_what_has_not(base: ObjectStore, clock: HandClock) -> None:
    """Each object has its own deadline."""
    store = expiring(base, clock, 60)
    await store.put("short", b"1", ttl=30)
    await store.put("long", b"2")
    clock.go_on(30)
    results = await store.get_many(["short", "long"])

    assert isinstance(results["short"], KeyNotFoundError)
    assert b"2" == results["long"]


async def test_listing_under_way_goes_by_the_time_of_each_step(base: ObjectStore, clock: HandClock) -> None:
    """An object that expires during a listing is no longer yielded, even if the base has listed it."""
    store = expiring(base, clock, 60)
    await store.put_many({f"k{number}": b"v" for number in range(5)})
    keys = store.keys()
    first = await anext(keys)
    clock.go_on(60)

    assert ["k0"] == [first, *await listed(keys)]


async def test_reader_opened_in_time_may_finish(base: ObjectStore, clock: HandClock) -> None:
    """An open reader reads to the end, even if the object has expired for all other calls."""
    store = expiring(base, clock, 60)
    await store.put("k", b"0123456789")

    async with store.open("k") as reader:
        assert b"01234" == await reader.read(5)
        clock.go_on(60)
        assert not await store.exists("k")
        assert b"56789" == await reader.read()


# -- what is below, and beside ---------------------------------------------------------------------------------------


async def test_store_that_cannot_keep_deadlines_is_refused() -> None:
    """That is so for the store's ttl and for a put's; without a ttl it works."""
    with pytest.raises(ConfigError, match="does not support: use a store with the capability 'attributes'"):
        ExpiringStore(MinimalStore(), 60)
    store = ExpiringStore(MinimalStore())
    with pytest.raises(UnsupportedOperationError) as caught:
        await store.put("k", b"v", ttl=60)
    assert "k" == caught.value.key

    await store.put("k", b"v", ttl=math.inf)
    assert [b"v", True, ["k"]] == [await store.get("k"), await store.exists("k"), await listed(store.keys())]


@pytest.mark.parametrize("refuse", [ReadonlyStore, WriteonlyStore])
def test_store_that_refuses_to_be_read_or_written_is_refused(refuse: type[StoreDecorator]) -> None:
    """The read-only or write-only store must be on top."""
    with pytest.raises(ConfigError, match="put the store that refuses it on top"):
        ExpiringStore(refuse(DictStore()), 60)
    refuse(ExpiringStore(DictStore(), 60))


@pytest.mark.parametrize("options", [{"max_count": 0}, {"max_bytes": -1}, {"sweep_interval": 0}])
def test_option_that_makes_no_sense_is_a_value_error(options: dict[str, Any]) -> None:
    """The message names the option."""
    [name] = options
    with pytest.raises(ValueError, match=name):
        ExpiringStore(DictStore(), 60, **options)


def test_repr_shows_the_chain() -> None:
    """It also shows the ttl, which matters most."""
    assert "ExpiringStore(DictStore(), ttl=60)" == repr(ExpiringStore(DictStore(), 60))
    assert "ExpiringStore(DictStore())" == repr(ExpiringStore(DictStore(), max_count=1))


async def test_subclass_that_overrides_a_primitive_is_not_bypassed(clock: HandClock) -> None:
    """It does not call itself recursively either."""

    class Upper(ExpiringStore):
        async def get(self, key: str, *, byte_range: ByteRange | None = None) -> bytes:
            return (await super().get(key, byte_range=byte_range)).upper()

        async def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
            async for key in super().keys(prefix, start_after=start_after):
                if not key.startswith("."):
                    yield key

    for base in (DictStore(), SqliteStore(":memory:")):
        async with Upper(base, 60) as store:
            await store.put_many({"k": b"v", ".k": b"v"})
            await store.copy("k", "copy")

            assert ["copy", "k"] == [info.key async for info in store.scan()]
            assert b"V" == await opened(store, "k")


async def test_bulk_calls_and_clear_reach_what_is_there(base: ObjectStore, clock: HandClock) -> None:
    """Each put of a bulk call has a deadline; clear also deletes expired objects."""
    store = expiring(base, clock, 60)
    await store.put_many({"a/1": b"1", "a/2": b"2", "b": b"3"})
    assert None is not await store.expires("a/2")
    clock.go_on(60)
    await store.put("a/3", b"4")

    await store.clear("a/")
    assert ["b"] == await listed(base.keys())
    await store.delete_many(["b"])
    assert [] == await listed(base.keys())


async def test_handlers_above_are_told_of_no_removal(clock: HandClock) -> None:
    """Removal of an expired object is not an event, because no caller did it."""
    events: list[str] = []
    store = NotifyingStore(expiring(DictStore(), clock, 60), on_change=lambda event: events.append(event.action))
    await store.put("k", b"v")
    clock.go_on(60)

    assert not await store.exists("k")
    assert ["put"] == events


# -- the synchronous face --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stepped", [True, False])
def test_in_the_synchronous_face(clock: HandClock, stepped: bool) -> None:
    """Its own methods exist there, too. A stepped store has no sweeper; uses remove expired objects."""
    inner = expiring(DictStore(), clock, 60, sweep_interval=0.001 if stepped else 3600)
    face = storage.sync.ObjectStore(inner, stepped=stepped)
    with face as store:
        store.put("k", b"v", attributes={"expires-in": "30"})
        store.put("l", b"v")
        clock.go_on(30)

        assert [False, b"v"] == [store.exists("k"), store.get("l")]
    assert ["l"] == list(storage.sync.ObjectStore(inner.base).keys())


def test_methods_of_its_own_in_the_synchronous_face() -> None:
    """They have types, and the parameters of the async methods."""
    with storage.sync.ExpiringStore(storage.sync.DictStore(), timedelta(hours=1)) as store:
        store.put("k", b"v")
        first = store.expires("k")
        store.touch("k", ttl=7200)
        second = store.expires("k")

        assert None is not first
        assert None is not second
        assert first < second
        assert 0 == store.sweep()


def test_time_of_one_object_in_the_synchronous_face() -> None:
    """A put takes a ttl like the async put."""
    store = storage.sync.ExpiringStore(storage.sync.DictStore())
    store.put("long", b"v", ttl=timedelta(hours=2))
    store.put("short", b"v", ttl=60)
    store.put("ever", b"v")

    long, short = store.expires("long"), store.expires("short")
    assert long is not None
    assert short is not None
    assert long - short > timedelta(hours=1)
    assert store.expires("ever") is None
