"""
`Etags`: the etags of a store's files, made in the way that their file system allows.

An etag names a version of an object. What a version is told by:

- **its time**, which the store sets and which is unique, its size and its inode: on the local file systems of Linux.
  Elsewhere without the inode, whose number may change when the file system is mounted again.
- **its mark**, a random number in an extended attribute, its time and its size: where times are coarse or cannot be
  set, and on file systems that are not local, which may do anything to times.
- **its content**, by a hash: where there are no extended attributes either.

On local file systems a file shows by its times which of them it is; elsewhere a file is made for a moment, once in a
store, to see what the file system keeps.
"""

from __future__ import annotations

import errno
import hashlib
import os
import random
import time
from contextlib import suppress
from enum import Enum

from storage._concurrency.mutex import Mutex
from storage._core.descriptors import Descriptor
from storage.stores.files.attributes import fits_attributes, takes_attributes
from storage.stores.files.draft_names import new_draft_name
from storage.stores.files.file_systems import HAS_XATTR, UNSUPPORTED, is_local
from storage.stores.files.os_names import encoded

__all__ = ["Etags", "Told", "new_mtime"]

#: The extended attribute that holds the mark of a version.
_MARK = "user.storage.version"

#: ns. Coarse times are multiples of it: exFAT has 10 ms, others 1 s or 2 s. Those that `new_mtime` returns are none.
_COARSE = 10_000_000

#: ns. NTFS and SMB keep times in this unit.
_UNIT = 100

#: ns within which the times of two processes are told apart by random digits; a put takes longer.
_SPREAD = 10_000

_STEPS = _SPREAD // _UNIT - 1

#: Bytes that are read at once to hash a file.
_CHUNK = 1 << 20

_last_mtime = 0
_mtime_lock = Mutex()


def new_mtime() -> int:
    """
    Return the current time in ns, made unique, for the mtime of a file and so for its etag; a multiple of 100 ns.

    Kernels set mtimes from a clock that ticks every few ms. Within one tick a file can be replaced many times by others
    of the same size. The last digits are random, so that the times of two processes differ too.
    """
    global _last_mtime
    now = time.time_ns() // _SPREAD * _SPREAD + int(random.random() * _STEPS + 1) * _UNIT
    with _mtime_lock:
        if now <= _last_mtime:
            now = _last_mtime + _UNIT
        if not now % _COARSE:
            now += _UNIT
        _last_mtime = now
        return now


class Told(Enum):
    """What tells the versions of an object apart."""

    INODE = "its time, its size and its inode"
    TIME = "its time and its size"
    MARK = "a random number in an extended attribute"
    CONTENT = "a hash of its bytes"


class Etags:
    """
    The etags of the files below a root.

    What a file system does is found out once for each device, and belongs to the store: a device's number may be that
    of another file system later.

    Args:
        root: the path of the store's directory, which need not exist.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._local: dict[int, bool] = {}
        self._told: dict[int, Told] = {}
        self._attributes: dict[int, bool] = {}

    # -- reading -------------------------------------------------------------------------------------------------

    def of(self, file: int, status: os.stat_result) -> str:
        """Return the etag of an open file, whose status this is."""
        if self._is_timed(file, status):
            return _by_time(status, status.st_ino)
        told = self._told_of(file, status)
        if told is Told.CONTENT:
            return _by_content(file)
        inode = status.st_ino if told is Told.INODE else 0
        mark = _mark_of(file) if told in (Told.MARK, Told.INODE) else None
        return _by_time(status, inode) if mark is None else _by_mark(status, mark)

    def of_entry(self, directory: int, name: str, status: os.stat_result) -> str | None:
        """Return the etag of the file *name* in an open directory, which has this status; None when it is gone."""
        if self._is_timed(directory, status):
            return _by_time(status, status.st_ino)
        try:
            opened = Descriptor.open(encoded(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
        except FileNotFoundError:
            return None
        with opened as file:
            return self.of(file, os.fstat(file))

    # -- writing -------------------------------------------------------------------------------------------------

    def stamp(self, file: int) -> tuple[str, os.stat_result, bool]:
        """Make an open file, just written, a version of its own; return its etag, its status, and `is_local`."""
        now = new_mtime()
        try:
            os.utime(file, ns=(now, now))
        except OSError as cause:
            if cause.errno not in UNSUPPORTED:
                raise
        status = os.fstat(file)
        kept = status.st_mtime_ns == now
        local = self.is_local(file, status)
        if kept and local:
            return _by_time(status, status.st_ino), status, True
        if not kept and self._is_timed(file, status):
            local = self._local[status.st_dev] = False  # the times are fine, but not ours to set
        mark = _set_mark(file)
        if mark is not None:
            self._told.setdefault(status.st_dev, Told.MARK)
            return _by_mark(status, mark), status, local
        told = Told.TIME if kept else Told.CONTENT
        if self._told.get(status.st_dev) is not Told.CONTENT:
            self._told[status.st_dev] = told
        return self.of(file, status), status, local

    def is_local(self, descriptor: int, status: os.stat_result) -> bool:
        """Return whether the file system of an open file, whose status this is, keeps times and numbers of files."""
        local = self._local.get(status.st_dev)
        if local is None:
            local = self._local[status.st_dev] = is_local(descriptor)
        return local

    def changed(self, status: os.stat_result) -> None:
        """Note that a file had another time soon after this one was set and read back: times do not tell versions."""
        if self._told.get(status.st_dev) is Told.TIME:
            self._told[status.st_dev] = Told.CONTENT

    # -- what the file system does -------------------------------------------------------------------------------

    def told(self, directory: int) -> Told:
        """Return by what the versions of files in an open directory are told apart."""
        status = os.fstat(directory)
        return Told.INODE if self._is_timed(directory, status) else self._told_of(directory, status)

    def keeps_attributes(self, directory: int) -> bool:
        """Return whether files in an open directory can have 2,048 bytes of attributes."""
        status = os.fstat(directory)
        if not self.is_local(directory, status):
            if status.st_dev not in self._attributes:
                self._try(status.st_dev)
            if (fits := self._attributes.get(status.st_dev)) is not None:
                return fits
        return fits_attributes(directory)

    def _is_timed(self, descriptor: int, status: os.stat_result) -> bool:
        """Return whether a file on a local file system has fine times; the kernel sets the second one."""
        if not status.st_mtime_ns % _COARSE and not status.st_ctime_ns % _COARSE:
            return False
        local = self._local.get(status.st_dev)
        return self.is_local(descriptor, status) if local is None else local

    def _told_of(self, descriptor: int, status: os.stat_result) -> Told:
        """Return by what a version is told where its inode and time alone are not enough."""
        device = status.st_dev
        if (told := self._told.get(device)) is not None:
            return told
        if self.is_local(descriptor, status):
            # Times are coarse. Versions that a store has written have marks; files of others have their inodes.
            return Told.INODE if _can_have_mark(descriptor) else Told.CONTENT
        self._try(device)
        if (told := self._told.get(device)) is not None:
            return told
        if _can_have_mark(descriptor):
            return Told.MARK
        fine = status.st_mtime_ns % _COARSE or status.st_ctime_ns % _COARSE
        return Told.TIME if fine else Told.CONTENT

    def _try(self, device: int) -> None:
        """Make a file in the store's directory, or above it where it is missing, and see what the file system keeps."""
        place = self._root
        while not os.path.isdir(place):
            place = os.path.dirname(place)
        path = f"{place}/{new_draft_name()}"
        try:
            opened = Descriptor.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
        except OSError:
            return
        try:
            with opened as file:
                if os.fstat(file).st_dev == device:
                    self._attributes[device] = takes_attributes(file)
                    self.stamp(file)
        except OSError:
            return
        finally:
            with suppress(OSError):  # taken for a leftover meanwhile
                os.unlink(path)


def _by_time(status: os.stat_result, inode: int) -> str:
    etag = f"{status.st_mtime_ns:x}-{status.st_size:x}"
    return f"{etag}-{inode:x}" if inode else etag


def _by_mark(status: os.stat_result, mark: bytes) -> str:
    return f"{status.st_mtime_ns:x}-{status.st_size:x}-{mark.hex()}"


def _by_content(file: int) -> str:
    found, offset = hashlib.blake2b(digest_size=20), 0
    while piece := os.pread(file, _CHUNK, offset):
        found.update(piece)
        offset += len(piece)
    return found.hexdigest()


def _set_mark(file: int) -> bytes | None:
    """Give an open file a new mark and return it; None where that cannot be."""
    if not HAS_XATTR:
        return None
    mark = os.urandom(8)
    try:
        os.setxattr(file, _MARK, mark)
    except OSError as cause:
        no_room = cause.errno == errno.ENOSPC and os.fstatvfs(file).f_bavail  # for it: the disk is not full
        if cause.errno not in UNSUPPORTED and not no_room:
            raise
        return None
    return mark


def _mark_of(file: int) -> bytes | None:
    """Return the mark of an open file; None when it has none."""
    if not HAS_XATTR:
        return None
    try:
        return os.getxattr(file, _MARK)[:8]
    except OSError as cause:
        if cause.errno == errno.ENODATA or cause.errno in UNSUPPORTED:
            return None
        raise


def _can_have_mark(descriptor: int) -> bool:
    """Return whether a file or directory has a mark, or none yet, rather than that there are none."""
    if not HAS_XATTR:
        return False
    try:
        os.getxattr(descriptor, _MARK)
    except OSError as cause:
        return cause.errno == errno.ENODATA
    return True
