"""The file of an archive: locked by one writer, and open until the last reader is gone."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress

from storage.errors import StoreUnavailableError
from storage.stores.files.reader import pread  # before fcntl: without that, its module says what to use

import fcntl  # isort: skip

__all__ = ["OpenFile", "open_locked", "sync_directory"]

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC


class OpenFile:
    """
    A file that is closed when nothing refers to it any more: no archive, no entry, no reader.

    So readers go on when the archive is replaced or closed.
    """

    __slots__ = ("descriptor",)

    def __init__(self, path: str, flags: int = _FLAGS) -> None:
        self.descriptor: int = os.open(path, flags, 0o666)

    def __del__(self) -> None:
        with suppress(AttributeError):  # it was never opened
            os.close(self.descriptor)

    def size(self) -> int:
        """Return its size in bytes."""
        return os.fstat(self.descriptor).st_size

    def read(self, size: int, offset: int) -> bytes:
        """Return *size* bytes from *offset* on, fewer only where the file ends."""
        return pread(self.descriptor, size, offset)

    def write(self, data: bytes, offset: int) -> int:
        """Write all of *data* at *offset* and return where it ends."""
        view = memoryview(data)
        while view:
            written = os.pwrite(self.descriptor, view, offset)
            offset += written
            view = view[written:]
        return offset

    def append(self, pieces: Iterable[bytes], end: int) -> int:
        """Write *pieces* at *end*, replacing what follows, and return their end; a failure leaves none of them."""
        self.truncate(end)
        stop = end
        try:
            for piece in pieces:
                stop = self.write(piece, stop)
        except BaseException:
            with suppress(OSError):
                self.truncate(end)  # otherwise the next write truncates it
            raise
        return stop

    def truncate(self, size: int) -> None:
        """Remove everything after the first *size* bytes."""
        if self.size() > size:
            os.ftruncate(self.descriptor, size)

    def sync(self) -> None:
        """Wait until everything that was written is on the disk."""
        os.fsync(self.descriptor)

    def lock(self) -> None:
        """
        Lock the file for this writer until `unlock` or the end of the process.

        Raises:
            BlockingIOError: another writer has locked it.
        """
        fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def unlock(self) -> None:
        """Unlock the file, even if a forked child has it open, too."""
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)


def open_locked(path: str) -> OpenFile:
    """
    Open the file at *path*, which is created if it is missing, and lock it.

    Raises:
        StoreUnavailableError: it is locked.
    """
    while True:
        file = OpenFile(path)
        try:
            file.lock()
        except BlockingIOError as cause:
            message = f"{path} is already open in another ZipStore, in this or another process: close it there first"
            raise StoreUnavailableError(message) from cause
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.descriptor), os.stat(path)):
                return file
        # A compacted archive replaced the file between opening and locking: open that one.


def sync_directory(path: str) -> None:
    """Wait until the names in the directory *path* are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
