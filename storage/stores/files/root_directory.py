"""Making a store's directory, and those above it, where they are missing, and looking at what is there instead."""

from __future__ import annotations

import errno
import os
import stat

from storage._core.descriptors import Descriptor
from storage._core.directory_sync import fsync_directory
from storage.errors import ConfigError
from storage.stores.files.directory_marks import mark_directory

__all__ = ["DIRECTORY", "NOFOLLOW", "check_root", "make_name", "make_root", "open_made"]

#: Flags to open a directory, and not to follow a link at the end of a path.
DIRECTORY = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)

_KINDS = {
    stat.S_IFREG: "a file",
    stat.S_IFLNK: "a symlink that leads in a circle, or was made after the store's first use",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}


def check_root(path: bytes) -> None:
    """
    Return if *path*, which is absolute and had no links, is a directory or missing.

    Raises:
        ConfigError: it, or something above it, is a file, a pipe, a link or a device.
    """
    end = 0
    while end < len(path):
        end = path.find(b"/", end + 1)
        end = len(path) if end < 0 else end
        try:
            kind = stat.S_IFMT(os.lstat(path[:end]).st_mode)
        except OSError:
            return
        if kind != stat.S_IFDIR:
            root, part = os.fsdecode(path), os.fsdecode(path[:end])
            what = "the store's root" if end == len(path) else f"in the path of the store's root {root!r},"
            what = f"{what} {part!r}" if end == len(path) else f"{part!r}, {what}"
            raise ConfigError(
                f"{what} is {_KINDS.get(kind, 'a device')}, no directory: move it away, or give the store another root"
            )


def make_root(path: bytes, *, sync: bool) -> Descriptor:
    """
    Open the directory *path*, which is absolute, for reading; create it and those above it where they are missing.

    The path has bytes, as the system takes them: the program has encoded it as its locale says, and keys as UTF-8.

    With *sync*, each new name is on the disk when this returns.

    Raises:
        OSError: as `os.open` and `os.mkdir`; ``ESTALE`` if the path leads elsewhere than to what was made.
    """
    missing: list[bytes] = []
    above = path
    while True:
        try:
            here = Descriptor.open(above, DIRECTORY)
            break
        except FileNotFoundError:
            above, name = os.path.split(above)
            if not name:
                raise
            missing.append(name)
    for name in reversed(missing):
        with here as parent:
            made = make_name(parent, name)
            here = open_made(parent, name, os.fsdecode(name), made, sync=sync)
    if missing and not _is_at(here, path):
        here.close()
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), path)
    return here


def make_name(directory: int, name: bytes) -> bool:
    """Create the directory *name* in an open one; return False if another writer was first."""
    try:
        os.mkdir(name, dir_fd=directory)
    except FileExistsError:
        return False
    return True


def open_made(directory: int, name: bytes, path: str, made: bool, *, sync: bool) -> Descriptor:
    """
    Open the directory *name*, which is in an open one now, and note it as the store's if the store has *made* it.

    With *sync*, its name is on the disk when this returns. *path* is how `directory_marks` knows it.
    """
    below = Descriptor.open(name, DIRECTORY | NOFOLLOW, dir_fd=directory)
    if made:
        mark_directory(below.fileno(), path)
    if sync:
        fsync_directory(directory)
    return below


def _is_at(directory: Descriptor, path: bytes) -> bool:
    """Return whether the path leads to an open directory."""
    try:
        return os.path.samestat(os.fstat(directory.fileno()), os.stat(path))
    except FileNotFoundError:
        return False
