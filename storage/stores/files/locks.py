"""
Locks on directories and drafts, by ``flock``.

Every change of a directory's names by a store, a put or a delete, is made under a lock on the **directory**. That makes
a condition and the write it guards one step, among tasks, threads and processes, without a lock file or a table of
locks. It costs two system calls, and delays nobody much: the kernel takes the directory's own lock for a rename anyway.
Streaming a draft's bytes takes no lock on the directory. Listing takes a shared one while it reads the names: some file
systems (tmpfs) move a name that is replaced, and a reader of many names misses it.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from storage.errors import UnsupportedOperationError

__all__ = ["NO_LOCKS", "all_locked", "lock", "locked"]

#: What flock(2) says where there are no locks; network file systems may want a file open for writing (EBADF).
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF)


def lock(descriptor: int, *, shared: bool = False) -> bool:
    """Wait for the lock of an open file or directory, and say whether the file system has any."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
    except OSError as cause:
        if cause.errno in NO_LOCKS:
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
        raise UnsupportedOperationError("conditions need file locks, and this file system has none", store=store)
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
