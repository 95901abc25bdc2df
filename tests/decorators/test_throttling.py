"""How `ThrottlingStore` spaces calls and bytes out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

import storage.sync
from storage import DictStore, RetryingStore, StackWarning, StoreDecorator, ThrottlingStore
from storage.decorators import throttling


class Clock:
    """
    A clock that goes forward by itself when all tasks wait for it.

    Attributes:
        now: seconds since some moment.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self._waiting: list[tuple[float, asyncio.Future[None]]] = []

    def monotonic(self) -> float:
        """Return the time."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Wait until the time has come."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (self.now + seconds, future)
        self._waiting.append(entry)
        asyncio.get_running_loop().call_later(0.001, self._advance)
        try:
            await future
        finally:
            if entry in self._waiting:
                self._waiting.remove(entry)

    def _advance(self) -> None:
        if self._waiting:
            when, future = min(self._waiting, key=lambda entry: entry[0])
            self._waiting.remove((when, future))
            self.now = max(self.now, when)
            if not future.done():
                future.set_result(None)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Time is made, not waited for."""
    clock = Clock()
    monkeypatch.setattr(throttling, "monotonic", clock.monotonic)
    monkeypatch.setattr(throttling, "sleep", clock.sleep)
    return clock


class TimedStore(StoreDecorator):
    """Takes down when each get came."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(DictStore())
        self.clock = clock
        self.came: list[tuple[str, float]] = []

    async def exists(self, key: str) -> bool:
        self.came.append((key, round(self.clock.now - 1000, 6)))
        return await self.base.exists(key)


async def test_calls_are_spaced_out_in_their_order(clock: Clock) -> None:
    """Two per second: half a second between any two, and nobody is overtaken."""
    timed = TimedStore(clock)
    store = ThrottlingStore(timed, rate=2)

    await asyncio.gather(*(store.exists(str(number)) for number in range(6)))

    assert [(str(number), number / 2) for number in range(6)] == timed.came


async def test_burst_is_let_through_at_once(clock: Clock) -> None:
    """What was saved up while nobody came, and no more than that."""
    timed = TimedStore(clock)
    store = ThrottlingStore(timed, rate=1, burst=3)
    clock.now += 100

    await asyncio.gather(*(store.exists(str(number)) for number in range(5)))

    assert [100, 100, 100, 101, 102] == [when for _, when in timed.came]


async def test_cancelled_waiter_costs_the_others_nothing(clock: Clock) -> None:
    """Its turn is taken by the next."""
    timed = TimedStore(clock)
    store = ThrottlingStore(timed, rate=1)
    tasks = [asyncio.create_task(store.exists(str(number))) for number in range(5)]
    await asyncio.sleep(0)

    tasks[1].cancel()
    tasks[3].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert [("0", 0), ("2", 1), ("4", 2)] == timed.came


async def test_listing_and_open_object_are_one_call_each(clock: Clock) -> None:
    """One asks a back end for pages, not for each key."""
    base = DictStore()
    await base.put_many({f"k{number}": b"v" * 10 for number in range(10)})
    store = ThrottlingStore(base, rate=1, burst=2)

    assert 10 == len([key async for key in store.keys()])
    async with store.open("k0") as reader:
        assert 10 == sum([len(await reader.read(1)) for _ in range(10)])

    assert 1000 == clock.now


async def test_each_item_of_a_bulk_call_is_a_call(clock: Clock) -> None:
    """They cannot be had more cheaply than one by one."""
    await ThrottlingStore(DictStore(), rate=10).put_many({f"k{number}": b"" for number in range(11)})

    assert 1001 == pytest.approx(clock.now)


async def _pieces(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * 100


@pytest.mark.parametrize("data", [b"x" * 1000, [b"x" * 100] * 10, "stream"], ids=["bytes", "list", "stream"])
async def test_bytes_that_are_put_are_spaced_out(clock: Clock, data: Any) -> None:
    """Those of one second may come at once, the others wait, whatever they come in."""
    base = DictStore()

    await ThrottlingStore(base, bytes_per_second=100).put("a", _pieces(10) if data == "stream" else data)

    assert 1009 == pytest.approx(clock.now)
    assert b"x" * 1000 == await base.get("a")


async def test_bytes_that_are_read_make_the_next_call_wait(clock: Clock) -> None:
    """How many there are is known when they are there."""
    base = DictStore()
    await base.put("a", b"x" * 600)
    store = ThrottlingStore(base, bytes_per_second=100)

    assert 600 == len(await store.get("a"))
    assert 1000 == clock.now
    await store.exists("a")
    assert 1005 == pytest.approx(clock.now)

    async with store.open("a") as reader:
        while await reader.read(100):
            pass
    assert 1011 == pytest.approx(clock.now)


async def test_both_bounds_hold(clock: Clock) -> None:
    """The tighter one is felt."""
    store = ThrottlingStore(DictStore(), rate=1, bytes_per_second=1000)

    await store.put("a", b"x" * 3000)
    assert 1002 == pytest.approx(clock.now)
    await store.put("b", b"")
    await store.put("c", b"")
    assert 1003 == pytest.approx(clock.now)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({}, "give a rate, bytes_per_second or both"),
        ({"rate": 0}, "rate is more than 0"),
        ({"rate": 1, "burst": 0}, "burst is more than 0"),
        ({"bytes_per_second": -1}, "bytes_per_second is more than 0"),
    ],
)
def test_wrong_rates_are_a_value_error(options: dict[str, Any], match: str) -> None:
    """The error names the parameter."""
    with pytest.raises(ValueError, match=match):
        ThrottlingStore(DictStore(), **options)


def test_throttling_over_retries_is_warned_of() -> None:
    """What is tried again below passes by."""
    with pytest.warns(StackWarning, match=r"RetryingStore\(ThrottlingStore\(...\)\)"):
        ThrottlingStore(RetryingStore(DictStore()), 1)


def test_synchronous_face_is_throttled(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the loop, where it waits in earnest."""
    monkeypatch.undo()
    store = storage.sync.ThrottlingStore(storage.sync.DictStore(), rate=1000, bytes_per_second=1e6)

    store.put("a", iter([b"v"]))

    assert b"v" == store.get("a")
