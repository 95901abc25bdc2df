"""
`Ledger`: which entries of a cache may answer, and which answers of the main store may become entries.

An object is read from the main store and then put into the cache, and in between it may be written: what would be put
is then old. So the ledger knows the reads, the puts into the cache and the writes that are under way, and nothing of
them when they are over. An entry that has to be deleted and could not be is *owed*; until that is done the cache is
not asked for it.

Nothing here waits, and several threads may use it.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Iterable
from enum import Enum, auto

from storage.decorators.caching.recent_keys import Recent

__all__ = ["Ledger", "Reading", "Way"]

#: Deletions of single entries that are owed at most; beyond them the whole cache has to be emptied. 10,000 keys are
#: about a megabyte, and so many failed deletions mean that the cache is down rather than unlucky.
LIMIT = 10_000


class Way(Enum):
    """How to read an object."""

    CACHE = auto()
    """Ask the cache, then the main store."""
    MAIN = auto()
    """Ask the main store only: what the cache has may be old."""
    DELETE = auto()
    """Delete the owed entry first."""
    CLEAR = auto()
    """Empty the cache first, as is owed: whoever is told so must report it by `emptied`."""
    MISSING = auto()
    """There is no such object, as far as is known."""


class Reading:
    """
    A read of the main store.

    Attributes:
        key: the object.
        fits: whether what is found may go into the cache.
        current: whether it may answer who asks now: nothing is being written, or has been since it began.
    """

    __slots__ = ("current", "fits", "key")

    def __init__(self, key: str) -> None:
        self.key: str = key
        self.fits: bool = False
        self.current: bool = True


class Ledger:
    """
    The reads and writes of one cache that are under way, and what it owes.

    Args:
        missing: where keys are remembered that the main store does not have; None to remember none.
        known: what else is known of objects until they are written.
    """

    def __init__(self, missing: Recent | None, *known: Recent | None) -> None:
        self._missing = missing
        self._known = [recent for recent in (missing, *known) if recent is not None]
        self._lock = threading.Lock()
        self._now = 0
        self._readings: dict[str, set[Reading]] = {}
        self._putting: Counter[str] = Counter()
        self._writing: Counter[str] = Counter()
        self._clearing: Counter[str] = Counter()
        self._owed: dict[str, int] = {}  # the moment at which the entry was last found to be owed
        self._owed_all: int | None = None
        self._emptying = False

    def way(self, key: str) -> Way:
        """Return how to read the object."""
        with self._lock:
            return self._way(key)

    def now(self) -> int:
        """Return this moment; what is deleted from now on settles what was owed before."""
        with self._lock:
            return self._now

    # -- reads ---------------------------------------------------------------------------------------------------

    def read_begins(self, reading: Reading) -> None:
        """Follow a read of the main store, until `read_ends`."""
        with self._lock:
            # of what is being written others may see the new version while this read still finds the old one
            reading.current = not self._is_written(reading.key)
            reading.fits = reading.current and self._owed_all is None and reading.key not in self._owed
            self._readings.setdefault(reading.key, set()).add(reading)

    def read_ends(self, reading: Reading) -> None:
        """Forget the read."""
        with self._lock:
            readings = self._readings[reading.key]
            readings.discard(reading)
            if not readings:
                del self._readings[reading.key]

    def found_missing(self, reading: Reading) -> None:
        """Say that the read found no object."""
        with self._lock:
            if self._missing is not None and reading.fits:
                self._missing.remember(reading.key)

    def put_begins(self, reading: Reading) -> bool:
        """Say that what was read is about to be put into the cache, until `put_ends`; False where it must not be."""
        with self._lock:
            if reading.fits:
                self._putting[reading.key] += 1
            return reading.fits

    def put_ends(self, reading: Reading) -> bool:
        """Say that the put is over, however it ended, and return whether its entry must go again."""
        with self._lock:
            _less(self._putting, reading.key)
            if not reading.fits:
                self._owe(reading.key)
            return not reading.fits

    # -- writes --------------------------------------------------------------------------------------------------

    def write_begins(self, key: str) -> None:
        """Keep the object out of the cache until `write_ends`."""
        with self._lock:
            self._writing[key] += 1
            self._spoil(key)

    def written(self, keys: Iterable[str]) -> None:
        """Say that the main store has done its part: reads that began before may answer nobody who asks from now on."""
        with self._lock:
            for key in keys:
                self._spoil(key)

    def write_ends(self, keys: Iterable[str], since: int, undeleted: Collection[str]) -> None:
        """Say that the entries were deleted after the write, beginning at the moment *since*, but for *undeleted*."""
        with self._lock:
            for key in keys:
                _less(self._writing, key)
                if key in undeleted:
                    self._owe(key)
                else:
                    self._settle(key, since)

    def clear_begins(self, prefix: str) -> None:
        """Keep all objects below *prefix* out of the cache until `clear_ends`."""
        with self._lock:
            self._clearing[prefix] += 1
            self._spoil_all(prefix)
            for recent in self._known:
                recent.clear()

    def cleared(self, prefix: str) -> None:
        """Say that the main store has done its part, as `written` does."""
        with self._lock:
            self._spoil_all(prefix)

    def clear_ends(self, prefix: str, since: int, done: bool) -> None:
        """Note the end of a clear that began at *since*; unless *done*, all of the cache must still be deleted."""
        with self._lock:
            _less(self._clearing, prefix)
            if done:
                self._settle_all(prefix, since)
            else:
                self._owe_all()

    # -- what is owed --------------------------------------------------------------------------------------------

    def deleted(self, key: str, since: int) -> None:
        """Say that the entry was deleted, beginning at the moment *since*."""
        with self._lock:
            self._settle(key, since)

    def emptied(self, since: int, done: bool) -> None:
        """Return whether the cache was emptied, beginning at the moment *since*."""
        with self._lock:
            self._emptying = False
            if done:
                self._settle_all("", since)

    def owed(self) -> list[str] | None:
        """Return the keys whose entries are owed; None where the whole cache is."""
        with self._lock:
            return list(self._owed) if self._owed_all is None else None

    # -- with the lock -------------------------------------------------------------------------------------------

    def _way(self, key: str) -> Way:
        if self._is_written(key):
            return Way.MAIN
        if self._missing is not None and key in self._missing:
            return Way.MISSING
        if self._owed_all is not None:
            if self._emptying:
                return Way.MAIN
            self._emptying = True
            return Way.CLEAR
        return Way.DELETE if key in self._owed else Way.CACHE

    def _is_written(self, key: str) -> bool:
        if key in self._writing:
            return True
        return bool(self._clearing) and any(key.startswith(prefix) for prefix in self._clearing)

    def _spoil(self, key: str) -> None:
        """What is read of the object now is old."""
        for reading in self._readings.get(key, ()):
            reading.fits = reading.current = False
        if key in self._putting:
            self._owe(key)
        for recent in self._known:
            recent.forget(key)

    def _spoil_all(self, prefix: str) -> None:
        for key in self._readings:
            if key.startswith(prefix):
                self._spoil(key)

    def _owe(self, key: str) -> None:
        self._now += 1
        self._owed[key] = self._now
        if len(self._owed) > LIMIT:
            self._owe_all()

    def _owe_all(self) -> None:
        self._now += 1
        self._owed_all = self._now
        self._owed = dict.fromkeys(self._putting, self._now)  # they may land when all else is gone

    def _settle(self, key: str, since: int) -> None:
        if key not in self._putting and self._owed.get(key, since) <= since:
            self._owed.pop(key, None)

    def _settle_all(self, prefix: str, since: int) -> None:
        for key in [key for key in self._owed if key.startswith(prefix)]:
            self._settle(key, since)
        if not prefix and self._owed_all is not None and self._owed_all <= since:
            self._owed_all = None


def _less(counter: Counter[str], key: str) -> None:
    """Count one down, and keep no zeros."""
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
