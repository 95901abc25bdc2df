"""`Usage`: the objects of a bounded store in the order of their use. Nothing here awaits."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from types import TracebackType
from typing import NamedTuple, Self

from storage._concurrency.forks import renew_after_fork
from storage._concurrency.mutex import Mutex
from storage._core.outcomes import may_take_effect
from storage.types import ObjectInfo

__all__ = ["Entry", "Usage", "Write"]


class Entry(NamedTuple):
    """
    An object that is counted.

    Attributes:
        key: its key.
        size: its bytes; if several versions may be the current one, those of the largest.
        etag: the etag of the version; None if writes overlapped, so that the last one is not known.
    """

    key: str
    size: int
    etag: str | None


class Usage:
    """
    Counts the objects of a store and their bytes, and knows which are the least recently used ones.

    It may count an object that is gone, or too many bytes, if writes of one key overlap or their outcome is unknown;
    such an entry is not used and soon the oldest. It never counts too little. A call takes constant time, except for
    calls with many entries. Any thread may call.

    Args:
        max_count: maximum number of objects; None for no bound.
        max_bytes: maximum total size in bytes; None for no bound.

    Attributes:
        bounded: whether there is a bound; without one nothing is counted.
        counted: whether the objects that the store already had are counted.
    """

    def __init__(self, max_count: int | None, max_bytes: int | None) -> None:
        self.max_count = max_count
        self.max_bytes = max_bytes
        self.bounded: bool = max_count is not None or max_bytes is not None
        self.counted: bool = not self.bounded
        self._entries: OrderedDict[str, Entry] = OrderedDict()  # the most recently used one is last
        self._too_large: dict[str, None] = {}  # larger than max_bytes: deleted first, and no other for them
        self._bytes = 0
        self._writes: dict[str, _ConcurrentWrites] = {}
        self._leaving: Counter[str] = Counter()  # keys that are not counted, and whose objects are being deleted
        self._changed: set[str] | None = None  # while the store is counted again: the keys that change meanwhile
        self._lock = Mutex()
        renew_after_fork(self)

    def writing(self, key: str) -> Write:
        """Return a context manager for a put of this key."""
        return Write(self, key)

    def deleting(self, key: str) -> Write:
        """Return a context manager for an unconditional delete of this key."""
        return Write(self, key, deletes=True)

    def mark_used(self, key: str, info: ObjectInfo | None = None) -> None:
        """Record that an object was read. One that is not counted yet is counted now if its *info* is given."""
        if not self.bounded:
            return
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
            elif info is not None and key not in self._writes:  # a write that is running adds its own entry
                self._record(Entry(key, info.size, info.etag))

    def mark_removed(self, key: str, etag: str) -> None:
        """Record that this version of an object was deleted, and no other version."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None and entry.etag == etag:
                self._pop(key)

    def add_existing(self, entries: Iterable[Entry]) -> None:
        """Count the objects that the store already had, the latest used last; entries that exist are kept."""
        with self._lock:
            if not self.counted:
                self._add_oldest(entries)
                self.counted = True

    def begin_recount(self) -> bool:
        """Begin to count again what the store has; return False if another task does so already."""
        with self._lock:
            begins = self._changed is None
            if begins:
                self._changed = {*self._writes, *self._leaving}
            return begins

    def end_recount(self, found: Iterable[Entry]) -> float:
        """
        Replace the entries by those *found*, the latest written last; return the share that others have added.

        Entries that this process has changed meanwhile stay as they are. The rest keep their places in that order, and
        what other processes have put counts as used now.
        """
        with self._lock:
            changed, self._changed = self._changed, None
            if changed is None:  # it was reset
                return 0.0
            changed.update(self._writes)
            present: set[str] = set()
            count = size = 0
            for entry in found:
                present.add(entry.key)
                held = self._entries.get(entry.key)
                if entry.key in changed or held == entry:
                    continue
                if held is None:
                    self._record(entry)
                    count, size = count + 1, size + entry.size
                else:
                    self._replace(held, entry)
            for key in [key for key in self._entries if key not in present and key not in changed]:
                self._pop(key)
            return self.share(count, size)

    def cancel_recount(self) -> None:
        """Record that the recount has failed."""
        with self._lock:
            self._changed = None

    def share(self, count: int, size: int) -> float:
        """Return how much of the bounds so many objects of together so many bytes take: 1.0 is all of it."""
        shares = [0.0]
        if self.max_count is not None:
            shares.append(count / self.max_count)
        if self.max_bytes is not None:
            shares.append(size / self.max_bytes)
        return max(shares)

    def pop_surplus(self) -> list[Entry]:
        """
        Remove and return the entries over the bounds: those over max_bytes alone, then the least recently used.

        The caller deletes their objects, and then calls `end_eviction`: a recount meanwhile does not count them.
        """
        taken = []
        with self._lock:
            while self._entries and self._is_over():
                taken.append(self._pop(next(iter(self._too_large or self._entries))))
            self._leaving.update(entry.key for entry in taken)
        return taken

    def end_eviction(self, surplus: Iterable[Entry], left: Iterable[Entry]) -> None:
        """Record that *surplus* was deleted, and count those of it again that could not be, as the oldest ones."""
        with self._lock:
            self._leaving.subtract(entry.key for entry in surplus)
            self._leaving = +self._leaving
            self._add_oldest(left)

    def reset(self) -> None:
        """Remove all entries; the store is counted again before the next put."""
        with self._lock:
            self._reset()

    def _renew(self) -> None:
        """In a forked child: count again, if another thread was writing an object or changing the entries."""
        if not self._lock.owned and (self._writes or self._lock.interrupted):
            self._writes.clear()
            self._leaving.clear()
            self._reset()

    # -- with the lock held --------------------------------------------------------------------------------------

    def _reset(self) -> None:
        self._entries.clear()
        self._too_large.clear()
        self._bytes = 0
        self._changed = None
        self.counted = not self.bounded

    def _is_over(self) -> bool:
        return (self.max_count is not None and len(self._entries) > self.max_count) or (
            self.max_bytes is not None and self._bytes > self.max_bytes
        )

    def _record(self, entry: Entry) -> None:
        """Add or replace the entry of an object that is used now."""
        self._pop(entry.key)
        self._entries[entry.key] = entry
        self._bytes += entry.size
        if self.max_bytes is not None and entry.size > self.max_bytes:
            self._too_large[entry.key] = None

    def _replace(self, held: Entry, entry: Entry) -> None:
        """Replace the entry of an object by that of another version, which keeps its place."""
        self._entries[entry.key] = entry
        self._bytes += entry.size - held.size
        if self.max_bytes is not None and entry.size > self.max_bytes:
            self._too_large[entry.key] = None
        else:
            self._too_large.pop(entry.key, None)

    def _pop(self, key: str) -> Entry:
        if self._changed is not None:
            self._changed.add(key)
        entry = self._entries.pop(key, _NONE)
        self._bytes -= entry.size
        self._too_large.pop(key, None)
        return entry

    def _add_oldest(self, entries: Iterable[Entry]) -> None:
        for entry in reversed([entry for entry in entries if entry.key not in self._entries]):
            self._record(entry)
            self._entries.move_to_end(entry.key, last=False)


_NONE = Entry("", 0, None)


class _ConcurrentWrites:
    """The running writes of one key, and whether any two of them overlapped."""

    def __init__(self) -> None:
        self.running = 0
        self.overlapped = False


class Write:
    """
    A running put or delete of one key: a context manager that records its outcome.

    Attributes:
        size: the bytes of the put, as far as they are known.
        etag: the etag of the new object, once it is written.
    """

    def __init__(self, usage: Usage, key: str, *, deletes: bool = False) -> None:
        self.size = 0
        self.etag: str | None = None
        self._usage = usage
        self._key = key
        self._deletes = deletes

    def __enter__(self) -> Self:
        usage = self._usage
        if usage.bounded:
            with usage._lock:
                self._concurrent = usage._writes.setdefault(self._key, _ConcurrentWrites())
                self._concurrent.running += 1
                self._concurrent.overlapped |= self._concurrent.running > 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        usage = self._usage
        if usage.bounded:
            with usage._lock:
                self._concurrent.running -= 1
                if not self._concurrent.running and usage._writes.get(self._key) is self._concurrent:
                    del usage._writes[self._key]  # else it began before a fork
                if error is None or self.etag is not None or may_take_effect(error):
                    certain = not self._concurrent.overlapped and (error is None or self.etag is not None)
                    self._record_in(usage, certain=certain)

    def _record_in(self, usage: Usage, *, certain: bool) -> None:
        """Record what the write did, or what it may have done if that is not *certain*."""
        if self._deletes:
            if certain:
                usage._pop(self._key)
            return
        held = usage._entries.get(self._key, _NONE)
        if certain:
            usage._record(Entry(self._key, self.size, self.etag))
        else:
            usage._record(Entry(self._key, max(self.size, held.size), None))
