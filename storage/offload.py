"""
The one way to worker threads, and the one way to run a coroutine without an event loop.

All blocking work of the local stores goes through `offload`. Under an event loop it runs in a worker thread; when a
coroutine is *stepped* (`step`, the synchronous face of stores that never suspend) it runs in place. A thread-local flag
set by the stepper says which: asking "is a loop running?" would be wrong in a notebook, where one always is.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

import anyio

__all__ = ["is_stepping", "offload", "step"]

P = ParamSpec("P")
T = TypeVar("T")

#: Threads for blocking work. As many as asyncio's own default executor would have; they are made when they are needed.
WORKERS = min(32, (os.cpu_count() or 1) + 4)


class _Mode(threading.local):
    """Per thread: is the coroutine that runs here right now being stepped?"""

    stepping = False


_mode = _Mode()
_executor: ThreadPoolExecutor | None = None
_executor_lock = threading.Lock()


def is_stepping() -> bool:
    """Say whether the calling coroutine is stepped: it must not suspend, and blocking is what its caller wants."""
    return _mode.stepping


def step(coroutine: Coroutine[Any, Any, T], source: object = None) -> T:
    """
    Run a coroutine that never suspends to its end in this thread, without an event loop, and return its result.

    *source* is what the error names where the coroutine has no name of its own: the async generator it belongs to.

    Raises:
        RuntimeError: it suspended; the store declares itself steppable and is not.
    """
    outer = _mode.stepping
    _mode.stepping = True
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]  # StopIteration.value is Any
    finally:
        _mode.stepping = outer
    name = getattr(source or coroutine, "__qualname__", repr(coroutine))
    coroutine.close()
    raise RuntimeError(
        f"{name} suspended, but its store says it is steppable; declare steppable=False in its capabilities"
    )


async def offload(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """
    Run blocking *work* off the event loop and return its result; in place when stepped.

    A cancellation that comes while a thread is at it is held until the thread has ended, then raised: otherwise a
    cancelled write could land after a later one. Work that no thread has begun yet is withdrawn.
    """
    if _mode.stepping:
        return work(*args, **kwargs)
    context = contextvars.copy_context()
    running: Future[T] = _workers().submit(lambda: context.run(work, *args, **kwargs))
    try:
        return await asyncio.wrap_future(running)
    except asyncio.CancelledError:
        if not running.cancelled():
            await _settled(running)
        raise


async def _settled(running: Future[Any]) -> None:
    """Wait for a thread's end, whatever cancellations come meanwhile; its outcome is dropped."""
    ended = asyncio.get_running_loop().create_future()
    loop = asyncio.get_running_loop()
    running.add_done_callback(lambda _: loop.call_soon_threadsafe(ended.set_result, None))
    # The shield keeps an enclosing anyio scope from delivering its cancellation over and over meanwhile.
    with anyio.CancelScope(shield=True):
        while not ended.done():
            try:
                await asyncio.wait([ended])
            except asyncio.CancelledError:
                continue


def _workers() -> ThreadPoolExecutor:
    global _executor
    if _executor is None:
        with _executor_lock:
            if _executor is None:
                _executor = ThreadPoolExecutor(WORKERS, thread_name_prefix="storage")
    return _executor


def _forget_workers() -> None:
    """A forked child has none of its parent's threads."""
    global _executor, _executor_lock
    _executor, _executor_lock = None, threading.Lock()
    _mode.stepping = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_workers)
