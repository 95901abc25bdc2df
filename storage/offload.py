"""
The one way to worker threads, and the one way to run a coroutine without an event loop.

All blocking work of the local stores goes through `offload`. Under an event loop it runs in a worker thread; when a
coroutine is *stepped* (`step`, the synchronous face of stores that never suspend) it runs in place. A thread-local flag
set by the stepper says which: asking "is a loop running?" would be wrong in a notebook, where one always is.

What belongs to event loops and threads is imported by the functions that need it, here and in the other modules on
which every store stands: asyncio alone takes twice as long to import as `DictStore` and its synchronous face.
"""

from __future__ import annotations

import contextvars
import os
import threading
import types
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future, ThreadPoolExecutor

__all__ = ["is_stepping", "offload", "settled", "step"]

P = ParamSpec("P")
T = TypeVar("T")

#: Threads for blocking work. As many as asyncio's own default executor would have; they are made when they are needed.
WORKERS = min(32, (os.cpu_count() or 1) + 4)


class _Mode:
    """Is the coroutine that runs in this thread right now being stepped?"""

    __slots__ = ("stepping",)

    def __init__(self) -> None:
        self.stepping = False


class _Thread(threading.local):
    """Each thread's mode, in an object of its own that is found once: a thread-local costs at each use."""

    def __init__(self) -> None:
        self.mode = _Mode()


_thread = _Thread()
_executor: ThreadPoolExecutor | None = None
_executor_lock = threading.Lock()


def is_stepping() -> bool:
    """Say whether the calling coroutine is stepped: it must not suspend, and blocking is what its caller wants."""
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
    import asyncio

    context = contextvars.copy_context()
    running: Future[T] = _workers().submit(lambda: context.run(work, *args, **kwargs))
    try:
        return await asyncio.wrap_future(running)
    except asyncio.CancelledError:
        if not running.cancelled():
            await settled(asyncio.wrap_future(running))
        raise


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


def _workers() -> ThreadPoolExecutor:
    global _executor
    if _executor is None:
        from concurrent.futures import ThreadPoolExecutor

        with _executor_lock:
            if _executor is None:
                _executor = ThreadPoolExecutor(WORKERS, thread_name_prefix="storage")
    return _executor


def _forget_workers() -> None:
    """A forked child has none of its parent's threads."""
    global _executor, _executor_lock
    _executor, _executor_lock = None, threading.Lock()
    _thread.mode.stepping = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_workers)
