"""`KeyLocks`: one lock for each key."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from storage._concurrency.per_loop import PerLoop

__all__ = ["KeyLocks"]


class _Entry:
    """A lock, and how many tasks hold it or wait for it."""

    __slots__ = ("lock", "users")

    def __init__(self) -> None:
        self.lock = anyio.Lock(fast_acquire=True)
        self.users = 0


class KeyLocks:
    """A lock for each key; only locks that a task holds or waits for are kept in memory."""

    def __init__(self) -> None:
        self._by_key: PerLoop[dict[str, _Entry]] = PerLoop(dict)

    def busy(self, key: str) -> bool:
        """Return whether a task holds the key's lock; if none does, the next `hold` does not wait."""
        return key in self._by_key.get()

    @asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[None]:
        """Hold the key's lock: ``async with locks.hold(key):``. Tasks get it in the order in which they ask."""
        entries = self._by_key.get()
        entry = entries.setdefault(key, _Entry())
        entry.users += 1
        try:
            async with entry.lock:
                yield
        finally:
            entry.users -= 1
            if not entry.users:
                del entries[key]
