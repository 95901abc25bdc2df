"""
The background event loop, on which the synchronous face runs code that may suspend.

It runs in one daemon thread, which is started at first use and again in a forked child. `Work` is one coroutine on it.
When the interpreter ends, all that still runs there is cancelled and gets a moment to close.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from storage._concurrency.mutex import Mutex, refuse_to_wait_in_section
from storage._concurrency.outcome import Outcome
from storage._concurrency.stepping import THREAD

__all__ = ["Work", "keep", "post"]

T = TypeVar("T")

#: Seconds at the interpreter's exit for open stores to close; after that the daemon thread is abandoned.
GRACE = 2.0


class _LoopThread:
    """An event loop and the thread that runs it."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.ending = False
        self.thread = threading.Thread(target=self.loop.run_forever, name="storage-loop", daemon=True)
        self.thread.start()

    def end(self) -> None:
        """Cancel all tasks and stop; return after twice `GRACE` at the latest."""
        self.ending = True
        try:
            asyncio.run_coroutine_threadsafe(self._settle(), self.loop).result(GRACE)
        except (TimeoutError, asyncio.CancelledError):
            return
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(GRACE)
        if not self.thread.is_alive():
            self.loop.close()

    async def _settle(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.loop.shutdown_asyncgens()


_loop_thread: _LoopThread | None = None
_ended = False
_making = Mutex()


def _running() -> _LoopThread:
    global _loop_thread
    if _ended:
        raise RuntimeError("the interpreter is ending: the background loop of the synchronous stores has ended already")
    if _loop_thread is None:
        with _making:
            if _loop_thread is None:
                _loop_thread = _LoopThread()
    return _loop_thread


class Work(Outcome[T]):
    """
    A coroutine on the background loop, with the context variables of the thread that starts it.

    Args:
        coroutine: the coroutine.
        on_end: called on the loop when the coroutine has ended.

    Attributes:
        done: true when the coroutine has ended; then `result` returns its outcome.

    Raises:
        RuntimeError: this is the loop's own thread, which would wait for itself; or the interpreter is ending.
        ReentrantCallError: a signal handler or a finalizer interrupted this thread in a section for which the loop or
            a worker thread may wait.
    """

    __slots__ = ("_coroutine", "_loop_thread", "_on_end", "_task", "done")

    def __init__(self, coroutine: Coroutine[Any, Any, T], on_end: Callable[[], object]) -> None:
        try:
            mode = THREAD.mode
            asks = mode.stepping or mode.workers is not None or mode.is_awaited
            if asks or asyncio._get_running_loop() is not None:  # else in no section
                refuse_to_wait_in_section()
            self._loop_thread = _running()
            if threading.current_thread() is self._loop_thread.thread:
                raise RuntimeError(
                    "a synchronous store was called on its own background loop: await the async store instead"
                )
        except RuntimeError:
            coroutine.close()
            raise
        self._coroutine = coroutine
        self._on_end = on_end
        self._task: asyncio.Task[None] | None = None
        self._error = None
        self.done: bool = False

    @property
    def is_of_parent(self) -> bool:
        """Whether this process was forked since the start, so that the loop and its thread are the parent's."""
        return self._loop_thread is not _loop_thread

    def start(self) -> None:
        """Begin the coroutine on the loop."""
        self._loop_thread.loop.call_soon_threadsafe(self._begin)

    def cancel(self) -> None:
        """Cancel the coroutine, whether or not it was started; it may not end immediately."""
        self._loop_thread.loop.call_soon_threadsafe(self._cancel)

    def _begin(self) -> None:
        self._task = self._loop_thread.loop.create_task(self._do())

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
        else:
            self._coroutine.close()
            self._end()

    async def _do(self) -> None:
        # Every BaseException goes to the caller: a SystemExit that left a task would stop the loop for all.
        try:
            self._result = await self._coroutine
        except BaseException as error:
            self._error = error
        finally:
            self._end()

    def _end(self) -> None:
        self.done = True
        if not self._loop_thread.ending:  # a daemon thread must not be woken at the interpreter's exit
            self._on_end()


def post(coroutine: Coroutine[Any, Any, object]) -> None:
    """Start *coroutine* on the loop without waiting; for finalizers, which may run in any thread and must not wait."""
    try:
        _running().loop.call_soon_threadsafe(keep, coroutine)
    except RuntimeError:  # the interpreter is ending: the loop has ended
        coroutine.close()


_kept: set[asyncio.Task[Any]] = set()


def keep(coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """On the loop: start a task and keep it until it ends; the loop itself has only weak references to its tasks."""
    task = asyncio.get_running_loop().create_task(coroutine)
    _kept.add(task)
    task.add_done_callback(_kept.discard)
    return task


@atexit.register
def _at_exit() -> None:
    global _ended
    _ended = True  # a finalizer must not start a thread from now on: it would never run
    if _loop_thread is not None:
        _loop_thread.end()


def _after_fork() -> None:
    """Start again: a forked child has none of its parent's threads."""
    global _loop_thread
    _loop_thread = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
