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
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from storage._concurrency.mutex import Mutex
from storage._concurrency.stepping import THREAD

if TYPE_CHECKING:
    import asyncio

    from storage._concurrency.threads import Workers

__all__ = ["given_up", "offload", "offload_copying", "offload_for", "offload_foreign", "settled"]

P = ParamSpec("P")
T = TypeVar("T")

#: Threads for blocking work: as many as asyncio's own default executor would have.
WORKERS = min(32, (os.cpu_count() or 1) + 4)

#: Threads for copying; the event loop and the user of the copies need processors too.
COPIERS = max(1, (os.cpu_count() or 1) // 2)


#: Seconds that a cancelled call waits for the user's code in a thread; it would be surprised to find it still running.
FOREIGN_GRACE = 1.0

#: Seconds that a cancelled call waits for work in a thread, if it is cancelled again: it may be in a system call that
#: never returns. So the second Ctrl-C ends ``asyncio.run``, which cancels everything then.
PATIENCE = 1.0

#: Seconds at the interpreter's exit for work that a thread has begun.
GRACE = 5.0

#: The kinds of threads: their names, how many may run at one time, and seconds after which an idle one ends.
_POOLS: dict[str, tuple[str, int | None, float | None]] = {
    "workers": ("storage", WORKERS, None),
    "copiers": ("storage-copying", COPIERS, None),
    "foreign": ("storage-foreign", None, 10.0),
}

_pools: dict[str, Workers] = {}
_making = Mutex()


async def offload(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """
    Run blocking *work* off the event loop and return its result; in place when stepped.

    A cancellation that comes while a thread runs the work is raised when the work has ended: otherwise a cancelled
    write could land after a later one. Work that no thread has begun is withdrawn. Only who cancels again, and sees
    that `PATIENCE` seconds were not enough, leaves the work to its thread: then it may still take effect.
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


async def offload_foreign(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """
    Run *work* like `offload`, if it is code of the user: reading a file that was put, a callback.

    It may wait for whatever it likes: for a pipe, for another call, for a store. So each runs in a thread of its own,
    as many as the callers have under way, and never in one that the stores need. When it is cancelled it changes
    nothing in a store, and so is not waited for longer than `FOREIGN_GRACE`.
    """
    if THREAD.mode.stepping:
        return work(*args, **kwargs)
    return await _hop("foreign", functools.partial(work, *args, **kwargs), FOREIGN_GRACE)


async def offload_for(owner: object, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run *work* like `offload`, and in the threads of `offload_foreign` if the class of *owner* is a user's."""
    if THREAD.mode.stepping:
        return work(*args, **kwargs)
    threads = "workers" if type(owner).__module__.startswith("storage.") else "foreign"
    return await _hop(threads, functools.partial(work, *args, **kwargs))


def given_up() -> bool:
    """
    In work that `offload` runs: return whether the task that waits for it was cancelled, so that it should give up.

    Work that waits in the thread, for a lock or for another process, asks this every few milliseconds, and raises any
    error then: the task raises its cancellation. It is False when stepped, where Ctrl-C is raised in the work itself.
    """
    job = THREAD.mode.job
    return job is not None and job.cancelled


async def _hop(threads: str, work: Callable[[], T], grace: float | None = None) -> T:
    import asyncio

    from storage._concurrency.jobs import Job, ResultQueue

    mode, loop = THREAD.mode, asyncio.get_running_loop()
    if mode.result_queue is None or mode.result_queue.loop is not loop:
        mode.result_queue = ResultQueue(loop)
    job = Job(work, mode.result_queue)
    (_pools.get(threads) or _made(threads)).put(job)
    try:
        await job.waiter
    except asyncio.CancelledError:
        if not job.ended and not job.claim():
            job.cancelled = True
            job.waiter = loop.create_future()
            await settled(job.waiter, grace, patience=PATIENCE)
            job.left = not job.ended
        raise
    return job.result()


async def settled(future: asyncio.Future[Any], grace: float | None = None, *, patience: float | None = None) -> None:
    """
    Wait until *future* is done, even if cancellations come meanwhile; its result is ignored.

    Args:
        future: the future.
        grace: seconds to wait at most; None for no limit.
        patience: seconds to wait at most, if a cancellation comes meanwhile; None for no limit.
    """
    import asyncio

    import anyio

    begun = time.monotonic()
    # The shield keeps an enclosing anyio scope from delivering its cancellation over and over meanwhile.
    with anyio.CancelScope(shield=True):
        while not future.done():
            left = None if grace is None else grace - (time.monotonic() - begun)
            if left is not None and left <= 0:
                return
            try:
                await asyncio.wait([future], timeout=left)
            except asyncio.CancelledError:
                grace = patience if grace is None else grace
    if not future.cancelled():
        future.exception()  # retrieved, so that asyncio does not report it


def _made(threads: str) -> Workers:
    """Return the threads of that name; the first call makes them."""
    from storage._concurrency.threads import Workers

    with _making:
        if threads not in _pools:
            _pools[threads] = Workers(*_POOLS[threads])
        return _pools[threads]


@atexit.register  # registered before that of the background loop, and so called after it
def _at_exit() -> None:
    for threads, pool in _pools.items():
        pool.end(0 if threads == "foreign" else GRACE)


def _after_fork() -> None:
    """A forked child has none of its parent's threads."""
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
