"""`SingleFlight`: concurrent callers that want the same result share one task."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from storage._concurrency.offload import settled
from storage.errors import StorageError

__all__ = ["SharedTask", "SingleFlight"]

T = TypeVar("T")


class SharedTask(Generic[T]):
    """
    A task that is cancelled when no caller waits for it any longer.

    Args:
        work: what the task runs.
        valid: returns whether the result is still right for a caller that asks now.
    """

    def __init__(self, work: Coroutine[Any, Any, T], valid: Callable[[], bool]) -> None:
        self._loop = asyncio.get_running_loop()
        self.task: asyncio.Task[T] = self._loop.create_task(work)
        self._valid = valid
        self._waiting = 0
        self._shared = False
        self._ending = False

    def can_be_joined(self) -> bool:
        """Return whether one more caller may wait for the task."""
        ended = self._ending or self.task.done()
        return not ended and self._valid() and self._loop is asyncio.get_running_loop()

    async def wait(self) -> None:
        """
        Wait until the task ends.

        A caller that is cancelled stops waiting, and the others go on. The last one cancels the task and waits for it.
        """
        self._waiting += 1
        self._shared = self._shared or self._waiting > 1
        try:
            await asyncio.wait([self.task])
        except asyncio.CancelledError:
            if self._waiting == 1:
                self._ending = True
                self.task.cancel()
                await settled(self.task)
            raise
        finally:
            self._waiting -= 1
            if not self._waiting:  # also if the caller's coroutine was closed, not cancelled
                self._ending = True
                self.task.cancel()

    def result(self) -> T:
        """Return the result of the task, or raise its error; each of several callers gets a copy of the error."""
        error = self.task.exception()
        if not self._shared or not isinstance(error, StorageError):
            return self.task.result()
        own = copy.copy(error).with_traceback(error.__traceback__)  # decorators above write their keys into it
        raise own from error.__cause__


class SingleFlight(Generic[T]):
    """The tasks that are running, by key. If there are several event loops, each has tasks of its own."""

    def __init__(self) -> None:
        self._tasks: dict[str, SharedTask[T]] = {}

    async def join(self, key: str, begin: Callable[[], SharedTask[T]]) -> T:
        """Return the result of the running task of *key*, or of a new one from *begin* if there is none to join."""
        while True:
            shared = self._tasks.get(key)
            if shared is None or not shared.can_be_joined():
                shared = self._tasks[key] = begin()
            try:
                await shared.wait()
            finally:
                if self._tasks.get(key) is shared and not shared.can_be_joined():
                    del self._tasks[key]
            if not shared.task.cancelled():  # by something else: the callers that still wait begin again
                return shared.result()
