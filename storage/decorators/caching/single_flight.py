"""`Flights`: many callers that want the same thing at the same time wait for one piece of work."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from storage._concurrency.offload import settled
from storage.errors import StorageError

__all__ = ["Flight", "Flights"]

T = TypeVar("T")


class Flight(Generic[T]):
    """
    Work in a task of its own, which lives as long as somebody waits for it.

    Args:
        work: what is done.
        valid: says whether what comes of it is still good for somebody who asks now.
    """

    def __init__(self, work: Coroutine[Any, Any, T], valid: Callable[[], bool]) -> None:
        self._loop = asyncio.get_running_loop()
        self.task: asyncio.Task[T] = self._loop.create_task(work)
        self._valid = valid
        self._waiting = 0
        self._shared = False
        self._ending = False

    def takes_more(self) -> bool:
        """Return whether another caller may wait for it, too."""
        ended = self._ending or self.task.done()
        return not ended and self._valid() and self._loop is asyncio.get_running_loop()

    async def landed(self) -> None:
        """Wait for the work's end. Who is cancelled leaves alone; the last to leave ends the work first."""
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
            if not self._waiting:  # also when the caller's coroutine was dropped rather than cancelled
                self._ending = True
                self.task.cancel()

    def result(self) -> T:
        """Return what the work returned, or raise what it raised: to each of several callers an error of his own."""
        error = self.task.exception()
        if not self._shared or not isinstance(error, StorageError):
            return self.task.result()
        own = copy.copy(error).with_traceback(error.__traceback__)  # decorators above write their keys into it
        raise own from error.__cause__


class Flights(Generic[T]):
    """The work that is under way, by key. Each loop has its own, should there be several."""

    def __init__(self) -> None:
        self._flights: dict[str, Flight[T]] = {}

    async def join(self, key: str, begin: Callable[[], Flight[T]]) -> T:
        """Return the result of the work for *key* that is under way, or of that which *begin* begins."""
        while True:
            flight = self._flights.get(key)
            if flight is None or not flight.takes_more():
                flight = self._flights[key] = begin()
            try:
                await flight.landed()
            finally:
                if self._flights.get(key) is flight and not flight.takes_more():
                    del self._flights[key]
            if not flight.task.cancelled():  # by somebody else; who still waits begins anew
                return flight.result()
