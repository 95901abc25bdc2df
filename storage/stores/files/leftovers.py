"""Removal of the files that killed writers left in a store's directory, when the store is entered."""

from __future__ import annotations

import fcntl
import os
import random
import stat
import time
from collections.abc import Callable, Iterable

from storage._core.descriptors import Descriptor
from storage.stores.files.locks import DirectoryLockedError, locked
from storage.stores.files.os_names import joined
from storage.stores.files.root import READ, Root

__all__ = ["SEARCH_TIME", "reclaim", "remove_leftovers"]

#: The longest search for leftovers, in seconds: some two million files on a local disk. A larger tree, or a slow
#: network file system, must not keep the program from starting.
SEARCH_TIME = 1.0


def remove_leftovers(
    root: Root,
    is_own: Callable[[str, str], bool],
    leftovers: Callable[[str, list[str]], Iterable[str]],
    remove: Callable[[int, str, str], None],
) -> None:
    """
    Remove the leftovers of killed writers; skip directories that cannot be read or changed now.

    The search ends after `SEARCH_TIME`. Directories are read in a random order, so that each is reached some time.

    Args:
        root: the store's directory.
        is_own: takes the path of a directory, relative to the root, and the name of one in it; returns whether the
            latter may hold objects of the store. Others are not read.
        leftovers: takes the path of a directory and the names of the files in it; returns those that may be leftovers.
        remove: takes a directory, whose lock is held, its path and a name; removes the file if it really is a leftover.
    """
    pending = [""]
    end = time.monotonic() + SEARCH_TIME
    while pending and time.monotonic() < end:
        path = pending.pop()
        try:
            entries = root.entries(path)
            found = list(leftovers(path, [name for name, is_directory in entries if not is_directory]))
            if found:
                with root.open_directory(path) as directory, locked(directory):
                    for name in found:
                        remove(directory, path, name)
                root.prune(path)
        except (OSError, DirectoryLockedError):
            continue
        below = [name for name, is_directory in entries if is_directory and is_own(path, name)]
        random.shuffle(below)
        pending += [joined(path, name) for name in below]


def reclaim(directory: int, name: str) -> None:
    """Remove a draft unless a writer holds its lock."""
    try:
        with Descriptor.open(name, READ | os.O_RDWR | os.O_NOFOLLOW, dir_fd=directory) as draft:
            if stat.S_ISREG(os.fstat(draft).st_mode):
                fcntl.flock(draft, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(name, dir_fd=directory)
    except OSError:
        pass  # a writer holds it, or it is already gone
