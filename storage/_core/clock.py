"""`Clock`: the time of day, unaffected by changes of the system's clock while the process runs."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime, timedelta

__all__ = ["CLOCK", "Clock"]


class Clock:
    """
    The time of day, unaffected by changes of the system's clock while the process runs.

    The system's clock is read once. From then on a clock counts that only goes forward, also while the machine sleeps.
    So a deadline that one process wrote means the same moment to the next, and no process needs a table of deadlines.
    """

    def __init__(self) -> None:
        self._began = datetime.fromtimestamp(self.wall(), UTC)
        self._origin = self.monotonic()

    def wall(self) -> float:
        """Return the time of the system's clock, which can be set: seconds since 1970."""
        return time.time()

    def monotonic(self) -> float:
        """Return the time of a clock that cannot be set: seconds since some moment."""
        if sys.platform == "linux":
            return time.clock_gettime(time.CLOCK_BOOTTIME)  # time.monotonic stands still while a laptop is closed
        return time.monotonic()

    def now(self) -> datetime:
        """Return the time of day."""
        return self._began + timedelta(seconds=self.monotonic() - self._origin)


#: The one clock of the process: all its stores agree on the time, even if the system's clock is set in between.
CLOCK = Clock()
