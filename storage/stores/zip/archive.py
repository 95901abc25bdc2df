"""
`Archive`: an open archive, to which records are appended. Its methods block, and may be called from several threads.

No current data is overwritten: an object, or the deletion of one, is a record at the end of the file. `flush` writes
the directory after the records, and later records follow it. So at any time the file is an archive with a tail of
records, and opening it restores the records of the tail, up to the first incomplete one.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from typing import NamedTuple

from storage._concurrency.mutex import Mutex
from storage._core.conditions import Target, WriteConditions
from storage._core.data import CHUNK
from storage._core.opened import OpenState
from storage._core.sorted_keys import SortedKeys
from storage.errors import CorruptObjectError, KeyNotFoundError, StorageError, StoreClosedError, StoreUnavailableError
from storage.stores.zip.changes import Change
from storage.stores.zip.content import CompressedData, Content
from storage.stores.zip.decoders import decoder_of
from storage.stores.zip.entry import DELETION, Entry, entry_of, key_of, kind_of
from storage.stores.zip.file import OpenFile, open_locked, sync_directory
from storage.stores.zip.format import (
    EMPTY,
    LOCAL,
    find_end,
    local_header_size,
    pack_central,
    pack_descriptor,
    pack_end,
    pack_local,
    parse_directory,
    parse_record,
)

__all__ = ["Archive", "StoredEntry"]


class StoredEntry(NamedTuple):
    """An object: its entry, and the file that contains it."""

    file: OpenFile
    entry: Entry


class Archive:
    """
    The archive at *path*, locked for this process; created if it is missing, repaired if its end is incomplete.

    Args:
        path: the file.
        sync: whether `commit` waits until its writes are on the disk.

    Attributes:
        objects: the objects by key, read-only; it may change at any time, one object at a time.
        listing: the keys in order.
        directory: the path of the archive's directory.

    Raises:
        CorruptObjectError: the file is no zip archive, or its directory is damaged; the file is not changed.
        StoreUnavailableError: another store has it open.
        OSError: the operating system reported an error; raised here and in every method.
    """

    def __init__(self, path: str, *, sync: bool) -> None:
        self._path, self._sync = os.path.realpath(path), sync
        self.directory: str = os.path.dirname(self._path)
        self._draft = os.path.join(self.directory, f".{os.path.basename(self._path)}.compacting")
        self.objects: dict[str, StoredEntry] = {}
        self._keyless: list[StoredEntry] = []  # entries whose names are no valid keys: kept for other programs
        self._queue: deque[Sequence[Change]] = deque()
        self._writing = Mutex()  # held during a write and its sync
        self.listing: SortedKeys = SortedKeys(self.objects)
        self.state: OpenState = OpenState(any_loop=True, after_fork="use it in the parent only")
        self._closed = self._name_synced = False
        self._file = open_locked(self._path)
        try:
            with suppress(FileNotFoundError):
                os.unlink(self._draft)  # left by a killed process
            self._load()
        except BaseException:
            self._file.unlock()
            raise

    # -- opening and closing -------------------------------------------------------------------------------------

    def _load(self) -> None:
        """Read the directory and the records after it."""
        size = self._file.size()
        if size < len(EMPTY) and EMPTY.startswith(self._file.read(size, 0)):
            size = self._file.write(EMPTY, 0)
            self._file.sync()
            self._sync_name()
        end = find_end(self._file.read, size)
        if end is None:
            raise CorruptObjectError(
                f"{self._path} is not a zip archive, or its end is missing; the file was not changed"
            )
        entries = parse_directory(self._file.read(end.size, end.start), end.start)
        if (len(entries) - end.length) % 0x10000:  # without zip64 the count has 16 bits
            raise CorruptObjectError(
                f"the directory of {self._path} has {len(entries)} entries, but its end record says {end.length}"
            )
        for entry in entries:
            key = key_of(entry)
            if key is None:
                self._keyless.append(StoredEntry(self._file, entry))
            else:
                self.objects[key] = StoredEntry(self._file, entry)
        self._comment = end.comment
        self._end = end.stop
        for key, entry in self._records():
            if kind_of(entry) == DELETION:
                self.objects.pop(key, None)
            else:
                self.objects[key] = StoredEntry(self._file, entry)
        self._changed = end.stop != size  # whether anything follows the directory
        self._synced = end.stop
        self._sync_uncertain = self._changed
        if self._changed and self._sync:
            self._rewrite_unsynced()  # the records may not be on the disk yet, and readers are about to see them
            self._file.sync()
            self._synced, self._sync_uncertain = self._end, False

    def _rewrite_unsynced(self) -> None:
        """
        Write again what may not be on the disk, if its sync may have failed.

        The system reports only once that bytes did not reach the disk. After that it treats them as written, and the
        next sync, also in another process, succeeds.
        """
        if self._sync_uncertain:
            for start in range(self._synced, self._end, CHUNK):
                self._file.write(self._file.read(min(CHUNK, self._end - start), start), start)

    def _sync_name(self) -> None:
        """Wait until the archive's name is on the disk; the process that created it may have been killed before."""
        if not self._name_synced:
            sync_directory(self.directory)
            self._name_synced = True

    def _records(self) -> Iterator[tuple[str, Entry]]:
        """Yield our records from `_end` on, which moves past each of them, up to the first incomplete one."""
        while length := local_header_size(self._file.read(LOCAL.size, self._end)):
            entry = parse_record(self._file.read(length, self._end), self._end)
            key = entry and key_of(entry)
            if entry is None or key is None or not self._is_complete(entry):
                return
            yield key, entry
            self._end += length + entry.compressed_size

    def _is_complete(self, entry: Entry) -> bool:
        """Return whether an entry's data is complete: after an interrupted write any page of it may be missing."""
        try:
            content = Content(self._file, entry)
            for start in range(0, entry.size, CHUNK):
                content.read(start, CHUNK)
        except CorruptObjectError:
            return False
        return True

    def close(self) -> None:
        """Write the directory and unlock the archive. Open readers go on."""
        try:
            self.flush()
        finally:
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
                    batch: list[Change] = []
                    while self._queue:
                        batch += self._queue.popleft()
                    self._write(batch)
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
        self._check_open()
        pending: dict[str, StoredEntry | None] = {}
        end = self._end
        try:
            for change in batch:
                end = self._write_one(change, pending, end)
            if self._sync and end > self._end:
                self._file.sync()
                self._sync_name()
                self._synced = end
        except BaseException as error:
            for change in batch:
                if change.error is None:
                    interrupted = StoreUnavailableError("the write was interrupted; try again")
                    change.error = error if isinstance(error, OSError) else interrupted
            with suppress(OSError):
                self._file.truncate(self._end)
            if not isinstance(error, OSError):
                raise
        else:
            self._end = end
            self._publish(pending)
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
            conditions.enforce(key, current and current.entry.etag, None)
            if change.entry is not None:
                found = StoredEntry(self._file, change.entry._replace(offset=end))
                end = self._file.append(chain([pack_local(found.entry)], change.compressed), end)
                pending[key] = found
            elif current is not None:
                end = self._file.append([pack_local(entry_of(key, DELETION))], end)
                pending[key] = None
        except (OSError, StorageError) as error:
            change.error = error
        return end

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
                self._check_not_replaced()
                self._rewrite_unsynced()
                self._sync_uncertain = True
                self._end = self._write_directory(self._file, self._end, chain(self._keyless, self.objects.values()))
                self._sync_name()
                self._synced, self._sync_uncertain, self._changed = self._end, False, False

    def compact(self) -> None:
        """
        Replace this archive atomically by a new one without outdated records; the data is copied compressed.

        Raises:
            CorruptObjectError: an entry is not where the directory says; the archive is not changed.
        """
        with self._writing:
            self._check_open()
            draft = OpenFile(self._draft)
            try:
                draft.lock()
                os.fchmod(draft.descriptor, stat.S_IMODE(os.fstat(self._file.descriptor).st_mode))
                everything = [*((None, found) for found in self._keyless), *self.objects.items()]
                moved: list[tuple[str | None, StoredEntry]] = []
                end = 0
                for key, (file, old) in sorted(everything, key=lambda item: item[1].entry.offset):
                    new = old._replace(offset=end)
                    moved.append((key, StoredEntry(draft, new)))
                    end = draft.append(chain([pack_local(new)], CompressedData(file, old), [pack_descriptor(new)]), end)
                end = self._write_directory(draft, end, [found for _, found in moved])
                os.rename(self._draft, self._path)
            except BaseException:
                os.unlink(self._draft)
                raise
            self._file, self._end, self._changed = draft, end, False
            self._synced, self._sync_uncertain, self._name_synced = end, False, False
            self._keyless = [found for key, found in moved if key is None]
            self.objects.update((key, found) for key, found in moved if key is not None)  # the same keys at new offsets
            self._sync_name()

    def _write_directory(self, file: OpenFile, start: int, everything: Iterable[StoredEntry]) -> int:
        """Write the directory of *everything* into *file* at *start*, and return the end of the archive."""
        headers = [pack_central(entry) for _, entry in everything]
        directory = b"".join(headers)
        stop = file.append([directory], start)
        # The end record refers to the directory, so it must not reach the disk before the directory.
        file.sync()
        stop = file.append([pack_end(start, len(directory), len(headers), self._comment)], stop)
        file.sync()
        return stop

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosedError("the store was closed meanwhile")
        self._check_not_replaced()

    def _check_not_replaced(self) -> None:
        if not os.fstat(self._file.descriptor).st_nlink:
            raise StoreUnavailableError(
                f"{self._path} was deleted or replaced while the store was open: open the store again"
            )
