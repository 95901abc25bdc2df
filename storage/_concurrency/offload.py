"""
The one way to worker threads, and the one way to run a coroutine without an event loop.

All blocking work of the local stores goes through `offload`. Under an event loop it runs in a worker thread; when a
coroutine is *stepped* (`step`, the synchronous face of stores that never suspend) it runs in place. A thread-local flag
set by the stepper says which: asking "is a loop running?" would be wrong in a notebook, where one always is.

What belongs to event loops and threads is imported by the functions that need it, here and in the other modules on
which every store stands: asyncio alone takes twice as long to import as `DictStore` and its synchronous face.
"""

from __future__ import annotations

import atexit
import functools
import os
import threading
import types
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    import asyncio

    from storage._concurrency.threads import Mailbox, Workers

__all__ = ["is_stepping", "offload", "offload_copying", "settled", "step"]

P = ParamSpec("P")
T = TypeVar("T")

#: Threads for blocking work: as many as asyncio's own default executor would have.
WORKERS = min(32, (os.cpu_count() or 1) + 4)

#: Threads for copying; the event loop and who uses what is copied want processors too.
COPIERS = max(1, (os.cpu_count() or 1) // 2)


class _Mode:
    """Is the coroutine that runs in this thread right now being stepped? If not, how does it get back to its loop?"""

    __slots__ = ("mailbox", "stepping")

    def __init__(self) -> None:
        self.stepping = False
        self.mailbox: Mailbox | None = None


class _Thread(threading.local):
    """Each thread's mode, in an object of its own that is found once: a thread-local costs at each use."""

    def __init__(self) -> None:
        self.mode = _Mode()


_thread = _Thread()
_pools: dict[str, Workers] = {}
_making = threading.Lock()


def is_stepping() -> bool:
    """Return whether the calling coroutine is stepped: it must not suspend, and blocking is what its caller wants."""
    return _thread.mode.stepping


def step(coroutine: Coroutine[Any, Any, T], source: object = None) -> T:
    """
    Run a coroutine that never suspends to its end in this thread, without an event loop, and return its result.

    *source* is what the error names where the coroutine has no name of its own: the async generator it belongs to.

    Raises:
        RuntimeError: it suspended; the store declares itself steppable and is not.
    """
    mode = _thread.mode
    outer = mode.stepping
    mode.stepping = True
    result: list[T] = []
    driven: Any = _driven(coroutine, result)  # a generator, though its type says that it is to be awaited
    try:
        for _ in driven:
            break
        else:
            return result[0]
        import asyncio

        with suppress(BaseException):  # a cancellation also unwinds an async generator, which close() leaves running
            driven.throw(asyncio.CancelledError())
    finally:
        mode.stepping = outer
    name = getattr(source or coroutine, "__qualname__", repr(coroutine))
    raise RuntimeError(
        f"{name} suspended, but its store says it is steppable; declare steppable=False in its capabilities"
    )


@types.coroutine
def _driven(coroutine: Coroutine[Any, Any, T], result: list[T]) -> Generator[Any, Any, None]:
    """Run a coroutine as a generator. A loop sees its end without a StopIteration, which costs as much as the rest."""
    result.append((yield from coroutine))


async def offload(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """
    Run blocking *work* off the event loop and return its result; in place when stepped.

    A cancellation that comes while a thread is at it is held until the thread has ended, then raised: otherwise a
    cancelled write could land after a later one. Work that no thread has begun yet is withdrawn.
    """
    if _thread.mode.stepping:
        return work(*args, **kwargs)
    return await _hop("workers", functools.partial(work, *args, **kwargs))


async def offload_copying(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """
    Run *work* like `offload`, when it copies large pieces of memory and hardly waits for anything.

    Few threads do that quicker than many: each allocates from memory of its own, which the C library gives back and
    the system clears again and again. Measured with 16 tasks that read 1 MiB each: CPU time for a read on one thread
    160 us, on two 380 us, on six 450 us.
    """
    if _thread.mode.stepping:
        return work(*args, **kwargs)
    return await _hop("copiers", functools.partial(work, *args, **kwargs))


async def _hop(threads: str, work: Callable[[], T]) -> T:
    import asyncio

    from storage._concurrency.threads import Job, Mailbox

    mode, loop = _thread.mode, asyncio.get_running_loop()
    if mode.mailbox is None or mode.mailbox.loop is not loop:
        mode.mailbox = Mailbox(loop)
    job = Job(work, mode.mailbox)
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
    """Wait for the end of *future*, whatever cancellations come meanwhile; its outcome is dropped."""
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
        future.exception()  # taken note of, so that asyncio does not report it


def _made(threads: str) -> Workers:
    """Return the threads of that name, made when they are first asked for."""
    from storage._concurrency.threads import Workers

    with _making:
        if threads not in _pools:
            _pools[threads] = Workers({"workers": WORKERS, "copiers": COPIERS}[threads])
        return _pools[threads]


@atexit.register  # before that of the background loop, and so called after it
def _at_exit() -> None:
    for pool in _pools.values():
        pool.end()


def _after_fork() -> None:
    """A forked child has none of its parent's threads."""
    global _making
    _pools.clear()
    _making = threading.Lock()
    _thread.mode.stepping = False
    _thread.mode.mailbox = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
