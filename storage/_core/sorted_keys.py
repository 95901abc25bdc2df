"""The keys of a dict in order, for stores that hold all of theirs in memory."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Iterator, Mapping

__all__ = ["Listing"]


class Listing:
    """
    A sorted view of a dict's keys. It is sorted when it is first asked for after a key has come or gone.

    The sorted list is replaced, never changed, so that one who iterates it is undisturbed.
    """

    def __init__(self, objects: Mapping[str, object]) -> None:
        self._objects = objects
        self._sorted: list[str] | None = None
        self._sorting = threading.Lock()  # or a list sorted before a change could be kept after it

    def outdated(self) -> None:
        """Say that a key has come or gone; call it after the change."""
        with self._sorting:
            self._sorted = None

    def all(self) -> list[str]:
        """Return the keys in order."""
        with self._sorting:
            if self._sorted is None:
                self._sorted = sorted(self._objects)  # takes the keys in one step, which no thread can disturb
            return self._sorted

    def select(self, prefix: str, start_after: str) -> Iterator[str]:
        """Yield the keys that start with *prefix* and sort behind *start_after*, but for those gone meanwhile."""
        keys, objects = self.all(), self._objects
        begin = max(bisect.bisect_left(keys, prefix), bisect.bisect_right(keys, start_after))
        # Both ends are searched for: to ask each key whether it starts with the prefix takes three times as long.
        end = bisect.bisect_right(keys, prefix, begin, key=lambda key: key[: len(prefix)])
        for i in range(begin, end):
            key = keys[i]
            if key in objects:
                yield key
