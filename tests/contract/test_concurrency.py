"""Worker threads, stepping, and many things at once."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest

from storage import Data, DictStore
from storage._concurrency.offload import WORKERS, offload
from storage._concurrency.stepping import is_stepping, step
from storage._concurrency.tasks import for_each

# -- offload ---------------------------------------------------------------------------------------------------------


async def test_offload_runs_in_another_thread() -> None:
    """Under a loop, blocking work is done elsewhere, and what it gives or raises comes back."""
    assert threading.get_ident() != await offload(threading.get_ident)
    with pytest.raises(ZeroDivisionError):
        await offload(divmod, 1, 0)


async def test_cancellation_waits_for_the_thread() -> None:
    """A cancelled call has ended when it says so: nothing that it does can come after what is done next."""
    begun, go_on = threading.Event(), threading.Event()
    log: list[str] = []

    def work() -> None:
        begun.set()
        go_on.wait()
        log.append("work")

    task = asyncio.create_task(offload(work))
    await asyncio.to_thread(begun.wait)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0.001)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert ["work"] == log


async def test_cancel_scope_waits_for_the_thread() -> None:
    """The same holds for anyio's cancellation, which is delivered over and over."""
    loop = asyncio.get_running_loop()
    log: list[str] = []

    def work() -> None:
        loop.call_soon_threadsafe(scope.cancel)
        time.sleep(0.03)
        log.append("work")

    with anyio.CancelScope() as scope:
        await offload(work)

    assert scope.cancelled_caught
    assert ["work"] == log


async def test_cancelled_work_that_has_not_begun_is_withdrawn() -> None:
    """What waits for a free thread need not be waited for."""
    go_on = threading.Event()
    log: list[str] = []
    busy = [asyncio.create_task(offload(go_on.wait)) for _ in range(WORKERS)]
    await asyncio.sleep(0.01)

    task = asyncio.create_task(offload(log.append, "never"))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    await asyncio.gather(*busy)

    assert [] == log


async def test_cancellation_that_comes_with_the_result_loses_nothing() -> None:
    """Who is cancelled when the work has just ended does not wait for an end that has been told already."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def work() -> None:
        loop.call_soon_threadsafe(ended.set)

    task = asyncio.create_task(offload(work))
    await ended.wait()
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    await asyncio.wait([task], timeout=10)

    assert task.done()


async def test_as_many_threads_as_there_is_work_for() -> None:
    """Work that waits for other work is done beside it."""
    barrier = threading.Barrier(WORKERS)

    places = await asyncio.gather(*(offload(barrier.wait, 10) for _ in range(WORKERS)))

    assert [*range(WORKERS)] == sorted(places)


def test_loops_of_several_threads_each_get_their_own_results() -> None:
    """The threads are shared, the ways back are not."""

    async def main(number: int) -> list[str]:
        return await asyncio.gather(*(offload(str, number * 1000 + i) for i in range(100)))

    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(lambda number: asyncio.run(main(number)), range(4)))

    assert [[str(number * 1000 + i) for i in range(100)] for number in range(4)] == results


@pytest.mark.process
def test_interpreter_does_not_end_in_the_middle_of_work() -> None:
    """Also when its event loop was abandoned: a file half written would be half a file."""
    code = (
        "import asyncio, threading, time\n"
        "from storage._concurrency.offload import offload\n"
        "begun = threading.Event()\n"
        "def work():\n"
        "    begun.set()\n"
        "    time.sleep(0.1)\n"
        "    print('done')\n"
        "async def main():\n"
        "    global task\n"
        "    task = asyncio.create_task(offload(work))\n"
        "    await asyncio.to_thread(begun.wait)\n"
        "asyncio.new_event_loop().run_until_complete(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)

    assert "done\n" == done.stdout


# -- stepping --------------------------------------------------------------------------------------------------------


def test_step_runs_in_place() -> None:
    """What never suspends is run in this thread, blocking work included."""

    async def work() -> tuple[bool, int]:
        return is_stepping(), await offload(threading.get_ident)

    assert (True, threading.get_ident()) == step(work())
    assert not is_stepping()


async def test_step_within_a_running_loop() -> None:
    """A notebook has a loop that runs: stepping does not care, and what runs beside it is not stepped."""

    async def work() -> int:
        return await offload(threading.get_ident)

    assert threading.get_ident() == step(work())
    assert threading.get_ident() != await work()


def test_step_passes_errors() -> None:
    """What the coroutine raises comes out as it is, also a StopIteration's lookalike."""

    async def fail() -> None:
        raise KeyError("k")

    with pytest.raises(KeyError, match="k"):
        step(fail())
    assert not is_stepping()


def test_step_names_what_suspends() -> None:
    """A coroutine that suspends cannot be stepped, is unwound, and the error says whose fault it is."""
    log: list[str] = []

    async def suspends() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            log.append("unwound")

    with pytest.raises(RuntimeError, match=r"suspends suspended.*steppable=False"):
        step(suspends())

    assert ["unwound"] == log
    assert not is_stepping()


# -- each ------------------------------------------------------------------------------------------------------------


class Gauge:
    """Counts how many are at work at once."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.done: list[int] = []

    async def work(self, item: int) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        await anyio.sleep(0.001)
        self.now -= 1
        self.done.append(item)


@pytest.mark.parametrize("limit", [1, 3, 16])
async def test_each_is_bounded(limit: int) -> None:
    """All items are worked on, as many at once as allowed."""
    gauge = Gauge()

    await for_each(range(20), gauge.work, limit=limit)

    assert list(range(20)) == sorted(gauge.done)
    assert limit == gauge.most


async def test_each_takes_items_as_it_needs_them() -> None:
    """A long iterable is not read ahead of the work."""
    gauge = Gauge()
    ahead = []

    async def items() -> AsyncIterator[int]:
        for number in range(20):
            ahead.append(number - len(gauge.done))
            yield number

    await for_each(items(), gauge.work, limit=4)

    assert max(ahead) <= 4 + 1


@pytest.mark.parametrize("limit", [1, 4])
async def test_first_error_of_the_work_is_raised_as_it_is(limit: int) -> None:
    """Not in a group, and the rest is not begun."""
    begun = []

    async def work(item: int) -> None:
        begun.append(item)
        await asyncio.sleep(0)
        if item == 3:
            raise ZeroDivisionError(item)

    with pytest.raises(ZeroDivisionError, match="3"):
        await for_each(range(100), work, limit=limit)

    assert len(begun) < 20


async def test_error_of_the_items_is_raised_as_it_is() -> None:
    """What the caller's iterable raises passes, and what was begun has ended."""
    gauge = Gauge()

    def items() -> Iterator[int]:
        yield from range(3)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await for_each(items(), gauge.work)

    assert gauge.most <= 3


async def test_cancelled_each_has_ended() -> None:
    """Nothing goes on behind the back of one who gave up."""
    gauge = Gauge()
    task = asyncio.create_task(for_each(range(1000), gauge.work, limit=4))
    await asyncio.sleep(0.005)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    done = len(gauge.done)
    await asyncio.sleep(0.005)

    assert done == len(gauge.done)
    assert done < 1000


def test_each_when_stepped_goes_one_by_one() -> None:
    """Without a loop there are no tasks, and the order is that of the items."""
    done = []

    async def work(item: int) -> None:
        done.append(item)

    step(for_each(range(5), work))

    assert [0, 1, 2, 3, 4] == done


async def test_items_of_one_key_are_put_in_their_order() -> None:
    """One that comes just when another has ended does not overtake those that wait for it."""
    gate = asyncio.Event()

    class Gated(DictStore):
        async def put(self, key: str, data: Data, **options: Any) -> str:
            await gate.wait()
            return await super().put(key, data, **options)

    async def items() -> AsyncIterator[tuple[str, Data]]:
        yield "k", b"1"
        yield "k", b"2"
        await gate.wait()
        yield "k", b"3"

    store = Gated()
    asyncio.get_running_loop().call_later(0.01, gate.set)
    await store.put_many(items())

    assert b"3" == await store.get("k")
