"""What killed writers left in a store's directory, and how it goes when the store is entered."""

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
    Remove what killed writers left; what may not be read or changed now is left for another time.

    Args:
        root: the store's directory.
        is_leftover: gets a file's name and all names in its directory, and returns whether it may be a leftover.
        remove: gets the directory, whose lock is held, and a name; removes the file if it is a leftover indeed.
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
