"""Making a store's directory, and those above it, where they are missing, and looking at what is there instead."""

from __future__ import annotations

import errno
import os
import stat

from storage._core.descriptors import Descriptor
from storage._core.directory_sync import fsync_directory
from storage.errors import ConfigError
from storage.stores.files.directory_marks import mark_directory

__all__ = ["check_root", "make_root"]

_DIRECTORY = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)


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
            here = Descriptor.open(above, _DIRECTORY)
            break
        except FileNotFoundError:
            above, name = os.path.split(above)
            if not name:
                raise
            missing.append(name)
    for name in reversed(missing):
        with here as parent:
            here = _make_below(parent, name, sync=sync)
    if missing and not _is_at(here, path):
        here.close()
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), path)
    return here


def _make_below(directory: int, name: bytes, *, sync: bool) -> Descriptor:
    made = True
    try:
        os.mkdir(name, dir_fd=directory)
    except FileExistsError:
        made = False  # another writer created it first
    below = Descriptor.open(name, _DIRECTORY | _NOFOLLOW, dir_fd=directory)
    if made:
        mark_directory(below.fileno(), os.fsdecode(name))
    if sync:
        fsync_directory(directory)
    return below


def _is_at(directory: Descriptor, path: bytes) -> bool:
    """Return whether the path leads to an open directory."""
    try:
        return os.path.samestat(os.fstat(directory.fileno()), os.stat(path))
    except FileNotFoundError:
        return False
