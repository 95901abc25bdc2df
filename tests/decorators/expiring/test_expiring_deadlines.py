"""Deadlines of `ExpiringStore`: their length, where they are kept, and the clock."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from doubles import HandClock
from expiring_tools import expiring, found

from storage import (
    DictStore,
    ExpiringStore,
    GzipStore,
    JsonStore,
    KeyNotFoundError,
    ObjectStore,
    PrefixStore,
    StoreDecorator,
    update,
)
from storage._core.clock import Clock
from storage.testing.suite.harness import listed

# -- how long --------------------------------------------------------------------------------------------------------


async def test_each_object_may_have_a_time_of_its_own(base: ObjectStore, clock: HandClock) -> None:
    """The put's ttl is used before the attribute, and the attribute before the store's ttl."""
    store = expiring(base, clock, 60)
    await store.put("store", b"v")
    await store.put("attribute", b"v", attributes={"expires-in": "30"})
    await store.put("ttl", b"v", attributes={"expires-in": "30"}, ttl=timedelta(seconds=10))
    await store.put("for ever", b"v", ttl=math.inf)
    await store.put("never", b"v", attributes={"expires-in": "inf"})
    began = datetime.fromtimestamp(1_000_000_000, UTC)
    times = {"store": 60, "attribute": 30, "ttl": 10}

    expected: dict[str, datetime | None] = {key: began + timedelta(seconds=time) for key, time in times.items()}
    assert expected | {"for ever": None, "never": None} == {key: await store.expires(key) async for key in store.keys()}


async def test_attribute_says_it_through_other_decorators(clock: HandClock) -> None:
    """A caller who puts into the top of a stack need not know where the expiring store is."""
    store = PrefixStore(GzipStore(expiring(DictStore(), clock)), "a/")
    await store.put("k", b"v", attributes={"expires-in": "60", "color": "red"})
    assert {"expires-in": "60", "color": "red"} == (await store.head("k")).attributes

    clock.go_on(60)

    assert None is await found(store, "k")


@pytest.mark.parametrize("ttl", [0, -1, math.nan, timedelta(0), timedelta.max, 1e300])
async def test_time_that_is_none_is_a_value_error(ttl: Any) -> None:
    """Nothing is put."""
    store = ExpiringStore(DictStore())
    with pytest.raises(ValueError, match="ttl"):
        ExpiringStore(DictStore(), ttl)
    with pytest.raises(ValueError, match="ttl"):
        await store.put("k", b"v", ttl=ttl)

    assert [] == await listed(store.keys())


@pytest.mark.parametrize("text", ["soon", "", "-5", "0", "nan", "10 s"])
async def test_attribute_that_is_no_time_is_a_value_error(text: str) -> None:
    """A typo must not give an object an unlimited lifetime."""
    store = ExpiringStore(DictStore())
    with pytest.raises(ValueError, match="expires-in"):
        await store.put("k", b"v", attributes={"expires-in": text})

    assert [] == await listed(store.keys())


async def test_touched_object_lives_on(base: ObjectStore, clock: HandClock) -> None:
    """As long as if it were put then, or as a given ttl says; bytes and attributes are kept."""
    store = expiring(base, clock, 60)
    await store.put("k", b"value", attributes={"color": "red"})
    clock.go_on(50)
    etag = await store.touch("k")
    clock.go_on(50)

    assert (b"value", {"color": "red"}) == (await found(store, "k"), (await store.head("k")).attributes)
    assert etag == (await store.head("k")).etag
    await store.touch("k", ttl=5)
    clock.go_on(5)
    assert None is await found(store, "k")


async def test_touch_loses_no_concurrent_put(clock: HandClock) -> None:
    """An object that is put during a touch is kept, and is touched."""

    class Overtaken(StoreDecorator):
        """Another caller puts before the first conditional put."""

        overtaken = False

        async def put(self, key: str, data: Any, *, if_match: str | None = None, **options: Any) -> str:
            if if_match is not None and not self.overtaken:
                self.overtaken = True
                await self.base.put(key, b"newer")
            return await self.base.put(key, data, if_match=if_match, **options)

    store = expiring(Overtaken(DictStore()), clock)
    await store.put("k", b"older")
    await store.touch("k", ttl=10)

    assert b"newer" == await store.get("k")
    assert None is not await store.expires("k")


# -- the deadline, kept with the object ------------------------------------------------------------------------------


async def test_copy_and_rename_keep_the_deadline(base: ObjectStore, clock: HandClock) -> None:
    """They do not extend the lifetime."""
    store = expiring(base, clock, 60)
    await store.put("k", b"v", ttl=10)
    await store.copy("k", "copy")
    deadline = await store.expires("k")
    clock.go_on(5)
    await store.rename("k", "renamed")

    assert [deadline, deadline] == [await store.expires("copy"), await store.expires("renamed")]
    clock.go_on(5)
    assert [] == await listed(store.keys())


async def test_change_of_an_object_with_a_time_of_its_own_does_not_make_it_immortal(clock: HandClock) -> None:
    """`update` puts the attributes again, so the lifetime starts again."""
    store = expiring(DictStore(), clock)
    await store.put("k", b"1", attributes={"expires-in": "60"})
    clock.go_on(50)
    await update(store, "k", lambda data: (data or b"") + b"2")
    clock.go_on(59)
    assert b"12" == await found(store, "k")

    clock.go_on(1)

    assert None is await found(store, "k")


async def test_deadline_is_hidden_and_the_callers_attributes_are_his(base: ObjectStore, clock: HandClock) -> None:
    """Even an attribute with the name that the store uses, with and without a deadline."""
    store = expiring(base, clock)
    await store.put("k", b"v", ttl=60, attributes={"color": "red"})
    await store.put("named", b"v", ttl=60, attributes={"expires-at": "2001-01-01T00:00:00+00:00"})
    await store.put("for ever", b"v", attributes={"expires-at": "2001-01-01T00:00:00+00:00"})
    own = {"expires-at": "2001-01-01T00:00:00+00:00"}
    async with store.open("k") as reader:
        assert {"color": "red"} == reader.info.attributes

    expected = {"k": {"color": "red"}, "named": own, "for ever": own}
    assert expected == {info.key: dict(info.attributes) async for info in store.scan()}
    assert expected == {key: dict((await store.head(key)).attributes) for key in expected}


@pytest.mark.parametrize("word", ["", "-", "x", "tomorrow at noon", "5", "2001-01-01", "2001-01-01T00:00:00"])
async def test_attribute_of_another_program_is_no_deadline(word: str) -> None:
    """An object put into the base directly does not expire, and its attributes are visible."""
    base = DictStore()
    await base.put("k", b"v", attributes={"expires-at": word})
    store = ExpiringStore(base, 60)

    assert (b"v", None) == (await store.get("k"), await store.expires("k"))
    assert word in (await store.head("k")).attributes.get("expires-at", "-")


async def test_two_expiring_stores_in_one_stack(clock: HandClock) -> None:
    """Each keeps its own deadline, and the earlier one counts."""
    for upper, lower in ((10, 60), (60, 10)):
        store = expiring(expiring(DictStore(), clock, lower), clock, upper)
        await store.put("k", b"v", attributes={"color": "red"})
        assert {"color": "red"} == (await store.head("k")).attributes

        clock.go_on(9)
        assert b"v" == await found(store, "k")
        clock.go_on(1)
        assert None is await found(store, "k")


async def test_values_expire_as_well(clock: HandClock) -> None:
    """Over a store of values it takes and returns values, in touch, too."""
    store: Any = expiring(JsonStore(DictStore()), clock, 60)  # type: ignore[arg-type]
    await store.put("k", {"a": 1})
    clock.go_on(59)
    assert {"a": 1} == await store.get("k")

    await store.touch("k")

    clock.go_on(59)
    assert {"a": 1} == await store.get("k")
    clock.go_on(1)
    with pytest.raises(KeyNotFoundError):
        await store.get("k")


# -- clocks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [-86_400, 86_400])
async def test_step_of_the_clock_changes_nothing(base: ObjectStore, clock: HandClock, step: float) -> None:
    """Neither for objects put before it nor after it, in any store of the process."""
    store, other = expiring(base, clock, 60), expiring(base, clock, 60)
    await store.put("before", b"v")
    clock.day += step
    await other.put("after", b"v")

    clock.go_on(59)
    assert ["after", "before"] == await listed(store.keys())
    clock.go_on(1)
    assert [] == await listed(store.keys())


async def test_wall_clock_counts_across_restarts(base: ObjectStore, clock: HandClock) -> None:
    """A process that starts later finds the rest of each object's lifetime, and no expired objects."""
    store = expiring(base, clock, 60)
    await store.put("long", b"v")
    await store.put("short", b"v", ttl=30)

    later = expiring(base, HandClock(clock.day + 30), 60)

    assert ["long"] == await listed(later.keys())
    assert await store.expires("long") == await later.expires("long")


def test_real_clock_goes_by_the_day_at_its_start_and_counts_from_there() -> None:
    """Setting the system's clock later does not change it."""

    class Set(Clock):
        offset = 0.0

        def wall(self) -> float:
            return super().wall() + self.offset

    clock = Set()
    clock.offset = 86_400.0

    first, second = clock.now(), clock.now()
    assert timedelta(0) <= second - first
    assert abs(second - datetime.now(UTC)) < timedelta(minutes=1)
