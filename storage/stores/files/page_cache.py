"""
Reading small files on the event loop's own thread, as long as that waits for nothing.

What the kernel has in memory, the names on the way to a file and the file's bytes, is read in a fraction of the time
that the hop to a worker thread and back takes. Linux can be asked for that and no more: ``RESOLVE_CACHED`` of openat2
(since 5.12) and ``RWF_NOWAIT`` of preadv2 (since 4.14) give up where they would have to wait for a disk. Then the read
takes the hop, and so it does wherever the two are missing: on macOS, and for files on tmpfs, overlayfs or a network.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from enum import Enum

from storage.stores.files.root import HAS_CACHED, Root
from storage.types import ByteRange

__all__ = ["MAX_READS_IN_A_ROW", "Deferred", "PageCacheReads"]

#: Bytes read this way at most, which take some 10 us. For more, the hop is small beside the copying.
LIMIT = 64 << 10

#: Bytes that are copied at most by one of the few threads for that: a read of more would keep the others waiting.
COPY_LIMIT = 8 << 20

#: Reads in a row, before the other tasks of the event loop have their turn: 0.5 ms of 4 KiB each, 1 ms of the largest.
MAX_READS_IN_A_ROW = 64

#: With ``relatime``, a read is noted in the file's inode when the last note is older (mount(8)).
_DAY = 24 * 3600 * 10**9

_NOWAIT = getattr(os, "RWF_NOWAIT", 0)

#: What says that one of the two calls is not to be had: by the kernel, by a sandbox, by the file's file system.
_UNABLE = (errno.ENOSYS, errno.EINVAL, errno.EPERM, errno.EOPNOTSUPP)


class Deferred(Enum):
    """Why a read is for another thread."""

    WAIT = "it may wait for a disk"
    COPY = "it copies much"


class PageCacheReads:
    """
    Reads of small files below a root that never wait for a disk.

    Attributes:
        available: whether they work here; None until `learn` has been shown a file.
    """

    def __init__(self, root: Root) -> None:
        self._root = root
        self._noted = True
        self.available: bool | None = None if HAS_CACHED and _NOWAIT else False

    def learn(self, path: str) -> None:
        """Find out, in a thread that may wait, whether files like this one, which was just read, can be read so."""
        try:
            descriptor = self._root.open_cached(path)
            try:
                mount = os.fstatvfs(descriptor).f_flag
                self._noted = not mount & (os.ST_NOATIME | os.ST_RDONLY)
                os.preadv(descriptor, [bytearray(1)], 0, _NOWAIT)
            finally:
                os.close(descriptor)
        except OSError as cause:  # else it is gone from the kernel's memory, or gone at all, and the next one will tell
            if cause.errno in _UNABLE:
                self.available = False
        else:
            self.available = not self._noted or bool(mount & os.ST_RELATIME)

    def read(self, path: str, key: str, byte_range: ByteRange | None) -> bytes | Deferred:
        """
        Return the bytes of the file *path*, or why another thread has to read them.

        Raises:
            FileNotFoundError: there is no such file.
            RangeNotSatisfiableError: the range starts behind the file's end.
        """
        try:
            descriptor = self._root.open_cached(path)
        except FileNotFoundError:
            raise
        except OSError:  # cold; or an error, which is found again and told by who may wait
            return Deferred.WAIT
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return Deferred.WAIT
            start, stop = (0, status.st_size) if byte_range is None else byte_range.within(status.st_size, key)
            size = stop - start
            if not size:
                return b""
            if size > COPY_LIMIT or (self._noted and _is_noted(status)):
                return Deferred.WAIT
            data = bytearray(size if size <= LIMIT else 1)
            if os.preadv(descriptor, [data], start, _NOWAIT) < len(data):
                return Deferred.WAIT
            return bytes(data) if size <= LIMIT else Deferred.COPY
        except OSError as cause:
            if cause.errno in _UNABLE:  # another file system below the same root: no attempt for each of its files
                self.available = False
            return Deferred.WAIT
        finally:
            os.close(descriptor)


def _is_noted(status: os.stat_result) -> bool:
    """
    Return whether reading the file notes that in its inode, as ``relatime`` has it.

    That is a write, for which the file system's journal may make the reader wait. It is made once after the file has
    changed and then once a day, so that such reads are left to a worker thread, and the note is made as ever.
    """
    read = status.st_atime_ns
    return read <= status.st_mtime_ns or read <= status.st_ctime_ns or time.time_ns() - read >= _DAY
