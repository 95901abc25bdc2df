"""
Which directories a store has made, and so may remove when they are empty.

Such a directory has an extended attribute, which outlasts the process. Where the file system has none, the process
remembers what it has made itself; what other processes have made stays there.
"""

from __future__ import annotations

import os
from collections import OrderedDict

from storage._core.descriptors import Descriptor
from storage.stores.files.file_systems import HAS_XATTR, UNSUPPORTED
from storage.stores.files.os_names import encoded

__all__ = ["is_own_directory", "mark_directory", "remove_own_directory"]

_XATTR = "user.storage.made"

_DIRECTORY = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)

#: Directories that this process remembers, the newest: path below the root, device and inode. A few hundred bytes each.
_MOST = 10_000

_made: OrderedDict[tuple[str, int, int], None] = OrderedDict()


def mark_directory(directory: int, path: str) -> None:
    """Note that the store has just made an open directory, whose *path* is relative to the root."""
    if HAS_XATTR:
        try:
            os.setxattr(directory, _XATTR, b"")
        except OSError:  # also where the disk is full: the directory then stays
            pass
        else:
            return
    _made[_place(directory, path)] = None
    while len(_made) > _MOST:
        _made.popitem(last=False)


def is_own_directory(directory: int, path: str) -> bool:
    """Return whether a store has made an open directory."""
    if HAS_XATTR:
        try:
            os.getxattr(directory, _XATTR)
        except OSError as cause:
            if cause.errno not in UNSUPPORTED and not _made:
                return False
        else:
            return True
    return _place(directory, path) in _made if _made else False


def remove_own_directory(parent: int, name: str, path: str) -> bool:
    """Remove the directory *name* in an open one if a store has made it and it is empty; return whether it did."""
    try:
        with Descriptor.open(encoded(name), _DIRECTORY, dir_fd=parent) as directory:
            if not is_own_directory(directory, path):
                return False
            os.rmdir(encoded(name), dir_fd=parent)
    except OSError:
        return False
    return True


def _place(directory: int, path: str) -> tuple[str, int, int]:
    status = os.fstat(directory)
    return path, status.st_dev, status.st_ino
