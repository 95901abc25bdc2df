"""
How a file of a store comes to be: written as a draft beside its place, then put there in one step under a lock.

- A **draft** is a file of a reserved name in the directory of its target. It holds a lock on itself while it is
  written, so that those of killed writers can be told from those of busy ones (`reclaim`).
- Every change of a directory's names by a store, a put or a delete, is made under a lock on the **directory**
  (``flock``). That makes a condition and the write it guards one step, among tasks, threads and processes, without a
  lock file or a table of locks. It costs two system calls, and delays nobody much: the kernel takes the directory's own
  lock for a rename anyway. Streaming a draft's bytes takes no lock on the directory. Listing takes a shared one while
  it reads the names: some file systems (tmpfs) move a name that is replaced, and a reader of many names misses it.
"""

from __future__ import annotations

import errno
import json
import os
import random
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager

from storage._core.conditions import judge
from storage.errors import CorruptObjectError, KeyConflictError, UnsupportedOperationError
from storage.stores.files.root import make_directory, prune
from storage.types import ATTRIBUTES_LIMIT, check_attributes

if sys.platform == "win32":
    raise ImportError("stores on files need POSIX (flock, names relative to a directory); on Windows use SqliteStore")
import fcntl

__all__ = [
    "ATTEMPTS",
    "DRAFT",
    "Draft",
    "all_locked",
    "current_etag",
    "etag_of_file",
    "lacking",
    "lock",
    "locked",
    "move",
    "read_attributes",
    "reclaim",
    "target_directory",
]

#: How the names of drafts begin; no key has a segment that begins so.
DRAFT = ".~storage-"

#: The extended attribute that holds an object's attributes, as JSON.
XATTR = "user.storage.attributes"

#: Python has no call for extended attributes on macOS.
HAS_XATTR = hasattr(os, "setxattr")

#: What flock(2) says where there are no locks; network file systems may want a file open for writing (EBADF).
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF)

#: How often a directory that is deleted under the writer is made again before the write fails.
ATTEMPTS = 100

_last_stamp = 0
_stamping = threading.Lock()


def _stamp() -> int:
    """
    Return now, in ns, as no other write will have it: the file's mtime, and so a part of its etag.

    Kernels set mtimes by a clock that ticks every few ms, in which a file can be replaced by another of the same size
    many times. The last digits are drawn, so that two processes do not share one either.
    """
    global _last_stamp
    with _stamping:
        _last_stamp = max(time.time_ns() // 1000 * 1000 + random.randrange(1000), _last_stamp + 1)
        return _last_stamp


def lacking(path: str) -> list[str]:
    """Return the capabilities that the file system of a directory, or of where it will be, cannot give."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    missing = []
    if not _has_attributes(path):
        missing.append("attributes")
    try:
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:  # a file, or not to be read: every method says so
        return missing
    try:
        # A writer's lock: network file systems that refuse it give a reader's. Waiting is not needed to know.
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(directory, fcntl.LOCK_UN)
    except OSError as cause:
        if cause.errno in _NO_LOCKS:
            missing += ["conditional_put", "conditional_delete", "multi_process"]
    finally:
        os.close(directory)
    return missing


def _has_attributes(path: str) -> bool:
    if not HAS_XATTR:
        return False
    try:
        os.getxattr(path, XATTR)
    except OSError as cause:
        return cause.errno == errno.ENODATA
    return True


def etag_of_file(status: os.stat_result) -> str:
    """Return the etag of a file: when it was written, its size and its inode."""
    return f"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}"


def read_attributes(descriptor: int) -> dict[str, str]:
    """Return the attributes of an open file; none where it, or its file system, has none."""
    if not HAS_XATTR:
        return {}
    try:
        packed = os.getxattr(descriptor, XATTR)
    except OSError as cause:
        if cause.errno in (errno.ENODATA, errno.ENOTSUP):
            return {}
        raise
    try:
        return check_attributes(json.loads(packed))
    except (ValueError, TypeError, RecursionError) as cause:
        raise CorruptObjectError(f"the extended attribute {XATTR} holds no attributes") from cause


def lock(descriptor: int, *, shared: bool = False) -> bool:
    """Wait for the lock of an open file or directory, and say whether the file system has any."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
    except OSError as cause:
        if cause.errno in _NO_LOCKS:
            return False
        raise
    return True


@contextmanager
def locked(directory: int, store: object = None, *, needed: bool = False, shared: bool = False) -> Iterator[None]:
    """
    Hold the lock of an open directory, a *shared* one to read its names while no file is put in another's place.

    Raises:
        UnsupportedOperationError: the file system has no locks, and the lock is *needed* for a condition.
    """
    held = lock(directory, shared=shared)
    if needed and not held:
        raise UnsupportedOperationError("this file system has no locks, so no conditions", store=store)
    try:
        yield
    finally:
        if held:  # said aloud: a child forked meanwhile shares the descriptor, and closing ours would leave it locked
            fcntl.flock(directory, fcntl.LOCK_UN)


@contextmanager
def all_locked(directories: Iterable[int], store: object, *, needed: bool) -> Iterator[None]:
    """
    Hold the locks of several open directories, of one that is named twice only once.

    They are taken in one order, or two renames that cross each other would wait for each other.
    """
    inodes = {
        (status.st_dev, status.st_ino): directory for directory in directories for status in [os.fstat(directory)]
    }
    with ExitStack() as held:
        for _, directory in sorted(inodes.items()):
            held.enter_context(locked(directory, store, needed=needed))
        yield


def target_directory(root: str, path: str, *, sync: bool, store: object) -> int:
    """
    Open the directory of a key's file, making what is missing of it, and return the descriptor.

    Raises:
        KeyConflictError: a part of the path is an object, or a link of another program.
    """
    try:
        return make_directory(root, path, sync=sync)
    except OSError as cause:
        if cause.errno in (errno.ENOTDIR, errno.ELOOP):
            raise KeyConflictError("a part of the path is a file or a symlink", store=store) from cause
        raise


def move(source: int, old: str, target: int, new: str, *, store: object) -> None:
    """
    Rename a file from one open directory to its place in another; an empty directory there, which a crash can leave,
    makes way.

    Raises:
        KeyConflictError: it is not empty.
    """

    def rename() -> None:
        os.rename(old, new, src_dir_fd=source, dst_dir_fd=target)

    try:
        rename()
    except IsADirectoryError:
        try:
            os.rmdir(new, dir_fd=target)
            rename()
        except OSError as cause:
            raise KeyConflictError("other keys lie below this one", store=store) from cause


class Draft:
    """
    A file that is being written and not yet seen by anyone.

    Args:
        root: the store's directory, free of links.
        path: the target, relative to it.
        sync: whether the file and its names are to be on the disk when `publish` returns.
        store: for error messages.
    """

    def __init__(self, root: str, path: str, *, sync: bool, store: object) -> None:
        self._root = root
        self._parent, _, self._name = path.rpartition("/")
        self._sync = sync
        self._store = store
        self._directory = -1
        self._file = -1
        self._draft = ""

    def begin(self) -> None:
        """Make the empty file, and its directories where they are missing."""
        for attempt in range(ATTEMPTS):
            try:
                self._directory = target_directory(self._root, self._parent, sync=self._sync, store=self._store)
                self._draft = f"{DRAFT}{os.urandom(8).hex()}"
                self._file = os.open(
                    self._draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666, dir_fd=self._directory
                )
                lock(self._file)
                if os.fstat(self._file).st_nlink:
                    return
                self.close()  # reclaimed between its making and its lock
            except FileNotFoundError:  # the directory was left empty by a delete, and so removed
                self.close()
                if attempt == ATTEMPTS - 1:
                    raise
            except BaseException:
                self.close()
                raise

    def write(self, data: bytes | memoryview) -> None:
        """Append *data*."""
        written = os.write(self._file, data)
        while written < len(data):
            data = memoryview(data)[written:]
            written = os.write(self._file, data)

    def copy_from(self, source: int, size: int) -> None:
        """Append *size* bytes of the open file *source*, in the kernel where it can."""
        offset = 0
        while offset < size:
            try:
                copied = os.copy_file_range(source, self._file, size - offset, offset)
            except (AttributeError, OSError):
                piece = os.pread(source, 1 << 20, offset)
                self.write(piece)
                copied = len(piece)
            if not copied:
                break
            offset += copied

    def publish(
        self,
        key: str,
        attributes: dict[str, str],
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        name_it: Callable[[int, str], None] | None = None,
    ) -> str:
        """
        Put the file in its place and return its etag.

        *name_it* is called with the directory and the file's name just before, under the directory's lock.
        """
        if attributes:
            self._set_attributes(key, attributes)
        now = _stamp()
        os.utime(self._file, ns=(now, now))
        if self._sync:
            os.fsync(self._file)
        etag = etag_of_file(os.fstat(self._file))
        with locked(self._directory, self._store, needed=if_absent or if_match is not None):
            if if_absent or if_match is not None:
                judge(key, current_etag(self._directory, self._name), if_absent, if_match, self._store)
            if name_it is not None:
                name_it(self._directory, self._name)
            move(self._directory, self._draft, self._directory, self._name, store=self._store)
        self._draft = ""
        if self._sync:
            os.fsync(self._directory)
        return etag

    def close(self) -> None:
        """Give the file up unless it is published, and with it the directories made for it. May be repeated."""
        if self._draft:
            try:
                os.unlink(self._draft, dir_fd=self._directory)
            except OSError:
                pass  # gone with its directory, or left to be reclaimed
            self._draft = ""
            prune(self._root, self._parent)
        for descriptor in (self._file, self._directory):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._directory = -1

    def _set_attributes(self, key: str, attributes: dict[str, str]) -> None:
        if not HAS_XATTR:
            raise UnsupportedOperationError("no extended attributes on this system", key=key, store=self._store)
        packed = json.dumps(attributes, ensure_ascii=False).encode()
        try:
            os.setxattr(self._file, XATTR, packed)
        except OSError as cause:
            too_many = len(packed) > ATTRIBUTES_LIMIT and cause.errno in (errno.ENOSPC, errno.E2BIG, errno.ERANGE)
            if cause.errno != errno.ENOTSUP and not too_many:
                raise
            why = f"attributes of {len(packed)} bytes" if too_many else "attributes"
            raise UnsupportedOperationError(
                f"{why}: more than this file system keeps beside a file", key=key, store=self._store
            ) from cause


def current_etag(directory: int, name: str) -> str | None:
    """Return the etag of a file in an open directory, None where there is none."""
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return etag_of_file(status) if stat.S_ISREG(status.st_mode) else None


def reclaim(directory: int, name: str) -> None:
    """Remove a draft that no writer holds."""
    try:
        draft = os.open(name, os.O_RDWR | os.O_NOFOLLOW, dir_fd=directory)
    except OSError:
        return
    try:
        fcntl.flock(draft, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(name, dir_fd=directory)
    except OSError:
        pass  # held, or gone meanwhile
    finally:
        os.close(draft)
