"""The file of an archive: locked by one writer, and open until the last reader is gone."""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Generator, Iterable
from contextlib import suppress

from storage._concurrency.forks import renew_after_fork
from storage._core.data import CHUNK
from storage._core.descriptors import Descriptor
from storage._core.file_sync import fsync_file
from storage._core.writing import write_all
from storage.errors import CorruptObjectError, StoreUnavailableError, UnsupportedOperationError
from storage.stores.files.reader import pread  # before fcntl: without that, its module says what to use

import fcntl  # isort: skip

from storage.stores.files.locks import NO_LOCKS  # isort: skip  # it imports fcntl, too

__all__ = ["OpenFile", "open_locked"]

_logger = logging.getLogger("storage")

#: A device or pipe of that name must neither be waited for nor become the terminal of the process.
_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_CREATE = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW

#: How often a file is opened again because another one has taken its name, before that is an error.
_ATTEMPTS = 100


class OpenFile:
    """
    A file that is closed when nothing refers to it any more: no archive, no entry, no reader.

    So readers go on when the archive is replaced or closed. A forked child has it closed: an open file that parent and
    child share would stay locked until the child ends.

    Args:
        path: the file.
        create: whether to make it, as a new file; no other file of that name is opened.
        mode: the permissions of a new file.
        directory: an open directory, if *path* is a name in it.
        follow: whether the name may be a symlink to the file.

    Attributes:
        identity: the numbers of its device and inode.
        has_lock: whether `lock` has locked it; False also where the file system has no locks.
        must_sync: whether `sync` raises an error where the file system syncs no files, or does nothing there.
    """

    __slots__ = ("__weakref__", "_opened", "has_lock", "identity", "must_sync")

    def __init__(
        self, path: str, *, create: bool = False, mode: int = 0o666, directory: int | None = None, follow: bool = True
    ) -> None:
        self.has_lock: bool = False
        self.must_sync: bool = True
        flags = _FLAGS | (_CREATE if create else 0) | (0 if follow else os.O_NOFOLLOW)
        self._opened = Descriptor.open(path, flags, mode, dir_fd=directory)
        renew_after_fork(self)
        status = self.status()
        self.identity: tuple[int, int] = (status.st_dev, status.st_ino)

    def _renew(self) -> None:
        self._opened.close()

    @property
    def descriptor(self) -> int:
        """The number of the open file, and -1 in a forked child."""
        return self._opened[0] if self._opened else -1

    def status(self) -> os.stat_result:
        """Return what the system says of the file."""
        return os.fstat(self.descriptor)

    def size(self) -> int:
        """Return its size in bytes."""
        return os.fstat(self.descriptor).st_size

    def read(self, size: int, offset: int) -> bytes:
        """Return *size* bytes from *offset* on, fewer only where the file ends."""
        return pread(self.descriptor, size, offset)

    def is_hole(self, start: int, stop: int) -> bool:
        """Return whether the file is known to have no data from *start* to *stop*, only zeros that take no space."""
        try:
            return os.lseek(self.descriptor, start, os.SEEK_DATA) >= stop
        except OSError as cause:  # there is no data up to the end of the file; or the system cannot say
            return cause.errno == errno.ENXIO
        except AttributeError:  # not on this system
            return False

    def write(self, data: bytes, offset: int) -> int:
        """Write all of *data* at *offset* and return where it ends."""
        write_all(self.descriptor, data, offset)
        return offset + len(data)

    def append(self, pieces: Iterable[bytes], end: int) -> int:
        """Write *pieces* at *end*, where the file ends, and return their end."""
        for piece in pieces:
            end = self.write(piece, end)
        return end

    def rewrite(self, start: int, stop: int) -> Generator[None, None, None]:
        """
        Write the bytes from *start* to *stop* again, in steps, for the case that their sync has failed.

        The system reports only once that bytes did not reach the disk. After that it treats them as written, and the
        next sync, also in another process, succeeds.
        """
        for at in range(start, stop, CHUNK):
            self.write(self.read(min(CHUNK, stop - at), at), at)
            yield

    def truncate(self, size: int) -> None:
        """Remove everything after the first *size* bytes."""
        if self.size() > size:
            os.ftruncate(self.descriptor, size)

    def sync(self) -> None:
        """
        Wait until everything that was written is on the disk.

        Raises:
            UnsupportedOperationError: the file system syncs no files, and `must_sync` is true.
        """
        try:
            fsync_file(self.descriptor)
        except UnsupportedOperationError:
            if self.must_sync:
                raise

    def lock(self) -> None:
        """
        Lock the file for this writer until `unlock` or the end of the process, if the file system has locks.

        Raises:
            BlockingIOError: another writer has locked it.
        """
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as cause:
            if cause.errno not in NO_LOCKS:
                raise
        else:
            self.has_lock = True

    def unlock(self) -> None:
        """Unlock the file, even if a forked child has it open, too."""
        if self.has_lock:
            self.has_lock = False
            fcntl.flock(self.descriptor, fcntl.LOCK_UN)


def open_locked(path: str) -> OpenFile:
    """
    Open the file at *path*, which is created if it is missing, and lock it.

    On a file system without locks it is not locked, which is logged as a warning.

    Raises:
        CorruptObjectError: it is no regular file.
        StoreUnavailableError: it is locked, or replaced again and again.
    """
    for _ in range(_ATTEMPTS):
        try:
            file = OpenFile(path)
        except FileNotFoundError:
            try:
                file = OpenFile(path, create=True)
            except FileExistsError:
                continue  # another process was faster
        if not stat.S_ISREG(file.status().st_mode):
            raise CorruptObjectError(f"{path} is no regular file: give the path of an archive, or of none")
        try:
            file.lock()
        except BlockingIOError as cause:
            message = f"{path} is already open in another ZipStore, in this or another process: close it there first"
            raise StoreUnavailableError(message) from cause
        with suppress(FileNotFoundError):
            if os.path.samestat(file.status(), os.stat(path)):
                if not file.has_lock:
                    _logger.warning("%s cannot be locked on its file system: only one process may open it", path)
                return file
        # A compacted archive replaced the file between opening and locking: open that one.
    raise StoreUnavailableError(f"{path} is replaced again and again: try again when no other program does that")
