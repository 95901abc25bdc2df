"""The sweeper of `ExpiringStore`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from doubles import HandClock
from expiring_tools import expiring

from storage import (
    DictStore,
    ExpiringStore,
    ObjectInfo,
    ObjectStore,
    StorageError,
    StoreDecorator,
    StoreUnavailableError,
)
from storage._core.bulk import PAGE
from storage.testing.suite.harness import listed


async def test_sweep_removes_what_has_expired_and_nothing_else(base: ObjectStore, clock: HandClock) -> None:
    """It returns their number, and can be limited to a prefix."""
    store = expiring(base, clock, 60)
    for key in ("a/1", "a/2", "b/1"):
        await store.put(key, b"v")
    await store.put("a/3", b"v", ttl=100)
    clock.go_on(60)

    assert 2 == await store.sweep("a/")
    assert ["a/3", "b/1"] == await listed(base.keys())
    assert [1, 0] == [await store.sweep(), await store.sweep()]


class Waited(StoreDecorator):
    """Sets an event when something is deleted, and fails to list as often as it is told to."""

    def __init__(self, base: ObjectStore, failures: int = 0) -> None:
        super().__init__(base)
        self.deleted = asyncio.Event()
        self.failures = failures

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        await super().delete(key, if_match=if_match)
        self.deleted.set()

    async def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailableError("away")
        async for info in self.base.scan(prefix, start_after=start_after):
            yield info


def sweepers() -> int:
    """Return the number of running sweeper tasks."""
    names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    return sum(name.startswith("Sweeper.") for name in names)


async def test_sweeper_works_while_the_store_is_entered(base: ObjectStore, clock: HandClock) -> None:
    """It removes objects that nobody uses, and its task ends when the store is closed."""
    waited = Waited(base)
    store = expiring(waited, clock, 60, sweep_interval=0.001)
    await store.put("k", b"v")
    clock.go_on(60)
    assert 0 == sweepers()

    async with store:
        assert 1 == sweepers()
        await waited.deleted.wait()

    assert 0 == sweepers()
    assert [] == await listed(base.keys())


async def test_sweeper_begins_again_when_the_store_is_opened_again(clock: HandClock) -> None:
    """A closed store can be opened again."""
    waited = Waited(DictStore())
    store = expiring(waited, clock, 60, sweep_interval=0.001)
    for _ in range(2):
        waited.deleted.clear()
        await store.put("k", b"v")
        clock.go_on(60)
        async with store:
            await waited.deleted.wait()

    assert [] == await listed(waited.base.keys())


async def test_sweep_that_fails_is_logged_and_the_next_one_comes(
    clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A back end that is unavailable for a while does not end the sweeper."""
    waited = Waited(DictStore(), failures=3)
    store = expiring(waited, clock, 60, sweep_interval=0.001)
    await store.put("k", b"v")
    clock.go_on(60)

    with caplog.at_level(logging.WARNING, "storage"):
        async with store:
            await waited.deleted.wait()

    expected = "sweep of ExpiringStore(Waited(DictStore()), ttl=60) failed, and is tried again in 0.001 s: away"
    assert [expected] * 3 == caplog.messages


async def test_closing_ends_a_sweep_that_hangs(clock: HandClock) -> None:
    """A back end that does not answer does not block closing."""
    hanging = asyncio.Event()

    class Hanging(StoreDecorator):
        async def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
            hanging.set()
            await asyncio.Event().wait()
            yield ObjectInfo("never", 0, "")

    before = asyncio.all_tasks()
    async with expiring(Hanging(DictStore()), clock, 60, sweep_interval=0.001):
        await hanging.wait()

    assert before == asyncio.all_tasks()


async def test_sweep_goes_on_after_an_object_that_cannot_be_removed(clock: HandClock) -> None:
    """All others are removed; its error is raised at the end."""

    class Stubborn(StoreDecorator):
        async def delete(self, key: str, *, if_match: str | None = None) -> None:
            if key == "k0":
                raise StorageError("stubborn", key=key)
            await super().delete(key, if_match=if_match)

    base = DictStore()
    store = expiring(Stubborn(base), clock, 60)
    await store.put_many({f"k{number}": b"v" for number in range(PAGE + 10)})
    clock.go_on(60)

    with pytest.raises(StorageError, match="stubborn"):
        await store.sweep()

    assert ["k0"] == await listed(base.keys())


async def test_sweep_holds_a_page_at_most(clock: HandClock) -> None:
    """It keeps at most one page of expired objects in memory."""

    class Counted(StoreDecorator):
        """Counts the objects that were listed and not deleted yet."""

        pending = most = 0

        async def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
            async for info in self.base.scan(prefix, start_after=start_after):
                self.pending += 1
                self.most = max(self.most, self.pending)
                yield info

        async def delete(self, key: str, *, if_match: str | None = None) -> None:
            await self.base.delete(key, if_match=if_match)
            self.pending -= 1

    counted = Counted(DictStore())
    store = expiring(counted, clock, 60)
    await store.put_many({f"k{number}": b"v" for number in range(2 * PAGE + 10)})
    clock.go_on(60)

    assert 2 * PAGE + 10 == await store.sweep()
    assert PAGE == counted.most


async def test_without_an_interval_nothing_runs_in_the_background() -> None:
    """For stores where a sweep is expensive: each lists everything."""
    before = asyncio.all_tasks()

    async with ExpiringStore(DictStore(), 60, sweep_interval=None):
        assert before == asyncio.all_tasks()
