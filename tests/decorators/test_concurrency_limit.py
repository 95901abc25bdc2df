"""`ConcurrencyLimitStore`: how many calls run concurrently, and in which order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from doubles import ScriptedStore

import storage.sync
from storage import (
    ConcurrencyLimitStore,
    DictStore,
    NotifyingStore,
    ObjectStore,
    RetryingStore,
    StackWarning,
    copy_store,
)
from storage._concurrency.tasks import CONCURRENCY


async def _most_inside(waiting: ScriptedStore, store: ObjectStore) -> int:
    """Return how many of ten calls run concurrently."""
    waiting.gate.close()
    waiting.most, begun = 0, len(waiting.calls)
    async with asyncio.TaskGroup() as group:
        for number in range(10):
            group.create_task(store.exists(f"k{number}"))
        await waiting.until(begun + 1)
        for _ in range(10):
            await asyncio.sleep(0)
        waiting.gate.open()
    return waiting.most


async def test_no_more_than_the_limit_are_inside() -> None:
    """Of fifty concurrent callers, three run at a time."""
    waiting = ScriptedStore(DictStore(), "exists")
    store = ConcurrencyLimitStore(waiting, 3)

    async with asyncio.TaskGroup() as group:
        for number in range(50):
            group.create_task(store.exists(f"k{number}"))
        await waiting.until(3)
        waiting.gate.open()

    assert 50 == len(waiting.calls)
    assert 3 == waiting.most


async def test_who_came_first_goes_first() -> None:
    """No call overtakes another one, of whatever kind."""
    base = DictStore()
    await base.put("first", b"")
    waiting = ScriptedStore(base, "get")
    store = ConcurrencyLimitStore(waiting, 1)
    calls: list[Callable[[str], Awaitable[object]]] = [store.exists, store.delete]

    async with asyncio.TaskGroup() as group:
        group.create_task(store.get("first"))
        await waiting.until(1)
        for number in range(20):
            group.create_task(calls[number % 2](f"{number:02}"))  # type: ignore[arg-type]
            await asyncio.sleep(0)
        waiting.gate.open()

    assert ["first", *(f"{number:02}" for number in range(20))] == [key for _, key in waiting.calls]


async def test_cancelled_waiters_leave_nothing_behind() -> None:
    """Neither a place in the queue nor a permit."""
    waiting = ScriptedStore(DictStore(), "exists")
    store = ConcurrencyLimitStore(waiting, 2)
    tasks = [asyncio.create_task(store.exists(f"k{number}")) for number in range(20)]
    await waiting.until(2)

    for task in tasks[::3]:  # one inside, and some who wait
        task.cancel()
    waiting.gate.open()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)

    assert [number % 3 == 0 for number in range(20)] == [outcome is not False for outcome in outcomes]
    assert 2 == waiting.most
    assert 2 == await _most_inside(waiting, store)


async def test_waiter_cancelled_when_its_turn_has_come() -> None:
    """Its permit is given to the next one."""
    waiting = ScriptedStore(DictStore(), "get")
    store = ConcurrencyLimitStore(waiting, 1)
    inside = asyncio.create_task(store.get("a"))
    await waiting.until(1)
    unlucky = asyncio.create_task(store.exists("b"))
    lucky = asyncio.create_task(store.exists("c"))
    await asyncio.sleep(0)

    inside.cancel()
    inside.add_done_callback(lambda _: unlucky.cancel())  # it has its place by now, and has not run yet
    outcomes = await asyncio.gather(inside, unlucky, lucky, return_exceptions=True)

    assert outcomes[2] is False
    assert not await store.exists("d")


async def test_nothing_is_held_over_an_open_object_and_a_listing() -> None:
    """A slow reader blocks nobody, even with a limit of 1."""
    base = DictStore()
    await base.put_many({"a": b"onetwo", "b": b""})
    store = ConcurrencyLimitStore(base, 1)

    async with store.open("a") as reader:
        assert b"one" == await reader.read(3)
        await store.put("c", b"")
        assert b"two" == await reader.read()
    async for key in store.keys():
        await store.delete(key)

    assert [] == [key async for key in store.keys()]


@pytest.mark.parametrize("limit", [1, 2])
async def test_store_can_be_read_into_itself(limit: int) -> None:
    """A put whose stream is read from the same store allows the reads, so there is no deadlock."""
    large = bytes(5 << 20)
    base = DictStore()
    await base.put_many({f"a/{number}": large for number in range(3)})
    waiting = ScriptedStore(base)
    store = ConcurrencyLimitStore(waiting, limit)

    await copy_store(storage.PrefixStore(store, "a/"), storage.PrefixStore(store, "b/"))
    async with store.open("a/0") as reader:
        await store.put("c", reader)

    assert large == await base.get("b/2")
    assert large == await base.get("c")


async def test_put_takes_its_turn_again_after_each_piece() -> None:
    """While the put waits for the caller's stream, other calls run, and it continues only after them."""
    waiting = ScriptedStore(DictStore(), "get")
    store = ConcurrencyLimitStore(waiting, 1)
    come = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        await come.wait()
        yield b"two"

    put = asyncio.create_task(store.put("a", pieces()))
    await waiting.until(1)
    read = asyncio.create_task(store.get("b"))
    await waiting.until(2)
    come.set()
    await asyncio.sleep(0.01)  # the piece is there, but there is no place for the put yet
    assert not put.done()
    waiting.gate.open()

    with pytest.raises(KeyError):
        await read
    await put
    assert b"onetwo" == await waiting.base.get("a")


async def test_stream_that_fails_or_is_cancelled_frees_no_place_twice() -> None:
    """A permit that the put released while it waited is not released again if the put ends there."""
    waiting = ScriptedStore(DictStore(), "exists")
    store = ConcurrencyLimitStore(waiting, 1)
    asked = asyncio.Event()

    async def failing() -> AsyncIterator[bytes]:
        yield b"one"
        raise ZeroDivisionError

    async def hanging() -> AsyncIterator[bytes]:
        yield b"one"
        asked.set()
        await asyncio.Event().wait()

    with pytest.raises(ZeroDivisionError):
        await store.put("a", failing())
    task = asyncio.create_task(store.put("a", hanging()))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert 1 == await _most_inside(waiting, store)


async def test_bulk_calls_are_limited_item_by_item() -> None:
    """Their own concurrency is limited, too."""
    waiting = ScriptedStore(DictStore())
    store = ConcurrencyLimitStore(waiting, 2)

    await store.put_many({f"k{number}": b"" for number in range(CONCURRENCY * 2)})

    assert CONCURRENCY * 2 == len(waiting.calls)
    assert waiting.most <= 2


def test_store_serves_one_event_loop_after_another() -> None:
    """Even if the first one was closed while calls were running, which never end."""
    waiting = ScriptedStore(DictStore(), "get")
    store = ConcurrencyLimitStore(waiting, 1)
    first = asyncio.new_event_loop()
    stuck: Any = first.create_task(store.get("a"))
    stuck._log_destroy_pending = False  # that it will be is what is tested
    first.run_until_complete(waiting.until(1))
    first.close()

    assert not asyncio.run(asyncio.wait_for(store.exists("a"), 10))


@pytest.mark.parametrize("limit", [0, -1])
def test_limit_is_at_least_one(limit: int) -> None:
    """With a limit of 0 no call could run."""
    with pytest.raises(ValueError, match="limit must be at least 1"):
        ConcurrencyLimitStore(DictStore(), limit)


@pytest.mark.parametrize("make", [RetryingStore, NotifyingStore])
def test_wrong_order_is_warned_of(make: Callable[[ObjectStore], ObjectStore]) -> None:
    """A call that waits in the store below keeps its permit."""
    with pytest.warns(StackWarning, match=rf"put them the other way round: {make.__name__}\(ConcurrencyLimitStore"):
        ConcurrencyLimitStore(make(DictStore()), 1)

    make(ConcurrencyLimitStore(DictStore(), 1))


def test_synchronous_face_limits_threads() -> None:
    """Their calls all run on the one background loop, and wait there."""
    store = storage.sync.ConcurrencyLimitStore(storage.sync.DictStore(), 1)

    store.put_many([("a", b"1"), ("b", iter([b"2"]))])

    assert {"a": b"1", "b": b"2"} == store.get_many("ab")
    assert not store.capabilities.steppable
