"""
`Root`: a store's directory, which opens files below it without following symlinks, so that no key leads out of it.

If a path were checked first and opened afterwards, another program could create a symlink in between. Here the kernel
does both in one call where it can: ``openat2`` on Linux (since 5.6), ``O_NOFOLLOW_ANY`` on macOS. Elsewhere each
directory of the path is opened separately. Measured for a file three directories down, with ``fstat``, ``read`` and
``close``: plain ``os.open`` 4.1 us, ``openat2`` 4.9 us, directory by directory 8.1 us.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import lru_cache, partial
from itertools import repeat
from typing import Any

from storage._core.descriptors import Descriptor, is_valid
from storage.stores.files.directory_marks import remove_own_directory
from storage.stores.files.exact_names import ExactNames
from storage.stores.files.file_systems import EXT4, XFS, type_of
from storage.stores.files.locks import locked
from storage.stores.files.os_names import encoded, encoded_root, from_listing
from storage.stores.files.refused_names import raise_if_refused
from storage.stores.files.root_directory import DIRECTORY, NOFOLLOW, check_root, make_name, make_root, open_made

__all__ = ["HAS_CACHED", "READ", "Root", "names_in"]

#: Flags to read a file. Without O_NONBLOCK, opening a pipe would wait for a writer; for files it has no effect.
READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)

#: Errors of open(2) where there is no such directory, or no file system could have one of this name.
_NONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ)

#: <sys/fcntl.h> of macOS 11 and later.
_O_NOFOLLOW_ANY = 0x20000000


class _OpenHow(ctypes.Structure):
    """``struct open_how`` of openat2(2)."""

    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


#: openat2(2): its number on every architecture, "relative to the working directory", RESOLVE_NO_SYMLINKS and
#: RESOLVE_CACHED.
_SYS_OPENAT2, _AT_FDCWD, _NO_SYMLINKS, _CACHED = repeat(437), repeat(-100), 0x04, 0x20

_syscall = None
if sys.platform == "linux":
    _syscall = ctypes.CDLL(None, use_errno=True).syscall
    _syscall.restype = ctypes.c_long
    _syscall.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t]

#: Whether this system may have what `Root.open_cached` needs; only the call shows that a kernel is too old.
HAS_CACHED = _syscall is not None


class Root:
    """
    A store's directory; no symlink below it is followed.

    Args:
        path: the directory, free of links itself (`os.path.realpath`). It need not exist.
        unique_names: whether no file system can take two of the store's names for the same.

    Attributes:
        exact: what is known of file systems that take different names for the same.
        has_replaced: whether the last put found something under its name, so that the next one expects to.
    """

    __slots__ = ("_below", "exact", "has_replaced", "path")

    def __init__(self, path: str, *, unique_names: bool = False) -> None:
        self.path: str = path
        self._below = encoded_root(path) + b"/"
        self.exact: ExactNames = ExactNames(trusted=unique_names)
        self.has_replaced: bool = False

    def open(self, path: str, flags: int = READ) -> Descriptor:
        """
        Open *path*, relative to the root.

        Raises:
            OSError: as `os.open` does; ``ELOOP`` or ``ENOTDIR`` where a part of the path is a symlink.
        """
        if "/" not in path:  # no directory on the way to check
            whole = self._below + encoded(path) if path else self._below[:-1]
            return Descriptor(map(os.open, (whole,), (flags | NOFOLLOW,)))
        opened = Descriptor()
        try:
            self.open_into(opened, path, flags)
        except OSError:
            opened.close()
            raise
        return opened

    def open_into(self, numbers: list[int], path: str, flags: int = READ) -> None:
        """Open *path* like `open`, and append the descriptor to *numbers*."""
        whole = self._below + encoded(path) if path else self._below[:-1]
        if "/" not in path:  # no directory on the way to check
            numbers += map(os.open, (whole,), (flags | NOFOLLOW,))
            return
        if _syscall is not None:
            try:
                _openat2(numbers, whole, flags, _NO_SYMLINKS)
                return
            except OSError as cause:
                # An old kernel, a sandbox that refuses the call, a signal or a concurrent rename: open each directory.
                if cause.errno not in (errno.ENOSYS, errno.EPERM, errno.EINTR, errno.EAGAIN):
                    raise
        elif sys.platform == "darwin":
            numbers += map(os.open, (whole,), (flags | _O_NOFOLLOW_ANY,))
            return
        _walk(numbers, self._below, path, flags)

    def open_cached(self, numbers: list[int], path: str) -> None:
        """
        Open the file *path* like `open_into`, but only if all directory entries on the way are in the kernel's memory.

        Raises:
            BlockingIOError: they are not, and looking them up may have to wait for a disk.
            OSError: as `open`; or the system does not support this (``ENOSYS``, ``EINVAL``, ``EPERM``).
        """
        _openat2(numbers, self._below + encoded(path), READ, _NO_SYMLINKS | _CACHED)

    def open_directory(self, path: str) -> Descriptor:
        """
        Open the directory *path* for reading.

        Raises:
            OSError: as `open`.
        """
        return self.open(path, DIRECTORY)

    def open_below(self, directory: int, name: str) -> Descriptor:
        """
        Open the directory *name* in an open directory.

        Raises:
            OSError: as `open`.
        """
        return Descriptor.open(encoded(name), DIRECTORY | NOFOLLOW, dir_fd=directory)

    def make_directory(self, path: str, *, sync: bool) -> Descriptor:
        """
        Open the directory *path*, which was missing, for reading; create it, and the root and others where missing.

        With *sync*, each new name is on the disk when this returns.

        Raises:
            OSError: ``ENOTDIR`` or ``ELOOP`` where a part of the path is a file or a symlink.
        """
        here = make_root(self._below[:-1], sync=sync)
        made = False
        for end, directory in _directories_of(path):
            with here as number:
                here, made = self._make_below(number, directory, path[:end], new=made, sync=sync)
        return here

    def _make_below(self, directory: int, name: str, path: str, *, new: bool, sync: bool) -> tuple[Descriptor, bool]:
        """
        Open the directory *path*, which is *name* in an open directory, and create it if it is missing.

        Return it, and whether it was made here. In a *new* directory it is not looked for first, which saves 3 us.
        """
        if not new:
            try:
                return self.open_below(directory, name), False
            except FileNotFoundError:
                pass
        raw = encoded(name)
        try:
            made = make_name(directory, raw)
        except OSError as cause:
            raise_if_refused(cause, None, directory=directory)
            raise
        return open_made(directory, raw, path, made, sync=sync), made

    def check(self, cause: OSError) -> None:
        """
        Raise if a call failed with *cause* because the root is no directory; return if it is one, or is missing.

        Raises:
            ConfigError: a file, a pipe, a link or a device is in the way.
        """
        if cause.errno in (errno.ENOTDIR, errno.ELOOP):
            check_root(self._below[:-1])

    def prune(self, path: str) -> None:
        """
        Remove the directory *path* and those above it if they are empty and a store has made them.

        A writer that needs one makes it again.
        """
        while path:
            parent, _, name = path.rpartition("/")
            try:
                opened = self.open_directory(parent)
            except OSError:
                return
            with opened as directory:
                if not remove_own_directory(directory, name, path):
                    return
            path = parent

    @contextmanager
    def existing_directory(self, path: str) -> Iterator[int | None]:
        """
        Yield a descriptor of the directory *path*; None when it is gone, or its path is too long for any key.

        Raises:
            ConfigError: the root is no directory.
        """
        try:
            directory = self.open_directory(path)
        except OSError as cause:
            if cause.errno not in _NONE:
                raise
            self.check(cause)
            yield None
            return
        with directory as number:
            yield number

    def has_exact(self, path: str) -> bool:
        """Return whether the directory *path* is there, and the names of it and of those above are exactly these."""
        try:
            with self.existing_directory(path) as directory:
                if directory is None:
                    return False
                return self.exact.known(path, os.fstat(directory).st_dev) or self.exact.has(self, path)
        except FileNotFoundError:
            return False

    def entries(self, path: str) -> list[tuple[str, bool]]:
        """Return `names_in` the directory *path*, and close it; an empty list when there is none."""
        return list(self.each_entry(path))

    def each_entry(self, path: str) -> Iterator[tuple[str, bool]]:
        """Yield what `entries` returns, while the directory is open and may be locked: do not wait in between."""
        with self.existing_directory(path) as directory:
            if directory is not None:
                yield from _each_name(directory)


def names_in(directory: int) -> list[tuple[str, bool]]:
    """Return (name, whether it is a directory) of the files and directories in an open directory."""
    return list(_each_name(directory))


def _each_name(directory: int) -> Iterator[tuple[str, bool]]:
    # ext4 and XFS leave a name in its place when its file is replaced; others may move it, and a reader that is not
    # alone would miss it.
    alone = nullcontext() if type_of(directory) in (EXT4, XFS) else locked(directory, shared=True)
    with alone, os.scandir(directory) as found:
        for entry in found:
            if entry.is_file(follow_symlinks=False):
                yield from_listing(entry.name), False
            elif entry.is_dir(follow_symlinks=False):
                yield from_listing(entry.name), True


def _directories_of(path: str) -> Iterator[tuple[int, str]]:
    """Yield the names of the directories in *path*, each with where it ends."""
    end = -1
    for name in path.split("/") if path else ():
        end += len(name) + 1
        yield end, name


def _openat2(numbers: list[int], whole: bytes, flags: int, resolve: int) -> None:
    assert _syscall is not None
    how, size = _how(flags, resolve)
    numbers += filter(is_valid, map(_syscall, _SYS_OPENAT2, _AT_FDCWD, (whole,), how, size))
    if not numbers:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), whole)


@lru_cache(maxsize=16)  # a store opens with few sets of flags; building the struct each time costs 0.4 us
def _how(flags: int, resolve: int) -> tuple[repeat[Any], repeat[int]]:
    """
    Return a pointer to openat2's options, and their size, as `map` takes them.

    A `repeat` is its own iterator, so that no call makes others; that saves 0.4 us.
    """
    how = _OpenHow(flags | os.O_CLOEXEC, 0, resolve)
    return repeat(ctypes.byref(how)), repeat(ctypes.sizeof(how))


def _walk(numbers: list[int], root: bytes, path: str, flags: int) -> None:
    """Open *path* directory by directory."""
    *directories, name = path.split("/")
    here = Descriptor.open(root, DIRECTORY)
    for directory in directories:
        with here as number:
            here = Descriptor.open(encoded(directory), DIRECTORY | NOFOLLOW, dir_fd=number)
    with here as number:
        numbers += map(partial(os.open, dir_fd=number), (encoded(name),), (flags | NOFOLLOW,))
