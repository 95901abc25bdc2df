"""Listings of the synchronous face: in batches from the loop, in place when stepped, and closed when abandoned."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import storage
import storage.sync
from storage._sync import on_loop
from storage._sync.on_loop import BATCH, LoopCaller


def eventually(condition: Callable[[], bool]) -> bool:
    """Wait up to 5 seconds until *condition* holds, and return whether it does."""
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


class Listing(storage.DictStore):
    """A store of many keys, at one of which it may hang; it counts how many it listed, and whether that was closed."""

    def __init__(self, count: int = 1000, stops: int | None = None) -> None:
        super().__init__()
        self.count = count
        self.stops = stops
        self.read = 0
        self.closed = False
        self.tasks: set[object] = set()

    async def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
        try:
            for number in range(self.count):
                self.tasks.add(asyncio.current_task())
                await (asyncio.Event().wait() if number == self.stops else asyncio.sleep(0))
                self.read += 1
                yield f"{number:06}"
            raise storage.StoreUnavailableError("the listing broke off")
        finally:
            self.closed = True


def test_iteration_crosses_in_batches() -> None:
    """One hop per key would cost more than the listing."""
    inner = Listing()
    store = storage.sync.ObjectStore(inner)
    with pytest.raises(storage.StoreUnavailableError):
        for _ in store.keys():
            pass

    assert 1000 / BATCH < len(inner.tasks) < 100


def test_iteration_is_lazy() -> None:
    """The first key comes before the last one is read."""
    inner = Listing(count=100_000)
    first = next(storage.sync.ObjectStore(inner).keys())

    assert "000000" == first
    assert inner.read <= BATCH


def test_slow_listing_gives_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """When a batch has taken its time, it does not wait until it is full."""
    monkeypatch.setattr(on_loop, "MAX_WAIT", 0)
    inner = Listing(stops=1)
    keys = storage.sync.ObjectStore(inner).keys()

    assert "000000" == next(keys)
    assert 1 == inner.read


def test_error_comes_behind_the_items_before_it() -> None:
    """Nothing that was listed is lost."""
    found: list[str] = []
    with pytest.raises(storage.StoreUnavailableError, match="broke off"):
        found.extend(storage.sync.ObjectStore(Listing(count=10)).keys())

    assert [f"{number:06}" for number in range(10)] == found


def test_abandoned_iteration_is_closed() -> None:
    """A `break` leaves nothing open in the store."""
    inner = Listing()
    for _ in storage.sync.ObjectStore(inner).keys():
        break

    assert eventually(lambda: inner.closed)


def test_abandoned_iteration_in_a_cycle_is_closed() -> None:
    """The garbage collector may run in the loop's own thread, where nothing may wait for the loop."""
    inner = Listing()
    keys = storage.sync.ObjectStore(inner).keys()
    next(keys)
    cycle: list[Any] = [keys]
    cycle.append(cycle)
    del keys, cycle

    async def collect() -> bytes:
        gc.collect()
        return b""

    LoopCaller().run(collect())

    assert eventually(lambda: inner.closed)


async def test_abandoned_stepped_iteration_is_closed() -> None:
    """Immediately and in place, not later by the event loop of a notebook."""

    class Stepped(storage.DictStore):
        _steppable = True
        closed = False

        async def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
            try:
                yield "a"
            finally:
                self.closed = True

    inner = Stepped()
    for _ in storage.sync.ObjectStore(inner).keys():
        break

    assert inner.closed
