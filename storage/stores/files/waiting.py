"""Waiting for the lock of a directory that another process holds: by the event loop, and without a thread."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TypeVar

from storage._concurrency.key_locks import KeyLocks
from storage.stores.files import locks
from storage.stores.files.locks import DirectoryLockedError

__all__ = ["when_unlocked"]

T = TypeVar("T")

#: The first pause before another attempt, in seconds; later ones are longer, up to `locks.LONGEST_PAUSE`.
_FIRST_PAUSE = 0.002

#: One task of each event loop tries to get a directory's lock; the others wait until it has had it.
_TURNS = KeyLocks()


async def when_unlocked(found: DirectoryLockedError, attempt: Callable[[], Awaitable[T]], store: object) -> T:
    """
    Await *attempt* until it no longer fails with `DirectoryLockedError`, as it has just done, and return its result.

    A cancellation ends the wait at once: then nothing was changed.

    Raises:
        StoreUnavailableError: the directory was locked for longer than `locks.LOCK_TIMEOUT`.
    """
    import anyio

    place, path, key, pause = found.place, found.path, found.key, _FIRST_PAUSE
    limit = locks.longest_wait(place)
    begun = time.monotonic()
    end = begun + limit
    turn = f"{place[0]}:{place[1]}"
    async with AsyncExitStack() as mine:
        mine.enter_context(locks.seeking(place))
        queued = _TURNS.busy(turn)
        with anyio.move_on_after(limit) as waiting:
            await mine.enter_async_context(_TURNS.hold(turn))
        while not waiting.cancelled_caught and (left := end - time.monotonic()) > 0:
            if not queued:
                await anyio.sleep(min(random.uniform(pause / 2, pause), left))
                pause = min(2 * pause, locks.LONGEST_PAUSE)
            queued = False  # only the first attempt needs no pause: the task before has just had the lock
            try:
                return await attempt()
            except DirectoryLockedError as again:
                place, path = again.place, again.path
        raise locks.unavailable(path, place, begun, store, key)
