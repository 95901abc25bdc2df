"""Wait until the names in a directory are on the disk, where a file system can do that."""

from __future__ import annotations

import errno
import os

from storage._core.descriptors import Descriptor

__all__ = ["UNABLE", "fsync_directory", "sync_directory"]

#: What file systems say that cannot sync.
UNABLE = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})

#: What file systems and systems say that sync no directories: some CIFS and FUSE mounts, AIX. There the names are on
#: the disk, or with the server, when the call returns that made them, or nobody can tell.
_NO_DIRECTORIES = UNABLE | {errno.EBADF}


def fsync_directory(directory: int) -> None:
    """
    Wait until the names in an open directory are on the disk; do nothing where its file system syncs no directories.

    Raises:
        OSError: the sync failed.
    """
    try:
        os.fsync(directory)
    except OSError as cause:
        if cause.errno not in _NO_DIRECTORIES:
            raise
        os.fstat(directory)  # EBADF also means that the descriptor is closed, which this finds out


def sync_directory(path: str) -> None:
    """
    Do the same for the directory *path*; not for Windows, which opens no directories.

    Raises:
        OSError: it cannot be opened, or the sync failed.
    """
    with Descriptor.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) as descriptor:
        fsync_directory(descriptor)
