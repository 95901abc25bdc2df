"""A clock that tests turn by hand."""

from __future__ import annotations

from typing import Any

from storage import ExpiringStore, ObjectStore
from storage._core.clock import Clock

__all__ = ["HandClock", "expiring"]


class HandClock(Clock):
    """
    A clock whose hands stand still until they are moved.

    Attributes:
        day: what the system's clock shows; a test sets it, as an administrator would.
    """

    def __init__(self, day: float = 1_000_000_000.0) -> None:
        self.day = day
        self._ticks = 500.0
        super().__init__()

    def wall(self) -> float:
        return self.day

    def monotonic(self) -> float:
        return self._ticks

    def go_on(self, seconds: float) -> None:
        """Let time pass."""
        self._ticks += seconds
        self.day += seconds


def expiring(base: ObjectStore, clock: Clock, ttl: float | None = None, **options: Any) -> ExpiringStore:
    """Return an expiring store that goes by *clock*; two that share one are in one process, say."""
    store = ExpiringStore(base, ttl, **options)
    store._expiry.clock = clock
    return store
