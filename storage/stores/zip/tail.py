"""`Tail`: the end of an archive's file, to which records and directories are appended."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import suppress

from storage._core.directory_sync import sync_directory
from storage.errors import StorageError
from storage.stores.zip.directory import Directory
from storage.stores.zip.entry import Entry
from storage.stores.zip.file import OpenFile
from storage.stores.zip.place import Place
from storage.stores.zip.slices import finished

__all__ = ["Tail"]


class Tail:
    """
    Where an archive's file ends, and how much of it is known to be on the disk.

    A write that is interrupted, at any moment, leaves bytes of which it is known how far they reach at most. They are
    removed before the next write; no other bytes are.

    Args:
        file: the file.
        place: where it is.
        end: the offset after the last record or directory.
        size: the size of the file.
        synced: up to where the file is on the disk, for certain.
        is_ours: whether what is between *end* and *size* is ours, so that it may be overwritten.

    Attributes:
        end: as above; `acknowledge` and `write_directory` move it.
    """

    def __init__(self, file: OpenFile, place: Place, *, end: int, size: int, synced: int, is_ours: bool) -> None:
        self._file, self._place = file, place
        self.end: int = end
        self._size, self._synced, self._is_ours = size, synced, is_ours
        self._reach = size  # how far a write of ours may have come
        self._may_have_failed = synced < end  # a sync, of this process or of one before
        self._name_synced = False

    def check(self) -> None:
        """
        Raise unless the path leads to the file, and its size is what the archive has made it.

        Raises:
            StoreUnavailableError: the file was deleted, moved away, replaced, or written by another program.
        """
        size = self._place.size_of(self._file)
        if size != self._size:
            least = self.end if self._is_ours else self._size
            if not least <= size <= max(self._size, self._reach):
                raise self._place.changed(size, self._size)
            self._size = size  # by a write of ours that was interrupted, or by what removed it

    @property
    def is_blocked(self) -> bool:
        """Whether bytes that may not be ours follow. A record after them would not be found without a directory."""
        return self._size > self.end and not self._is_ours

    def clear(self) -> None:
        """Remove what a failed or killed write of ours has left."""
        if self._size > self.end and self._is_ours:
            self._file.truncate(self.end)
        if self._is_ours:
            self._size = self._reach = self.end

    def append(self, pieces: Iterable[bytes], length: int, end: int) -> int:
        """
        Write a record of *length* bytes at *end*, which `acknowledge` then takes over, and return its end.

        Raises:
            StorageError: the pieces have another length.
        """
        self._reach = stop = end + length
        try:
            if self._file.append(pieces, end) == stop:
                return stop
            raise StorageError("the data to write has another size than its header says")
        except (OSError, StorageError):
            with suppress(OSError):
                self._file.truncate(end)
            raise

    def acknowledge(self, end: int, *, sync: bool) -> None:
        """
        Take over the records up to *end*; with *sync* they are on the disk when this returns.

        Raises:
            StoreUnavailableError: as in `check`, for the time after the records were written.
        """
        if sync:
            self._file.sync()
            self.sync_name()
        size = self._place.size_of(self._file)
        if size != end:
            raise self._place.changed(size, end)
        if sync:
            self._synced = end
        self.end = end
        self._size = self._reach = end

    def cut_off(self) -> None:
        """Remove what was written and not acknowledged; if that fails, or is interrupted, `clear` does it."""
        with suppress(OSError):
            if self._file.size() <= self._reach:
                self._file.truncate(self.end)
                self._size = self._reach = self.end

    def write_directory(self, entries: Iterable[Entry], comment: bytes) -> None:
        """Write a directory at the end of the file, and wait until it is on the disk."""
        self.clear()
        directory = Directory.of(entries, self._size, comment)
        finished(self.rewrite())
        self._may_have_failed = True
        self._reach = directory.stop
        try:
            directory.write(self._file)
            self.sync_name()
            size = self._place.size_of(self._file)
            if size != directory.stop:
                raise self._place.changed(size, directory.stop)
        except (OSError, StorageError):
            with suppress(OSError):
                if self._file.size() <= self._reach:
                    self._file.truncate(directory.start)
            raise
        self.end = self._synced = self._reach
        self._size, self._is_ours, self._may_have_failed = self._reach, True, False

    def rewrite(self) -> Generator[None, None, None]:
        """Write again, in steps, what may not be on the disk, if its sync may have failed."""
        if self._may_have_failed:
            yield from self._file.rewrite(self._synced, self.end)

    def recover(self) -> Generator[None, None, None]:
        """Bring to the disk, in steps, the records that a killed process has left: they may be in memory only."""
        self.check()
        yield from self.rewrite()
        self._file.sync()
        self._synced, self._may_have_failed = self.end, False

    def sync_name(self) -> None:
        """Wait until the archive's name is on the disk; the process that created it may have been killed before."""
        if not self._name_synced:
            sync_directory(self._place.directory)
            self._name_synced = True
