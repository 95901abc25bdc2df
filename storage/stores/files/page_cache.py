"""
`PageCacheReads`: small files read on the event loop's own thread, from the kernel's memory, without waiting.

When the directory entries of a path and the bytes of its file are in memory, reading them takes a fraction of the time
of a hop to a worker thread and back. Linux can read only what is in memory: ``RESOLVE_CACHED`` of openat2 (since 5.12)
and ``RWF_NOWAIT`` of preadv2 (since 4.14) fail when they would have to wait for a disk. Then a worker thread reads the
file. It also does where the two flags are missing: on macOS, and for files on tmpfs, overlayfs or a network.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from enum import Enum

from storage._core.descriptors import Descriptor
from storage.stores.files.root import HAS_CACHED, Root
from storage.types import ByteRange

__all__ = ["MAX_READS_IN_A_ROW", "Deferred", "PageCacheReads"]

#: The most bytes read this way, which takes some 10 us. For more bytes, copying costs much more than the hop.
LIMIT = 64 << 10

#: The most bytes copied by one of the few threads for copying: a larger read would delay the others.
COPY_LIMIT = 8 << 20

#: Reads in a row before other tasks of the event loop run: 0.5 ms for reads of 4 KiB, 1 ms for the largest.
MAX_READS_IN_A_ROW = 64

#: With ``relatime``, a read updates the file's access time when that is older than this, in ns (mount(8)).
_DAY = 24 * 3600 * 10**9

_NOWAIT = getattr(os, "RWF_NOWAIT", 0)

#: Errors of the two calls where the kernel, a sandbox or the file system does not support them.
_UNABLE = (errno.ENOSYS, errno.EINVAL, errno.EPERM, errno.EOPNOTSUPP)


class Deferred(Enum):
    """Why a read is left to another thread."""

    WAIT = "it may wait for a disk"
    COPY = "it copies much"


class PageCacheReads:
    """
    Reads of small files below a root that never wait for a disk.

    Attributes:
        available: whether such reads work here; None until `learn` has tried a file.
    """

    def __init__(self, root: Root) -> None:
        self._root = root
        self._updates_atime = True
        self.available: bool | None = None if HAS_CACHED and _NOWAIT else False

    def learn(self, path: str) -> None:
        """Find out, in a thread that may wait, whether such reads work for this file, which was just read."""
        opened = Descriptor()
        try:
            self._root.open_cached(opened, path)
            with opened as descriptor:
                mount = os.fstatvfs(descriptor).f_flag
                self._updates_atime = not mount & (os.ST_NOATIME | os.ST_RDONLY)
                os.preadv(descriptor, [bytearray(1)], 0, _NOWAIT)
        except OSError as cause:  # other errors: it is no longer in memory or deleted, and the next file decides
            if cause.errno in _UNABLE:
                self.available = False
        else:
            self.available = not self._updates_atime or bool(mount & os.ST_RELATIME)

    def read(self, path: str, key: str, byte_range: ByteRange | None) -> bytes | Deferred:
        """
        Return the bytes of the file *path*, or why another thread has to read them.

        Raises:
            FileNotFoundError: there is no such file.
            RangeNotSatisfiableError: the range starts after the file's end.
        """
        numbers: list[int] = []
        closing = map(os.close, numbers)  # see storage._core.descriptors
        try:
            try:
                self._root.open_cached(numbers, path)
            except FileNotFoundError:
                raise
            except OSError:  # not in memory; or an error, which the thread that may wait finds again and raises
                return Deferred.WAIT
            descriptor = numbers[0]
            try:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode) or not self._root.exact.known(path, status.st_dev):
                    return Deferred.WAIT
                start, stop = (0, status.st_size) if byte_range is None else byte_range.within(status.st_size, key)
                size = stop - start
                if not size:
                    # a file that says it has no bytes may have some, as in /proc
                    unsized = not status.st_size and os.preadv(descriptor, [bytearray(1)], 0, _NOWAIT)
                    return Deferred.WAIT if unsized else b""
                if size > COPY_LIMIT or (self._updates_atime and _read_updates_atime(status)):
                    return Deferred.WAIT
                data = bytearray(size if size <= LIMIT else 1)
                if os.preadv(descriptor, [data], start, _NOWAIT) < len(data):
                    return Deferred.WAIT
                return bytes(data) if size <= LIMIT else Deferred.COPY
            except OSError as cause:
                if cause.errno in _UNABLE:  # another file system below the same root: do not try each of its files
                    self.available = False
                return Deferred.WAIT
        finally:
            next(closing, None)


def _read_updates_atime(status: os.stat_result) -> bool:
    """
    Return whether reading the file updates its access time (atime), by the rules of ``relatime``.

    That is a write, and the reader may have to wait for the file system's journal. It happens once after the file has
    changed and then once a day. A worker thread makes these reads, so the access time is updated as usual.
    """
    read = status.st_atime_ns
    return read <= status.st_mtime_ns or read <= status.st_ctime_ns or time.time_ns() - read >= _DAY
