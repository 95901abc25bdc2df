"""`Clock`: the time of day, which no step of the system's clock changes while the process lives."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime, timedelta

__all__ = ["CLOCK", "Clock"]


class Clock:
    """
    The time of day, which no step of the system's clock changes while the process lives.

    It is read once, and from then on counted by a clock that only goes forward, also while the machine sleeps. So a
    deadline that was written by one process means the same moment to the next, and none needs a table of deadlines.
    """

    def __init__(self) -> None:
        self._began = datetime.fromtimestamp(self.wall(), UTC)
        self._origin = self.monotonic()

    def wall(self) -> float:
        """Return the system's clock, in seconds since 1970; somebody may set it."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds since some moment; nobody can set it."""
        if sys.platform == "linux":
            return time.clock_gettime(time.CLOCK_BOOTTIME)  # time.monotonic stands still while a laptop is closed
        return time.monotonic()

    def now(self) -> datetime:
        """Return the time of day."""
        return self._began + timedelta(seconds=self.monotonic() - self._origin)


#: One for the process: all its stores agree about the time, whatever happened to the system's clock between them.
CLOCK = Clock()
