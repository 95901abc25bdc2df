"""Removal of the files that killed writers left in a store's directory, when the store is entered."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Container

from storage.stores.files.locks import locked
from storage.stores.files.root import Root

__all__ = ["reclaim", "remove_leftovers"]


def remove_leftovers(
    root: Root, is_leftover: Callable[[str, Container[str]], bool], remove: Callable[[int, str], None]
) -> None:
    """
    Remove the leftovers of killed writers; skip directories that cannot be read or changed now.

    Args:
        root: the store's directory.
        is_leftover: takes a file's name and all names in its directory; returns whether it may be a leftover.
        remove: takes the directory, whose lock is held, and a name; removes the file if it really is a leftover.
    """
    pending = [""]
    while pending:
        path = pending.pop()
        try:
            names = dict(root.entries(path))
            leftovers = [name for name in names if not names[name] and is_leftover(name, names)]
            for name in leftovers:
                directory = root.open_directory(path)
                try:
                    with locked(directory):
                        remove(directory, name)
                finally:
                    os.close(directory)
            if leftovers:
                root.prune(path)
        except OSError:
            continue
        pending += [f"{path}/{name}" if path else name for name in names if names[name]]


def reclaim(directory: int, name: str) -> None:
    """Remove a draft unless a writer holds its lock."""
    try:
        draft = os.open(name, os.O_RDWR | os.O_NOFOLLOW, dir_fd=directory)
    except OSError:
        return
    try:
        fcntl.flock(draft, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(name, dir_fd=directory)
    except OSError:
        pass  # a writer holds it, or it is already gone
    finally:
        os.close(draft)
