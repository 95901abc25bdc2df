"""`Sweeper`: the background task of an `ExpiringStore`, which removes expired objects regularly."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from storage._concurrency.offload import settled
from storage.errors import StorageError

__all__ = ["Sweeper"]

_log = logging.getLogger("storage")


class Sweeper:
    """
    A task that awaits *work* again and again, with a pause of *interval* seconds before each run.

    A run that fails is logged, and the next one follows.

    Args:
        owner: the store, for the log.
        work: called and awaited in each run.
        interval: seconds before each run.
    """

    def __init__(self, owner: object, work: Callable[[], Awaitable[object]], interval: float) -> None:
        self._owner = owner
        self._work = work
        self._interval = interval
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the task on the running event loop."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Cancel the task and wait until it has ended, even if the caller is cancelled meanwhile."""
        task, self._task = self._task, None
        if task is not None and task.get_loop() is asyncio.get_running_loop():  # else it ended with its loop, or a fork
            task.cancel()
            await settled(task)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            try:
                await self._work()
            except Exception as error:
                _log.warning(
                    "sweep of %r failed, and is tried again in %g s: %s",
                    *(self._owner, self._interval, error),
                    exc_info=not isinstance(error, StorageError),
                )
