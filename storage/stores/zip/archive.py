"""
`Archive`: an open archive, to which records are appended. Its methods block, and may be called from several threads.

No current data is overwritten: an object, or the deletion of one, is a record at the end of the file. `flush` writes
the directory after the records, and later records follow it. So at any time the file is an archive with a tail of
records, and opening it restores the records of the tail, up to the first incomplete one.

Other programs do not know of the lock. So before a write, and again before it is acknowledged, the path must lead to
the open file, with the size that the archive made it. Bytes that are not known to be ours are never cut off: a new
directory is written after them.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from itertools import chain

from storage._concurrency.mutex import Mutex
from storage._concurrency.stepping import is_stepping
from storage._core.conditions import Target, WriteConditions
from storage._core.directory_sync import sync_directory
from storage._core.opened import OpenState
from storage._core.sorted_keys import SortedKeys
from storage.errors import (
    KeyConflictError,
    KeyNotFoundError,
    ReentrantCallError,
    StorageError,
    StoreClosedError,
    StoreUnavailableError,
    UnsupportedOperationError,
)
from storage.stores.zip.changes import Change
from storage.stores.zip.content import CompressedData, StoredEntry, crc_of_compressed
from storage.stores.zip.decoders import decoder_of
from storage.stores.zip.drafts import Draft, remove_leftovers
from storage.stores.zip.entry import DELETION, Entry, entry_of
from storage.stores.zip.file import open_locked
from storage.stores.zip.format import EMPTY, pack_local
from storage.stores.zip.harmless import harmless
from storage.stores.zip.loading import load
from storage.stores.zip.place import Place
from storage.stores.zip.slices import finished
from storage.stores.zip.tail import Tail

__all__ = ["Archive", "StoredEntry"]

#: What `compact` may copy while writes wait, in bytes; and how often it tries to have no more left.
_LAST_ROUND, _ROUNDS = 1 << 23, 10


class _Compaction:
    """A compaction that is at work, in the thread of that number if in one; no interrupt can make it last for ever."""

    __slots__ = ("__weakref__", "thread")

    def __init__(self, thread: int) -> None:
        self.thread = thread


def _none() -> None:
    """Return None, as a reference to an object that does not exist any more does."""


class Archive:
    """
    The archive at *path*, locked for this process; created if it is missing. What a killed writer left is restored.

    Args:
        path: the file.
        sync: whether `commit` waits until its writes are on the disk.
        load: False if the caller loads the archive, by `load`.

    Attributes:
        objects: the objects by key, read-only; it may change at any time, one object at a time.
        listing: the keys in order.
        directory: the path of the archive's directory.

    Raises:
        CorruptObjectError: the file is no zip archive, or its directory is damaged; the file is not changed.
        StoreUnavailableError: another store has it open.
        OSError: the operating system reported an error; raised here and in every method.
    """

    def __init__(self, path: str, *, sync: bool, load: bool = True) -> None:
        self._place, self._sync = Place(path), sync
        self.directory: str = self._place.directory
        self.objects: dict[str, StoredEntry] = {}
        self._keyless: list[StoredEntry] = []  # entries whose names are no valid keys: kept for other programs
        self._queue: deque[Sequence[Change]] = deque()
        self._writing = Mutex()  # held during a write and its sync
        self._compacting: Callable[[], _Compaction | None] = _none  # the one at work, as long as it exists
        self._lookalikes: dict[bytes, str | None] = {}
        self.listing: SortedKeys = SortedKeys(self.objects)
        self.state: OpenState = OpenState(any_loop=True, after_fork="use it in the parent only")
        self._closed = self._changed = False
        self._comment, self._read_only, self._begin = b"", "", 0
        self._file = open_locked(self._place.path)
        self._file.must_sync = sync
        if load:
            try:
                finished(self.load())
            except BaseException:
                self.abandon()
                raise

    # -- opening and closing -------------------------------------------------------------------------------------

    def load(self) -> Generator[None, None, None]:
        """Read the directory and the records after it, in steps; `abandon` the archive if they are not completed."""
        size = self._file.size()
        beginning = self._file.read(len(EMPTY), 0) if size < len(EMPTY) else b""
        if size < len(EMPTY) and len(beginning) == size and EMPTY.startswith(beginning):
            size = self._file.write(EMPTY[size:], size)  # its creation was interrupted, or is this one
            self._file.sync()
            sync_directory(self.directory)
        found = yield from load(self._file, self._place.path, size)
        self.objects.update((key, StoredEntry(self._file, entry)) for key, entry in found.objects.items())
        self._keyless = [StoredEntry(self._file, entry) for entry in found.keyless]
        self._lookalikes, self._comment, self._read_only = found.lookalikes, found.comment, found.read_only
        self._begin, end = found.begin, found.end
        is_ours = found.covered >= size
        self._tail = Tail(self._file, self._place, end=end, size=size, synced=found.directory_stop, is_ours=is_ours)
        remove_leftovers(self._place.path, self._file, self._begin)
        self._changed = end > found.directory_stop and not self._read_only
        if self._changed and self._sync:
            yield from self._tail.recover()

    def close(self) -> None:
        """Write the directory and unlock the archive. Open readers go on."""
        try:
            self.flush()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Unlock the archive and leave it as it is."""
        with self._writing:
            self._closed = True
            self._file.unlock()

    # -- reading -------------------------------------------------------------------------------------------------

    def find(self, key: str) -> StoredEntry:
        """
        Return the object *key*.

        Raises:
            KeyNotFoundError: there is none.
        """
        found = self.objects.get(key)
        if found is None:
            raise KeyNotFoundError(key)
        return found

    # -- writing -------------------------------------------------------------------------------------------------

    def commit(self, changes: Sequence[Change]) -> None:
        """
        Make all changes, each of them completely or not at all, and set the result of each.

        Threads that arrive while another one writes wait; then one of them writes for all, so that they share a sync.
        """
        self._queue.append(changes)
        try:
            with self._writing:
                if not all(change.processed for change in changes):
                    waiting = list(self._queue)
                    self._write([change for each in waiting for change in each])
                    for _ in waiting:  # not before: an interruption must leave the changes of others in the queue
                        self._queue.popleft()
        except BaseException:
            with suppress(ValueError):
                self._queue.remove(changes)  # interrupted while it waited: it must not be written later
            raise

    def commit_one(self, change: Change) -> str:
        """Make one change and return the etag of the new version, or raise its error."""
        self.commit([change])
        return change.result()

    def copy(self, source: str, target: str, *, if_absent: bool, move: bool) -> str:
        """
        Copy the compressed data of an object, or rename it, and return the etag of the new version.

        Raises:
            KeyNotFoundError: there is no object *source*.
        """
        with self._writing:
            file, entry = self.find(source)
            decoder_of(entry)  # raises for an entry that cannot be read, so not copied either: an encrypted one
            new = entry_of(
                target,
                method=entry.method,
                crc=entry.crc,
                compressed_size=entry.compressed_size,
                size=entry.size,
                flags=entry.flags,
                attributes=entry.attributes,
                compressed_crc=crc_of_compressed(file, entry),
            )
            put = Change(Target(target, None, WriteConditions(if_absent)), new, CompressedData(file, entry))
            self._write([put, Change(Target(source), after=put)] if move else [put])
        return put.result()

    def clear(self, prefix: str) -> list[Change]:
        """Delete every object whose key starts with *prefix*."""
        with self._writing:
            changes = [Change(Target(key)) for key in self.listing.select(prefix, "")]
            self._write(changes)
        return changes

    def _write(self, batch: Sequence[Change]) -> None:
        """Append the records of the changes, sync them to the disk, and only then show them to readers."""
        batch = [change for change in batch if not change.processed]
        self._check_writable()
        self._tail.clear()
        if self._tail.is_blocked:
            self._write_directory()
        pending: dict[str, StoredEntry | None] = {}
        begin = end = self._tail.end
        try:
            for change in batch:
                end = self._write_one(change, pending, end)
            if end > begin:
                self._tail.acknowledge(end, sync=self._sync)
                self._publish(pending)
        except BaseException as error:
            if self._tail.end == end > begin:
                self._publish(pending)  # interrupted in it
            else:
                why = error.message if isinstance(error, StorageError) else "the write was interrupted; try again"
                kind = type(error) if isinstance(error, UnsupportedOperationError) else StoreUnavailableError
                for change in batch:
                    if change.error is None:
                        change.error = error if isinstance(error, OSError) else kind(why)
                self._tail.cut_off()
            if not isinstance(error, OSError | StorageError):
                raise
        finally:
            for change in batch:
                change.processed = True

    def _write_one(self, change: Change, pending: dict[str, StoredEntry | None], end: int) -> int:
        """Append the record of one change at *end*, after those *pending*, and return the end of it."""
        key, _, conditions, _ = change.target
        current = pending[key] if key in pending else self.objects.get(key)
        try:
            if change.after is not None and change.after.error is not None:
                raise change.after.error
            if conditions:
                conditions.enforce(key, current and current.entry.etag, None)
            if change.entry is not None:
                if self._lookalikes:
                    self._check_name(key, pending)
                change.entry, compressed = harmless(change, end)
                found = StoredEntry(self._file, change.entry._replace(offset=end))
                header = pack_local(found.entry)
                length = len(header) + found.entry.compressed_size
                end = self._tail.append(chain([header], compressed), length, end)
                pending[key] = found
            elif current is not None:
                header = pack_local(entry_of(key, DELETION))
                end = self._tail.append([header], len(header), end)
                pending[key] = None
        except (OSError, StorageError) as error:
            change.error = error
        return end

    def _check_name(self, key: str, pending: dict[str, StoredEntry | None]) -> None:
        """Raise if an entry has the same name, byte for byte, which is another key or none by its encoding."""
        name = key.encode()
        other = self._lookalikes.get(name, key)
        if other == key:
            return
        if other is None:
            raise KeyConflictError("the archive has an entry of this name that is no object: choose another key")
        found = pending[other] if other in pending else self.objects.get(other)
        if found is not None and found.entry.name == name:
            raise KeyConflictError(f"in another encoding the name is that of the key {other!r}: delete that one first")

    def _publish(self, changes: dict[str, StoredEntry | None]) -> None:
        others = any((found is None) == (key in self.objects) for key, found in changes.items())
        for key, found in changes.items():
            if found is None:
                self.objects.pop(key, None)
            else:
                self.objects[key] = found
            self._changed = True
        if others:  # a key was added or deleted
            self.listing.invalidate()

    # -- the directory -------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write the directory, if anything has changed, so that other programs can read the archive."""
        with self._writing:
            if self._changed and not self._closed:
                self._tail.check()
                self._write_directory()

    def _write_directory(self) -> None:
        everything = chain(self._keyless, self.objects.values())
        self._tail.write_directory((entry for _, entry in everything), self._comment)
        self._changed = False

    def compact(self) -> None:
        """Do all of `compaction` at once."""
        finished(self.compaction())

    def compaction(self) -> Generator[None, None, None]:
        """
        Replace this archive atomically by a new one without outdated records, in steps; the data is copied compressed.

        Writes wait for the last step only: what they have changed before is copied, too.

        Raises:
            CorruptObjectError: an entry is not where the directory says, or entries overlap; the archive is not
                changed.
        """
        mine = _Compaction(threading.get_ident() if is_stepping() else 0)  # else several threads do it by turns
        while (other := self._claim(mine)) is not None:
            if other.thread == threading.get_ident():
                raise ReentrantCallError("compact was called while the same thread is compacting: call it afterwards")
            del other
            time.sleep(0.02)
            yield
        try:
            with self._writing:
                self._check_writable()
            remove_leftovers(self._place.path, self._file, self._begin)
            draft = Draft(self._place.path, self._file, self._begin)
            try:
                yield from draft.prepare(self._missing(draft), self._tail)
                for _ in range(_ROUNDS):
                    missing = self._missing(draft)
                    yield from draft.add(missing)
                    draft.file.sync()
                    if sum(entry.compressed_size for entry in missing) <= _LAST_ROUND:
                        break
                with self._writing:
                    self._check_writable()
                    finished(draft.add(self._missing(draft)))
                    self._replace_by(draft)
            finally:
                draft.close()
        finally:
            self._compacting = _none

    def _claim(self, mine: _Compaction) -> _Compaction | None:
        """Let this be the only compaction, or return the one that is at work."""
        with self._writing:
            other = self._compacting()
            if other is None:
                self._compacting = weakref.ref(mine)
            return other

    def _missing(self, draft: Draft) -> list[Entry]:
        """Return the entries that the draft does not have yet."""
        everything = chain(self._keyless, list(self.objects.values()))  # the list is made in one step
        return [entry for _, entry in everything if entry not in draft.entries]

    def _replace_by(self, draft: Draft) -> None:
        """Let the draft, which has all objects, take the place of the file."""
        keyless = [draft.entries[entry] for _, entry in self._keyless]
        objects = {key: draft.entries[entry] for key, (_, entry) in self.objects.items()}
        end = draft.finish(chain(keyless, objects.values()), self._comment)
        tail = Tail(draft.file, self._place, end=end, size=end, synced=end, is_ours=True)
        current = {key: StoredEntry(draft.file, entry) for key, entry in objects.items()}
        self._tail.check()
        old = self._file
        try:
            draft.publish()
        finally:
            try:
                self._switch(draft, tail, current, keyless)
            except BaseException:  # Ctrl-C: half of it would be worse than none
                self._switch(draft, tail, current, keyless)
                raise
        old.unlock()
        tail.sync_name()

    def _switch(self, draft: Draft, tail: Tail, objects: dict[str, StoredEntry], keyless: list[Entry]) -> None:
        """Use the draft from now on, if it was published."""
        if draft.is_published:
            self.objects.update(objects)
            self._keyless = [StoredEntry(draft.file, entry) for entry in keyless]
            self._file, self._tail, self._begin, self._changed = draft.file, tail, draft.begin, False

    def _check_writable(self) -> None:
        if self._closed:
            raise StoreClosedError("the store was closed meanwhile")
        if self._read_only:
            raise UnsupportedOperationError(self._read_only)
        self._tail.check()
