"""What a bounded store holds, in the order of use: bookkeeping without a single await."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from types import TracebackType
from typing import NamedTuple, Self

from storage.errors import MirrorError, OutcomeUnknownError, StorageError
from storage.types import ObjectInfo

__all__ = ["Entry", "Usage", "Write"]


class Entry(NamedTuple):
    """
    An object that counts.

    Attributes:
        key: its key.
        size: its bytes; of several versions that may be the current one, the largest.
        etag: the version, or None where writes overlapped and nobody here knows which of them came last.
    """

    key: str
    size: int
    etag: str | None


class Usage:
    """
    Counts the objects of a store and their bytes, and says which were not used for longest.

    It may count an object that is gone, and too many bytes, when writes of one key overlap or end in doubt; such
    an entry is not used and soon the oldest. It never counts too little. Each call takes a time that does not depend on
    how much is counted, but for those about many entries. Any thread may call.

    Args:
        max_count: objects to hold at most; None for any number.
        max_bytes: bytes to hold at most; None for any number.

    Attributes:
        bounded: whether there is a bound; without one nothing is counted.
        counted: whether what the store held before is counted in.
    """

    def __init__(self, max_count: int | None, max_bytes: int | None) -> None:
        self.max_count = max_count
        self.max_bytes = max_bytes
        self.bounded: bool = max_count is not None or max_bytes is not None
        self.counted: bool = not self.bounded
        self._entries: OrderedDict[str, Entry] = OrderedDict()  # that of the latest use is the last
        self._too_large: dict[str, None] = {}  # those that have to go, and for which no other is to make way
        self._bytes = 0
        self._writes: dict[str, _ConcurrentWrites] = {}
        self._lock = threading.Lock()

    def writing(self, key: str) -> Write:
        """Return a context manager to put an object of this key in."""
        return Write(self, key)

    def deleting(self, key: str) -> Write:
        """Return a context manager to delete the object of this key in, whatever its version."""
        return Write(self, key, deletes=True)

    def mark_used(self, key: str, info: ObjectInfo | None = None) -> None:
        """Say that an object is read; one that is not known yet is counted in, if its description is given."""
        if not self.bounded:
            return
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
            elif info is not None and key not in self._writes:  # of a write that is under way there will be an entry
                self._record(Entry(key, info.size, info.etag))

    def mark_removed(self, key: str, etag: str) -> None:
        """Say that this version of an object, and no other, was deleted."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None and entry.etag == etag:
                self._pop(key)

    def add_existing(self, entries: Iterable[Entry]) -> None:
        """Count in what the store held before, the latest used last; what is known already is known better."""
        with self._lock:
            if not self.counted:
                self._add_oldest(entries)
                self.counted = True

    def pop_surplus(self) -> list[Entry]:
        """Take out and return what is over the bounds: what was not used for longest, and what no bound allows."""
        taken = []
        with self._lock:
            while self._entries and self._is_over():
                taken.append(self._pop(next(iter(self._too_large or self._entries))))
        return taken

    def restore(self, entries: Iterable[Entry]) -> None:
        """Count again what was taken out and could not be deleted, as the next to go."""
        with self._lock:
            self._add_oldest(entries)

    def reset(self) -> None:
        """Know nothing of the store any more."""
        with self._lock:
            self._entries.clear()
            self._too_large.clear()
            self._bytes = 0
            self.counted = not self.bounded

    # -- with the lock held --------------------------------------------------------------------------------------

    def _is_over(self) -> bool:
        return (self.max_count is not None and len(self._entries) > self.max_count) or (
            self.max_bytes is not None and self._bytes > self.max_bytes
        )

    def _record(self, entry: Entry) -> None:
        """Count an object that is being used, in place of what was known of it."""
        self._pop(entry.key)
        self._entries[entry.key] = entry
        self._bytes += entry.size
        if self.max_bytes is not None and entry.size > self.max_bytes:
            self._too_large[entry.key] = None

    def _pop(self, key: str) -> Entry:
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
    """The writes of one key that are under way, and whether any two of them overlapped."""

    def __init__(self) -> None:
        self.under_way = 0
        self.overlapped = False


class Write:
    """
    A put or delete of one key, for as long as it is under way.

    Attributes:
        size: bytes that a put brings, as far as they are known.
        etag: of the new object, once it is there.
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
                self._concurrent.under_way += 1
                self._concurrent.overlapped |= self._concurrent.under_way > 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        usage = self._usage
        if usage.bounded:
            with usage._lock:
                self._concurrent.under_way -= 1
                if not self._concurrent.under_way:
                    del usage._writes[self._key]
                if error is None or self.etag is not None or _in_doubt(error):
                    certain = not self._concurrent.overlapped and (error is None or self.etag is not None)
                    self._record_in(usage, certain=certain)

    def _record_in(self, usage: Usage, *, certain: bool) -> None:
        """Count what the write did; where it is not certain, what it may have done."""
        if self._deletes:
            if certain:
                usage._pop(self._key)
            return
        held = usage._entries.get(self._key, _NONE)
        if certain:
            usage._record(Entry(self._key, self.size, self.etag))
        else:
            usage._record(Entry(self._key, max(self.size, held.size), None))


def _in_doubt(error: BaseException) -> bool:
    """Return whether a write that ended so may have taken effect: cancelled, without an answer, or in part."""
    if isinstance(error, StorageError):
        return error.retryable or isinstance(error, OutcomeUnknownError | MirrorError)
    return not isinstance(error, Exception)
