"""`RecentKeys`: keys remembered for a while, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress

from storage._concurrency.mutex import ReentrantLock
from storage._core.clock import CLOCK

__all__ = ["RecentKeys", "now"]

#: Keys that are remembered at most, some 100 bytes each; beyond it the key remembered longest ago is forgotten.
LIMIT = 10_000


def now() -> float:
    """Return seconds on a clock that nobody can set."""
    return CLOCK.monotonic()


class RecentKeys:
    """
    A set of keys, each of which is in it for some seconds. Several threads may use it.

    Args:
        seconds: how long a key is remembered.
        limit: the number of keys at most.
    """

    def __init__(self, seconds: float, limit: int = LIMIT) -> None:
        self.seconds = seconds
        self.limit = limit
        self._since: OrderedDict[str, float] = OrderedDict()
        self._lock = ReentrantLock()  # so that a call which a signal handler makes in a section is not refused half-way

    def remember(self, key: str, since: float | None = None) -> None:
        """Remember *key*, for seconds that count from now, or from *since*."""
        with self._lock:
            self._since.pop(key, None)
            self._since[key] = now() if since is None else since  # the last one now
            if len(self._since) > self.limit:
                with suppress(KeyError):  # a signal handler has cleared it
                    self._since.popitem(last=False)

    def __contains__(self, key: str) -> bool:
        since = self._since.get(key)
        return since is not None and now() - since < self.seconds

    def __len__(self) -> int:
        return len(self._since)

    def forget(self, key: str) -> None:
        """Forget *key*, if it is remembered."""
        if key in self._since:  # not so for most keys: without the lock this takes a tenth of the time
            with self._lock:
                self._since.pop(key, None)

    def clear(self) -> None:
        """Forget all keys."""
        with self._lock:
            self._since.clear()
