"""`SortedKeys`: the keys of a dict in order, for stores that hold all keys in memory."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping

from storage._concurrency.forks import renew_after_fork
from storage._concurrency.mutex import Mutex

__all__ = ["SortedKeys"]


class SortedKeys:
    """
    A sorted view of a dict's keys, which is sorted again at the first use after a key was added or removed.

    The sorted list is replaced, never changed, so that iterations over it are not disturbed.
    """

    def __init__(self, objects: Mapping[str, object]) -> None:
        self._objects = objects
        self._sorted: list[str] | None = None
        self._sorting = Mutex()  # else a list sorted before a change could be stored after it
        renew_after_fork(self)

    def invalidate(self) -> None:
        """Sort again at the next use; call this after a key was added or removed."""
        with self._sorting:
            self._sorted = None

    def all(self) -> list[str]:
        """Return the keys in order."""
        with self._sorting:
            if self._sorted is None:
                self._sorted = sorted(self._objects)  # copies the keys in one step that no thread can interrupt
            return self._sorted

    def select(self, prefix: str, start_after: str) -> Iterator[str]:
        """Yield the keys that start with *prefix* and sort after *start_after*, without those removed meanwhile."""
        keys, objects = self.all(), self._objects
        begin = max(bisect.bisect_left(keys, prefix), bisect.bisect_right(keys, start_after))
        # Both ends are searched: testing each key for the prefix takes three times as long.
        end = bisect.bisect_right(keys, prefix, begin, key=lambda key: key[: len(prefix)])
        for i in range(begin, end):
            key = keys[i]
            if key in objects:
                yield key

    def _renew(self) -> None:
        self._sorted = None  # another thread may have been about to invalidate it
