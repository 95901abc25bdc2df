"""When `TimeoutStore` cancels a call, and when it does not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Any

import anyio
import pytest
from doubles import ScriptedStore

import storage.sync
from storage import (
    DictStore,
    JsonStore,
    ObjectStore,
    RetryingStore,
    StoreDecorator,
    StoreTimeoutError,
    TimeoutStore,
)
from storage._concurrency.offload import offload

#: Seconds: so short that a test may wait for it, so long that no call that is not held takes as much.
SHORT, LONG = 0.02, 60

CALLS: dict[str, Callable[[ObjectStore], Awaitable[object]]] = {
    "get": lambda store: store.get("a"),
    "put": lambda store: store.put("a", b"v"),
    "delete": lambda store: store.delete("a"),
    "exists": lambda store: store.exists("a"),
    "head": lambda store: store.head("a"),
    "open": lambda store: store.open("a").__aenter__(),
    "copy": lambda store: store.copy("a", "b"),
    "rename": lambda store: store.rename("a", "b"),
}


@pytest.mark.parametrize("action", CALLS)
async def test_call_that_takes_too_long_is_cut_off(action: str) -> None:
    """The error names the key, the operation and the limit, and is retryable."""
    base = DictStore()
    await base.put("a", b"v")
    waiting = ScriptedStore(base, action)

    with pytest.raises(
        StoreTimeoutError, match=rf"{action} took longer than {SHORT} s, key 'a', in TimeoutStore"
    ) as caught:
        await CALLS[action](TimeoutStore(waiting, SHORT))

    assert isinstance(caught.value, TimeoutError)
    assert caught.value.retryable
    assert [] == waiting.inside


@pytest.mark.parametrize("step", ["keys", "next"])
async def test_each_step_of_a_listing_has_its_time(step: str) -> None:
    """A step that hangs is cancelled; the sum of the steps is not limited."""
    base = DictStore()
    await base.put_many({"a": b"", "b": b""})

    with pytest.raises(StoreTimeoutError, match="a step of a listing took longer"):
        [key async for key in TimeoutStore(ScriptedStore(base, step), SHORT).keys()]

    found = []
    async for key in TimeoutStore(base, SHORT).keys():
        await asyncio.sleep(SHORT * 2)  # the caller's own time
        found.append(key)
    assert ["a", "b"] == found


async def test_each_read_of_an_open_object_has_its_time() -> None:
    """The time between two reads does not count."""
    base = DictStore()
    await base.put("a", b"onetwo")

    async with TimeoutStore(base, SHORT).open("a") as reader:
        await asyncio.sleep(SHORT * 2)
        assert b"one" == await reader.read(3)
        await asyncio.sleep(SHORT * 2)
        assert b"two" == await reader.read(3)
    async with TimeoutStore(ScriptedStore(base, "read"), SHORT).open("a") as reader:
        with pytest.raises(StoreTimeoutError):
            await reader.read()


async def test_each_item_of_a_bulk_call_has_its_time() -> None:
    """An item that hangs does not fail the others."""
    base = DictStore()

    class Stuck(StoreDecorator):
        async def put(self, key: str, data: Any, **options: Any) -> str:
            if key == "stuck":
                await asyncio.Event().wait()
            return await self.base.put(key, data, **options)

    results = await TimeoutStore(Stuck(base), SHORT).put_many({"a": b"", "stuck": b"", "b": b""}, raise_errors=False)

    assert isinstance(results["stuck"], StoreTimeoutError)
    assert ["a", "b"] == [key async for key in base.keys()]


async def test_time_of_the_callers_stream_does_not_count() -> None:
    """A slow stream of the caller does not time out, and with each piece the time starts again."""

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(3):
            await asyncio.sleep(SHORT * 2)
            yield b"piece"

    store = TimeoutStore(DictStore(), SHORT)
    await store.put("a", pieces())

    assert b"piece" * 3 == await store.get("a")


async def test_store_that_hangs_amid_a_stream_is_cut_off() -> None:
    """After a piece the time counts again."""

    class Stuck(DictStore):
        async def put(self, key: str, data: Any, **options: Any) -> str:
            async for _ in data:
                await asyncio.Event().wait()
            raise AssertionError("no pieces")

    async def pieces() -> AsyncIterator[bytes]:
        await asyncio.sleep(SHORT * 2)
        yield b"piece"

    for stream in (pieces(), iter([b"piece"])):
        with pytest.raises(StoreTimeoutError, match="put took longer"):
            await TimeoutStore(Stuck(), SHORT).put("a", stream)


async def test_timeout_of_the_store_below_passes_unchanged() -> None:
    """A TimeoutError from below is not replaced by this store's."""
    mine = TimeoutError("the socket's own")

    class Socket(DictStore):
        async def get(self, key: str, *, byte_range: object = None) -> bytes:
            raise mine

    with pytest.raises(TimeoutError) as caught:
        await TimeoutStore(Socket(), LONG).get("a")
    assert caught.value is mine


async def test_timeout_of_the_callers_stream_passes_unchanged() -> None:
    """Exceptions of the caller's iterable are raised unchanged, even a timeout."""
    mine = TimeoutError("mine")

    def pieces() -> Iterator[bytes]:
        yield b"piece"
        raise mine

    with pytest.raises(TimeoutError) as caught:
        await TimeoutStore(DictStore(), LONG).put("a", pieces())
    assert caught.value is mine


async def test_cancellation_from_outside_is_no_timeout() -> None:
    """A task's cancellation, a scope's and a shorter limit around the call stay what they are."""
    waiting = ScriptedStore(DictStore(), "get")
    store = TimeoutStore(waiting, LONG)

    task = asyncio.create_task(store.get("a"))
    await waiting.until(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    with anyio.move_on_after(SHORT) as scope:
        await store.get("a")
    assert scope.cancelled_caught

    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(SHORT):
            await store.get("a")
    assert not isinstance(caught.value, StoreTimeoutError)


async def test_shorter_limit_below_is_the_one_that_is_told() -> None:
    """Of two limits, the error names the one that was reached."""
    inner = TimeoutStore(ScriptedStore(DictStore(), "get"), SHORT)

    with pytest.raises(StoreTimeoutError, match=f"longer than {SHORT} s"):
        await TimeoutStore(inner, LONG).get("a")


async def test_local_write_is_settled_when_its_timeout_is_raised() -> None:
    """A running thread is waited for, so that nothing changes afterwards."""
    objects: dict[str, bytes] = {}
    go_on = threading.Event()

    class Disk(DictStore):
        async def put(self, key: str, data: Any, **options: Any) -> str:
            def write() -> str:
                go_on.wait()
                objects[key] = data
                return "etag"

            return await offload(write)

    asyncio.get_running_loop().call_later(SHORT * 5, go_on.set)
    with pytest.raises(StoreTimeoutError):
        await TimeoutStore(Disk(), SHORT).put("a", b"new")

    assert {"a": b"new"} == objects


async def test_retries_over_a_timeout_give_each_attempt_its_time() -> None:
    """A timeout over retries is one limit for all attempts."""
    base = DictStore()
    await base.put("a", b"v")

    class StuckOnce(StoreDecorator):
        stuck = True

        async def get(self, key: str, **options: Any) -> bytes:
            if self.stuck:
                self.stuck = False
                await asyncio.Event().wait()
            return await self.base.get(key, **options)

    assert b"v" == await RetryingStore(TimeoutStore(StuckOnce(base), SHORT), base_delay=0).get("a")

    endless = RetryingStore(ScriptedStore(base, get=["before"] * 1000), attempts=1000, base_delay=LONG)
    with pytest.raises(StoreTimeoutError):
        await TimeoutStore(endless, SHORT).get("a")


async def test_values_are_passed_as_they_are() -> None:
    """Over a store of values nothing is treated as a stream."""
    store = TimeoutStore(JsonStore(DictStore()), LONG)

    await store.put("a", {"month": [1, 2]})

    assert {"month": [1, 2]} == await store.get("a")


def test_times_are_seconds_or_a_timedelta() -> None:
    """They must be more than 0."""
    assert 90 == TimeoutStore(DictStore(), timedelta(minutes=1, seconds=30)).timeout
    for wrong in (0, -1, float("inf"), float("nan"), timedelta(0)):
        with pytest.raises(ValueError, match="timeout must be more than 0 seconds"):
            TimeoutStore(DictStore(), wrong)
    text: Any = "10"
    with pytest.raises(TypeError, match="timeout must be a number of seconds or a timedelta, not str"):
        TimeoutStore(DictStore(), text)


def test_synchronous_face_has_timeouts_too() -> None:
    """It runs on the background loop, whatever the store below is."""

    class Stuck(DictStore):
        async def get(self, key: str, *, byte_range: object = None) -> bytes:
            await asyncio.Event().wait()
            return b""

    store = storage.sync.TimeoutStore(storage.sync.ObjectStore(Stuck()), SHORT)

    assert not store.capabilities.steppable
    with pytest.raises(StoreTimeoutError):
        store.get("a")
