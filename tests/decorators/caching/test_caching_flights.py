"""A cache under concurrent reads: many callers share one read of the main store, and do not block each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from caching_tools import Cached, under_way

from storage import (
    PrefixStore,
)

MANY = 50


async def _turns(count: int = 10) -> None:
    """Let the other tasks run as far as they can."""
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.fixture
async def cached() -> AsyncIterator[Cached]:
    """Yield a cache whose main store has an object; check afterwards that no state of a call is left."""
    cached = Cached()
    await cached.below.put("k", b"old")
    yield cached
    assert (0, []) == (under_way(cached.store), cached.store._coherent.ledger.pending_deletions())
    assert {asyncio.current_task()} == asyncio.all_tasks()


async def test_many_misses_are_one_read(cached: Cached) -> None:
    """Fifty concurrent callers of `get` or `open` on one object read the main store once."""
    gate = cached.main.hold("open")
    gets = [asyncio.create_task(cached.store.get("k")) for _ in range(MANY)]
    opens = [asyncio.create_task(cached.opened()) for _ in range(MANY)]
    await gate.reached()
    gate.open()

    assert [b"old"] * 2 * MANY == await asyncio.gather(*gets, *opens)
    assert (1, 0) == (cached.main.count("open"), cached.main.count("get"))
    assert 1 == cached.cache.count("put")


async def test_different_objects_do_not_wait_for_each_other(cached: Cached) -> None:
    """A slow read does not delay reads of other objects."""
    await cached.below.put("other", b"quick")
    gate = cached.main.hold("open")
    slow = asyncio.create_task(cached.store.get("k"))
    await gate.reached()

    assert b"quick" == await cached.store.get("other")
    gate.open()
    assert b"old" == await slow


@pytest.mark.parametrize("leaving", [[0], [MANY - 1], range(MANY - 1)], ids=["first", "last", "all but one"])
async def test_cancelled_callers_leave_the_read_to_the_others(cached: Cached, leaving: list[int]) -> None:
    """Whichever caller is cancelled, even the one that began the read, the others get the result of that one read."""
    gate = cached.main.hold("open")
    tasks = [asyncio.create_task(cached.store.get("k")) for _ in range(MANY)]
    await gate.reached()
    for number in leaving:
        tasks[number].cancel()
    await _turns()
    gate.open()
    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert set(leaving) == {at for at, result in enumerate(results) if isinstance(result, asyncio.CancelledError)}
    assert {b"old"} == {result for result in results if isinstance(result, bytes)}
    assert 1 == cached.main.count("open")


@pytest.mark.parametrize("held", ["open", "put"])
async def test_read_that_nobody_waits_for_ends(cached: Cached, held: str) -> None:
    """When the last caller is cancelled, the read is cancelled and has ended before the cancellation is raised."""
    gate = (cached.main if held == "open" else cached.cache).hold(held)
    tasks = [asyncio.create_task(cached.store.get("k")) for _ in range(3)]
    await gate.reached()
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert {asyncio.CancelledError} == {type(result) for result in results}
    assert {asyncio.current_task()} == asyncio.all_tasks()
    assert b"old" == await cached.store.get("k")


async def test_cancellation_waits_for_the_end_of_the_read(cached: Cached) -> None:
    """If the main store needs time to stop, the call ends after it has stopped."""
    held, end = cached.main.hold("open"), cached.main.hold("open", after=True)
    task = asyncio.create_task(cached.store.get("k"))
    await held.reached()
    task.cancel()
    await end.reached()
    await _turns()

    assert not task.done()
    end.open()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_read_in_a_cancelled_scope_ends(cached: Cached) -> None:
    """Even in a scope that is cancelled again and again no read is left running."""
    gate = cached.main.hold("open")
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(cached.store.get, "k")
            await gate.reached()
            scope.cancel()

    assert {asyncio.current_task()} == asyncio.all_tasks()


async def test_read_of_a_call_that_is_dropped_ends(cached: Cached) -> None:
    """A coroutine that is closed leaves no task running."""
    gate = cached.main.hold("open")
    call = cached.store.get("k")
    call.send(None)
    await gate.reached()
    call.close()
    await _turns()

    assert {asyncio.current_task()} == asyncio.all_tasks()


async def test_another_loop_reads_for_itself(cached: Cached) -> None:
    """A store belongs to one loop. If it is used in two, a caller in one does not wait for a task in the other."""
    gate = cached.main.hold("open")
    reading = asyncio.create_task(cached.store.get("k"))
    await gate.reached()

    assert b"old" == await asyncio.to_thread(asyncio.run, asyncio.wait_for(cached.store.get("k"), 10))
    gate.open()
    assert b"old" == await reading


async def test_each_caller_has_an_error_of_his_own(cached: Cached) -> None:
    """Two views with different keys for the object find their own keys in the errors of one read."""
    views = [PrefixStore(cached.store, "a/"), PrefixStore(cached.store, "a"), cached.store]
    gate = cached.main.hold("open")
    tasks = [asyncio.create_task(view.get(key)) for view, key in zip(views, ["gone", "/gone", "a/gone"], strict=True)]
    await gate.reached()
    gate.open()
    errors = await asyncio.gather(*tasks, return_exceptions=True)

    assert [("gone",), ("/gone",), ("a/gone",)] == [error.args for error in errors if isinstance(error, KeyError)]
    assert 1 == cached.main.count("open")


async def test_attributes_of_one_read_are_not_shared() -> None:
    """A caller that changes its description does not change that of another caller."""
    cached = Cached()
    await cached.below.put("k", b"v", attributes={"color": "red"})
    gate = cached.main.hold("open")

    async def painted(color: str) -> object:
        async with cached.store.open("k") as reader:
            attributes: Any = reader.info.attributes
            found = attributes["color"]
            attributes["color"] = color
            return found

    tasks = [asyncio.create_task(painted(color)) for color in ("green", "blue")]
    await gate.reached()
    gate.open()

    assert ["red", "red"] == await asyncio.gather(*tasks)


async def test_read_that_was_cancelled_from_within_is_made_again(cached: Cached) -> None:
    """If the main store cancels the read, the callers are not cancelled."""
    gate = cached.main.hold("open")
    task = asyncio.create_task(cached.store.get("k"))
    await gate.reached()
    [shared] = cached.store._reads._tasks.values()
    shared.task.cancel()

    assert b"old" == await task
    assert 2 == cached.main.count("open")


async def test_read_beside_a_write_is_not_shared(cached: Cached) -> None:
    """Its result may be old: a later caller may have seen the new object, and must get the new one."""
    before, after = cached.main.hold("put"), cached.main.hold("put", after=True)
    write = asyncio.create_task(cached.store.put("k", b"newer"))
    await before.reached()
    found = cached.main.hold("open", after=True)
    early = asyncio.create_task(cached.store.get("k"))
    await found.reached()
    before.open()
    await after.reached()

    assert 5 == await cached.size()
    assert b"newer" == await asyncio.wait_for(cached.store.get("k"), 5)
    found.open()
    after.open()
    await write
    assert b"old" == await early
