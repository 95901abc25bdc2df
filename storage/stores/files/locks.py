"""
Locks on directories and drafts, by ``flock``.

A store holds a lock on the **directory** whenever it changes names in it, in a put or a delete. That makes a condition
and its write one atomic step among tasks, threads and processes, without a lock file or a table of locks. It costs two
system calls and delays other writers little: the kernel locks the directory for a rename anyway. Writing the bytes of a
draft takes no lock on the directory. A listing takes a shared lock while it reads the names where it must: some file
systems (tmpfs) move a name that is replaced, and a reader of many names would miss it (`root.names_in`).
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from storage.errors import UnsupportedOperationError

__all__ = ["NO_LOCKS", "all_locked", "lock", "locked"]

#: Errors of flock(2) where there are no locks; network file systems may need a file open for writing (EBADF).
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF)


def lock(descriptor: int, *, shared: bool = False) -> bool:
    """Wait for the lock of an open file or directory; return False where the file system has no locks."""
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
    Hold the lock of an open directory; a *shared* one to read its names while none of them is replaced.

    Raises:
        UnsupportedOperationError: the file system has no locks, and one is *needed* for a condition.
    """
    held = lock(directory, shared=shared)
    if needed and not held:
        raise UnsupportedOperationError("conditions need file locks, and this file system has none", store=store)
    try:
        yield
    finally:
        if held:  # explicit: a child forked meanwhile shares the descriptor, so closing ours would not release the lock
            fcntl.flock(directory, fcntl.LOCK_UN)


@contextmanager
def all_locked(directories: Iterable[int], store: object, *, needed: bool) -> Iterator[None]:
    """
    Hold the locks of several open directories; a directory that is given twice is locked once.

    They are locked in a fixed order. Otherwise two renames in opposite directions would wait for each other.
    """
    inodes = {
        (status.st_dev, status.st_ino): directory for directory in directories for status in [os.fstat(directory)]
    }
    with ExitStack() as held:
        for _, directory in sorted(inodes.items()):
            held.enter_context(locked(directory, store, needed=needed))
        yield
