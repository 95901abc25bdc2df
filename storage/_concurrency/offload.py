"""
`offload`: runs blocking work in a worker thread.

All blocking work of the local stores goes through it. Under an event loop it uses a worker thread; when a coroutine is
*stepped* (`storage._concurrency.stepping`, the synchronous face of stores that never suspend) it runs in place.

Modules for event loops and threads are imported by the functions that need them, here and in the other modules that
every store uses: asyncio alone takes twice as long to import as `DictStore` and its synchronous face.
"""

from __future__ import annotations

import atexit
import functools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from storage._concurrency.mutex import Mutex
from storage._concurrency.stepping import THREAD

if TYPE_CHECKING:
    import asyncio

    from storage._concurrency.threads import Workers

__all__ = ["offload", "offload_copying", "settled"]

P = ParamSpec("P")
T = TypeVar("T")

#: Threads for blocking work: as many as asyncio's own default executor would have.
WORKERS = min(32, (os.cpu_count() or 1) + 4)

#: Threads for copying; the event loop and the user of the copies need processors too.
COPIERS = max(1, (os.cpu_count() or 1) // 2)


_pools: dict[str, Workers] = {}
_making = Mutex()


async def offload(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """
    Run blocking *work* off the event loop and return its result; in place when stepped.

    A cancellation that comes while a thread runs the work is raised when the work has ended: otherwise a cancelled
    write could land after a later one. Work that no thread has begun is withdrawn.
    """
    if THREAD.mode.stepping:
        return work(*args, **kwargs)
    return await _hop("workers", functools.partial(work, *args, **kwargs))


async def offload_copying(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """
    Run *work* like `offload`, if it copies large pieces of memory and hardly waits.

    Few threads do that faster than many: each allocates from its own arena, which the C library gives back and the
    system clears again and again. Measured with 16 tasks that read 1 MiB each: CPU time for a read on one thread
    160 us, on two 380 us, on six 450 us.
    """
    if THREAD.mode.stepping:
        return work(*args, **kwargs)
    return await _hop("copiers", functools.partial(work, *args, **kwargs))


async def _hop(threads: str, work: Callable[[], T]) -> T:
    import asyncio

    from storage._concurrency.threads import Job, ResultQueue

    mode, loop = THREAD.mode, asyncio.get_running_loop()
    if mode.result_queue is None or mode.result_queue.loop is not loop:
        mode.result_queue = ResultQueue(loop)
    job = Job(work, mode.result_queue)
    (_pools.get(threads) or _made(threads)).put(job)
    try:
        await job.waiter
    except asyncio.CancelledError:
        if not job.ended and not job.claim():
            job.waiter = loop.create_future()
            await settled(job.waiter)
        raise
    return job.result()


async def settled(future: asyncio.Future[Any]) -> None:
    """Wait until *future* is done, even if cancellations come meanwhile; its result is ignored."""
    import asyncio

    import anyio

    # The shield keeps an enclosing anyio scope from delivering its cancellation over and over meanwhile.
    with anyio.CancelScope(shield=True):
        while not future.done():
            try:
                await asyncio.wait([future])
            except asyncio.CancelledError:
                continue
    if not future.cancelled():
        future.exception()  # retrieved, so that asyncio does not report it


def _made(threads: str) -> Workers:
    """Return the threads of that name; the first call makes them."""
    from storage._concurrency.threads import Workers

    with _making:
        if threads not in _pools:
            _pools[threads] = Workers({"workers": WORKERS, "copiers": COPIERS}[threads])
        return _pools[threads]


@atexit.register  # registered before that of the background loop, and so called after it
def _at_exit() -> None:
    for pool in _pools.values():
        pool.end()


def _after_fork() -> None:
    """A forked child has none of its parent's threads."""
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
