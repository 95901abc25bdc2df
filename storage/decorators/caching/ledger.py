"""
`Ledger`: which entries of a cache may be used, and which results of the main store may become entries.

An entry is made in two steps: the object is read from the main store, then it is put into the cache. A write that
happens between the two makes the result old. So the ledger knows the reads of the main store, the puts into the cache
and the writes that are under way, and marks a read as old when its object is written. It forgets each when it ends.

A write deletes the entry of its object. If that fails, or if a put into the cache may end after it, the entry becomes a
*pending deletion*: the cache is not read for this key until the entry has been deleted.

A deletion that was tried removes only those pending deletions that were marked before it began: an entry that is marked
later may have been put later, too. For that the ledger counts the marks; the count is its time.

A write of unknown outcome may land later, when nobody can delete entries that were made in between. So its key is
*unsettled* for some minutes, in which it has no entry; then the deletion of its entry, which another process may have
made in a shared cache, is pending.

Nothing here waits, and several threads may use it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from enum import Enum, auto

from storage._concurrency.forks import renew_after_fork
from storage._concurrency.mutex import Mutex
from storage.decorators.caching.recent_keys import RecentKeys
from storage.decorators.caching.unsettled import Unsettled

__all__ = ["Ledger", "Reading", "Route"]

#: Pending deletions of single entries at most; beyond them the whole cache must be emptied. 10,000 keys take about a
#: megabyte, and so many failed deletions mean that the cache is down.
LIMIT = 10_000


class Route(Enum):
    """Where to read an object."""

    CACHE = auto()
    """In the cache, then in the main store."""
    MAIN = auto()
    """In the main store only: the entry in the cache may be old."""
    DELETE = auto()
    """In the main store, after deleting the entry, whose deletion is pending."""
    CLEAR = auto()
    """In the main store, after emptying the cache. One caller at a time gets this, and must call `emptied`."""
    MISSING = auto()
    """Nowhere: the main store is known not to have the object."""


class Reading:
    """
    A read of the main store.

    Attributes:
        key: the object.
        cacheable: whether the result may be put into the cache.
        current: whether the result may be given to callers that ask from now on. It may not if the object was being
            written when the read began, or has been written since.
    """

    __slots__ = ("cacheable", "current", "key")

    def __init__(self, key: str) -> None:
        self.key: str = key
        self.cacheable: bool = False
        self.current: bool = True


class Ledger:
    """
    The reads and writes of one cache that are under way, and its pending deletions.

    Args:
        missing: remembers keys that the main store does not have; None to remember none.
        known: what else is remembered of objects; it is forgotten when they are written.
    """

    def __init__(self, missing: RecentKeys | None, *known: RecentKeys | None) -> None:
        self._missing = missing
        self._known = [recent for recent in (missing, *known) if recent is not None]
        self._lock = Mutex()
        self._now = 0
        self._readings: dict[str, set[Reading]] = {}
        self._putting: Counter[str] = Counter()
        self._writing: Counter[str] = Counter()
        self._clearing: Counter[str] = Counter()
        self._pending: dict[str, int] = {}  # the time of each key's last mark
        self._all_pending: int | None = None  # the same for the whole cache
        self._emptying = False
        self._unsettled = Unsettled()
        renew_after_fork(self)

    def route(self, key: str) -> Route:
        """Return where to read the object."""
        with self._lock:
            return self._route(key)

    def now(self) -> int:
        """Return the ledger's time; a deletion that begins now removes what was marked until now."""
        with self._lock:
            return self._now

    # -- reads ---------------------------------------------------------------------------------------------------

    def read_begins(self, reading: Reading) -> None:
        """Record that a read of the main store begins; it lasts until `read_ends`."""
        with self._lock:
            # while the object is written, other readers may see the new version before this one finds the old one
            reading.current = not self._is_written(reading.key)
            reading.cacheable = (
                reading.current
                and self._all_pending is None
                and reading.key not in self._pending
                and (self._unsettled.empty or reading.key not in self._unsettled)
            )
            self._readings.setdefault(reading.key, set()).add(reading)

    def read_ends(self, reading: Reading) -> None:
        """Forget the read."""
        with self._lock:
            readings = self._readings.get(reading.key, set())
            readings.discard(reading)
            if not readings:
                self._readings.pop(reading.key, None)

    def found_missing(self, reading: Reading) -> None:
        """Record that the read found no object."""
        with self._lock:
            if self._missing is not None and reading.cacheable:
                self._missing.remember(reading.key)

    def put_begins(self, reading: Reading) -> bool:
        """Record that the result of a read is being put into the cache until `put_ends`; False if it must not be."""
        with self._lock:
            if reading.cacheable:
                self._putting[reading.key] += 1
            return reading.cacheable

    def put_ends(self, reading: Reading) -> bool:
        """Record that the put has ended, even with an error. Return whether its entry must be deleted again."""
        with self._lock:
            if not reading.cacheable:
                self._mark(reading.key)
            _decrement(self._putting, reading.key)
            return not reading.cacheable

    # -- writes --------------------------------------------------------------------------------------------------

    def write_begins(self, key: str) -> None:
        """Keep the object out of the cache until `write_ends`."""
        with self._lock:
            self._writing[key] += 1
            self._invalidate(key)

    def main_written(self, keys: Iterable[str]) -> None:
        """Record that the main store is written: results of reads that began before it are not for later callers."""
        with self._lock:
            for key in keys:
                self._invalidate(key)

    def write_ends(
        self, keys: Iterable[str], since: int, undeleted: Collection[str], unsettled: Collection[str] = ()
    ) -> None:
        """
        Record that a write has ended, and that the entries, but for *undeleted*, were deleted after *since*.

        The write of the *unsettled* keys may still take effect.
        """
        with self._lock:
            for key in keys:
                if key in unsettled:
                    self._unsettled.add(key)
                if key in undeleted:
                    self._mark(key)
                else:
                    self._unmark(key, since)
                _decrement(self._writing, key)

    def clear_begins(self, prefix: str) -> None:
        """Keep all objects below *prefix* out of the cache until `clear_ends`."""
        with self._lock:
            self._clearing[prefix] += 1
            self._invalidate_all(prefix)
            for recent in self._known:
                recent.clear()

    def main_cleared(self, prefix: str) -> None:
        """Record that the main store is cleared, as `main_written` does."""
        with self._lock:
            self._invalidate_all(prefix)

    def clear_ends(self, prefix: str, since: int, done: bool, *, unsettled: bool = False) -> None:
        """
        Record that a clear has ended, and whether all entries were deleted after *since*; else all are pending.

        If it is *unsettled*, it may still take effect.
        """
        with self._lock:
            if unsettled:
                self._unsettled.add_prefix(prefix)
            if done:
                self._unmark_all(prefix, since)
            else:
                self._mark_all()
            _decrement(self._clearing, prefix)

    # -- pending deletions ---------------------------------------------------------------------------------------

    def deleted(self, key: str, since: int) -> None:
        """Record that the entry was deleted after *since*."""
        with self._lock:
            self._unmark(key, since)

    def emptied(self, since: int, done: bool) -> None:
        """Record that `Route.CLEAR` was followed, and whether all entries were deleted after *since*."""
        with self._lock:
            self._emptying = False
            if done:
                self._unmark_all("", since)

    def pending_deletions(self) -> list[str] | None:
        """Return the keys whose entries must still be deleted; None if the whole cache must be."""
        with self._lock:
            return list(self._pending) if self._all_pending is None else None

    def _renew(self) -> None:
        """
        In a forked child: forget what the parent's tasks were doing, and use no entry that they may leave outdated.

        A fork may come between any two steps of a section; so a mark comes before what it replaces is removed.
        """
        interrupted, cleared = {*self._writing, *self._putting}, bool(self._clearing)
        self._readings.clear()
        self._putting.clear()
        self._writing.clear()
        self._clearing.clear()
        self._emptying = False
        for key in interrupted:
            self._invalidate(key)
            self._mark(key)
        if cleared:
            self._mark_all()
            for recent in self._known:
                recent.clear()

    # -- with the lock -------------------------------------------------------------------------------------------

    def _route(self, key: str) -> Route:
        if (self._writing or self._clearing) and self._is_written(key):
            return Route.MAIN
        if not self._unsettled.empty and self._is_unsettled(key):
            return Route.MAIN
        if self._missing is not None and key in self._missing:
            return Route.MISSING
        if self._all_pending is not None:
            if self._emptying:
                return Route.MAIN
            self._emptying = True
            return Route.CLEAR
        return Route.DELETE if key in self._pending else Route.CACHE

    def _is_written(self, key: str) -> bool:
        if key in self._writing:
            return True
        return bool(self._clearing) and any(key.startswith(prefix) for prefix in self._clearing)

    def _is_unsettled(self, key: str) -> bool:
        keys, prefixes = self._unsettled.settle()
        for each in keys:
            self._mark(each)
        if prefixes:
            self._mark_all()
        return key in self._unsettled

    def _invalidate(self, key: str) -> None:
        """Treat everything that is being read of the object, put into the cache or remembered as old."""
        for reading in self._readings.get(key, ()):
            reading.cacheable = reading.current = False
        if key in self._putting:
            self._mark(key)
        for recent in self._known:
            recent.forget(key)

    def _invalidate_all(self, prefix: str) -> None:
        for key in self._readings:
            if key.startswith(prefix):
                self._invalidate(key)

    def _mark(self, key: str) -> None:
        """Make the deletion of an entry pending."""
        self._now += 1
        self._pending[key] = self._now
        if len(self._pending) > LIMIT:
            self._mark_all()

    def _mark_all(self) -> None:
        self._now += 1
        self._all_pending = self._now
        self._pending = dict.fromkeys(self._putting, self._now)  # these puts may end after the cache has been emptied

    def _unmark(self, key: str, since: int) -> None:
        """Remove a pending deletion, unless it was marked after *since* or a put may still bring the entry back."""
        if key not in self._putting and self._pending.get(key, since) <= since:
            self._pending.pop(key, None)

    def _unmark_all(self, prefix: str, since: int) -> None:
        for key in [key for key in self._pending if key.startswith(prefix)]:
            self._unmark(key, since)
        if not prefix and self._all_pending is not None and self._all_pending <= since:
            self._all_pending = None


def _decrement(counter: Counter[str], key: str) -> None:
    """Count one down, and remove a count of zero; in a forked child it may be gone."""
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
