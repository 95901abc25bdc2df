"""How `ThrottlingStore` limits the rate of calls and bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from doubles import LoopClock

import storage.sync
from storage import DictStore, RetryingStore, StackWarning, StoreDecorator, ThrottlingStore
from storage.decorators import throttling


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> LoopClock:
    """A clock that tests control, without real waits."""
    clock = LoopClock()
    monkeypatch.setattr(throttling, "monotonic", clock.monotonic)
    monkeypatch.setattr(throttling, "sleep", clock.sleep)
    return clock


class TimedStore(StoreDecorator):
    """Records the time of each get."""

    def __init__(self, clock: LoopClock) -> None:
        super().__init__(DictStore())
        self.clock = clock
        self.came: list[tuple[str, float]] = []

    async def exists(self, key: str) -> bool:
        self.came.append((key, round(self.clock.monotonic() - 1000, 6)))
        return await self.base.exists(key)


async def test_calls_are_spaced_out_in_their_order(clock: LoopClock) -> None:
    """Two per second: half a second between any two, and no call overtakes another."""
    timed = TimedStore(clock)
    store = ThrottlingStore(timed, rate=2)

    await asyncio.gather(*(store.exists(str(number)) for number in range(6)))

    assert [(str(number), number / 2) for number in range(6)] == timed.came


async def test_burst_is_let_through_at_once(clock: LoopClock) -> None:
    """As many calls as were saved up in a pause, and no more."""
    timed = TimedStore(clock)
    store = ThrottlingStore(timed, rate=1, burst=3)
    clock.go_on(100)

    await asyncio.gather(*(store.exists(str(number)) for number in range(5)))

    assert [100, 100, 100, 101, 102] == [when for _, when in timed.came]


async def test_cancelled_waiter_costs_the_others_nothing(clock: LoopClock) -> None:
    """The next call takes its turn."""
    timed = TimedStore(clock)
    store = ThrottlingStore(timed, rate=1)
    tasks = [asyncio.create_task(store.exists(str(number))) for number in range(5)]
    await asyncio.sleep(0)

    tasks[1].cancel()
    tasks[3].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert [("0", 0), ("2", 1), ("4", 2)] == timed.came


async def test_listing_and_open_object_are_one_call_each(clock: LoopClock) -> None:
    """A listing requests pages from a back end, not each key."""
    base = DictStore()
    await base.put_many({f"k{number}": b"v" * 10 for number in range(10)})
    store = ThrottlingStore(base, rate=1, burst=2)

    assert 10 == len([key async for key in store.keys()])
    async with store.open("k0") as reader:
        assert 10 == sum([len(await reader.read(1)) for _ in range(10)])

    assert 1000 == clock.monotonic()


async def test_each_item_of_a_bulk_call_is_a_call(clock: LoopClock) -> None:
    """A bulk call is not cheaper than single calls."""
    await ThrottlingStore(DictStore(), rate=10).put_many({f"k{number}": b"" for number in range(11)})

    assert 1001 == pytest.approx(clock.monotonic())


async def _pieces(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * 100


@pytest.mark.parametrize("data", [b"x" * 1000, [b"x" * 100] * 10, "stream"], ids=["bytes", "list", "stream"])
async def test_bytes_that_are_put_are_spaced_out(clock: LoopClock, data: Any) -> None:
    """Those of one second may come at once; the others wait, in whatever form they come."""
    base = DictStore()

    await ThrottlingStore(base, bytes_per_second=100).put("a", _pieces(10) if data == "stream" else data)

    assert 1009 == pytest.approx(clock.monotonic())
    assert b"x" * 1000 == await base.get("a")


async def test_bytes_that_are_read_make_the_next_call_wait(clock: LoopClock) -> None:
    """Their number is known only after the read."""
    base = DictStore()
    await base.put("a", b"x" * 600)
    store = ThrottlingStore(base, bytes_per_second=100)

    assert 600 == len(await store.get("a"))
    assert 1000 == clock.monotonic()
    await store.exists("a")
    assert 1005 == pytest.approx(clock.monotonic())

    async with store.open("a") as reader:
        while await reader.read(100):
            pass
    assert 1011 == pytest.approx(clock.monotonic())


async def test_both_bounds_hold(clock: LoopClock) -> None:
    """The stricter one decides."""
    store = ThrottlingStore(DictStore(), rate=1, bytes_per_second=1000)

    await store.put("a", b"x" * 3000)
    assert 1002 == pytest.approx(clock.monotonic())
    await store.put("b", b"")
    await store.put("c", b"")
    assert 1003 == pytest.approx(clock.monotonic())


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({}, "give rate, bytes_per_second or both"),
        ({"rate": 0}, "rate must be more than 0"),
        ({"rate": 1, "burst": 0}, "burst must be more than 0"),
        ({"bytes_per_second": -1}, "bytes_per_second must be more than 0"),
    ],
)
def test_wrong_rates_are_a_value_error(options: dict[str, Any], match: str) -> None:
    """The error names the parameter."""
    with pytest.raises(ValueError, match=match):
        ThrottlingStore(DictStore(), **options)


def test_throttling_over_retries_is_warned_of() -> None:
    """Retries in the store below are not throttled."""
    with pytest.warns(StackWarning, match=r"RetryingStore\(ThrottlingStore\(...\)\)"):
        ThrottlingStore(RetryingStore(DictStore()), 1)


def test_synchronous_face_is_throttled(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the background loop, with real waits."""
    monkeypatch.undo()
    store = storage.sync.ThrottlingStore(storage.sync.DictStore(), rate=1000, bytes_per_second=1e6)

    store.put("a", iter([b"v"]))

    assert b"v" == store.get("a")
