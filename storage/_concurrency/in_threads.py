"""`for_each_in_threads`: bounded concurrency for stepped calls, whose work waits for a network."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from storage._concurrency.forks import PROCESS, refuse_in_child, renew_after_fork
from storage._concurrency.stepping import THREAD, is_stepping, step
from storage._concurrency.tasks import for_each, stream

__all__ = ["for_each_in_threads"]

T = TypeVar("T")

#: Seconds for which an interrupted call waits for the threads. They notice after 0.1 that they are to give up, unless
#: they are in a system call that takes longer.
PATIENCE = 2.0


async def for_each_in_threads(
    items: Iterable[T] | AsyncIterable[T], work: Callable[[T], Awaitable[object]], *, limit: int
) -> None:
    """
    Await ``work(item)`` for every item, at most *limit* concurrently; when stepped, in as many threads.

    The first error, of the work or of the iterable, stops the rest and is raised as it is. Work that is under way is
    finished before, unless the iterable fails or Ctrl-C is pressed: then it is told to give up
    (`storage._concurrency.offload.given_up`).
    """
    if not is_stepping():
        await for_each(items, work, limit=limit)
        return
    crew = _Crew(work, limit)
    try:
        async for item in stream(items):
            if not crew.take(item):
                break
        crew.finish()
    except BaseException:
        crew.give_up()
        raise


class _Crew(Generic[T]):
    """
    Threads that step work.

    Args:
        work: what is stepped for each item.
        limit: the most threads.

    Attributes:
        cancelled: whether work that is under way is to give up.
        left: False: the call waits for its threads.
    """

    def __init__(self, work: Callable[[T], Awaitable[object]], limit: int) -> None:
        self.cancelled: bool = False
        self.left: bool = False
        self._work = work
        self._limit = limit
        self._places = threading.Semaphore(limit)
        self._items: SimpleQueue[list[T]] = SimpleQueue()
        self._ended: SimpleQueue[None] = SimpleQueue()
        self._threads = self._running = 0
        self._errors: list[BaseException] = []
        self._process = PROCESS.number
        renew_after_fork(self)

    def take(self, item: T) -> bool:
        """Wait until a thread is free and give it an item; return False after an error."""
        self._places.acquire()
        refuse_in_child(self._process)
        if self._errors:
            return False
        self._items.put([item])
        if self._threads < self._limit:
            thread = threading.Thread(target=self._serve, name=f"storage-parts-{self._threads}", daemon=True)
            self._threads += 1
            self._running += 1  # before the start, which Ctrl-C may interrupt
            thread.start()
        return True

    def finish(self) -> None:
        """Wait until all is done, and raise the first error."""
        self._wait_ended()
        refuse_in_child(self._process)
        if self._errors:
            raise self._errors[0]

    def give_up(self) -> None:
        """End the work that is under way."""
        self.cancelled = True
        with suppress(Empty):
            self._wait_ended(time.monotonic() + PATIENCE)

    def _wait_ended(self, end: float | None = None) -> None:
        """
        Let the threads end when there are no more items, and wait for that.

        A `Thread.join` that is interrupted takes its thread for ended from then on (CPython 3.11 and 3.12, measured).

        Raises:
            Empty: they have not ended by then.
        """
        for _ in range(self._running):
            self._items.put([])
        while self._running > 0:
            self._ended.get(timeout=None if end is None else max(0.0, end - time.monotonic()))
            self._running -= 1

    def _renew(self) -> None:
        """In a forked child: end the call, during which a signal handler of its thread forked; it has no threads."""
        self._running = 0
        self._ended.put(None)
        self._places.release()

    def _serve(self) -> None:
        THREAD.mode.job = self
        while item := self._items.get():
            try:
                if not self._errors and not self.cancelled:
                    step(_awaited(self._work, item.pop()))
            except BaseException as error:
                self._errors.append(error)
            self._places.release()
        self._ended.put(None)


async def _awaited(work: Callable[[T], Awaitable[object]], item: T) -> None:
    await work(item)
