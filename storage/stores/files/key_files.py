"""The files in which a `HashdirStore` keeps the keys of its objects."""

from __future__ import annotations

import os
import stat
from functools import partial

from storage._concurrency.forks import PROCESS
from storage._core.descriptors import Descriptor
from storage._core.directory_sync import fsync_directory
from storage._core.file_sync import fsync_file
from storage._core.writing import write_all
from storage.errors import KeyConflictError
from storage.stores.files.draft_names import new_draft_name
from storage.stores.files.entries import file_status, status_of
from storage.stores.files.hash_layout import KEY_SUFFIX
from storage.stores.files.os_names import encoded
from storage.stores.files.root import READ

__all__ = ["MAX_KEY", "ensure_key_file", "read_key_file", "remove_key_file"]

#: The longest key, in bytes of UTF-8. Without a bound, a listing would have to read whatever stands in such a file.
MAX_KEY = 1 << 20

_PIECE = 1 << 16

_READ = READ | getattr(os, "O_NOFOLLOW", 0)


def read_key_file(directory: int, name: str) -> bytes | None:
    """
    Return the content of the key's file *name* in an open directory; None when it is no regular file, or too long.

    Raises:
        OSError: it cannot be read.
    """
    try:
        opened = Descriptor.open(name, _READ, dir_fd=directory)
    except OSError:
        if file_status(directory, encoded(name)) is not None:
            raise
        return None
    with opened as file:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_KEY:
            return None
        content = b""
        most = min(status.st_size or _PIECE, _PIECE)  # at once: a buffer of 64 KiB costs 1 us
        while len(content) <= MAX_KEY and (piece := os.read(file, most)):
            content += piece
        return content if len(content) <= MAX_KEY else None


def ensure_key_file(directory: int, name: str, key: bytes, *, expected: bool, sync: bool, store: object) -> None:
    """
    Write *key* into its file beside the object's file *name*, unless it is there; whole or not at all.

    The lock of the directory must be held. The file's name is the key's hash, so what another content it has is damage,
    of a loss of power for example.

    Args:
        directory: the open directory.
        name: the name of the object's file.
        key: the key's text in UTF-8.
        expected: whether it is probably there, because the object is. It is looked for in any case, which takes 5 us
            more where that is wrong.
        sync: whether to wait until the file is on the disk.
        store: for error messages.

    Raises:
        KeyConflictError: a link, a directory or the like has the name of the file.
    """
    target = encoded(name + KEY_SUFFIX)
    if expected or status_of(directory, target, expected=False) is not None:
        if _contains(directory, target, key):
            return
        there = status_of(directory, target)
        if there is not None and not stat.S_ISREG(there.st_mode):
            raise KeyConflictError(
                f"{os.fsdecode(target)!r}, the file for the key's text, is no regular file: move it away", store=store
            )
    draft, process = new_draft_name(), PROCESS.number
    opened = Descriptor.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666, dir_fd=directory)
    try:
        with opened as file:
            write_all(file, key)
            if sync:
                fsync_file(file)
        os.rename(draft, target, src_dir_fd=directory, dst_dir_fd=directory)
        if sync:
            fsync_directory(directory)
    except BaseException:
        if process == PROCESS.number:  # else it is the parent's, which goes on with it
            _unlink(directory, draft)
        raise


def _contains(directory: int, name: bytes, content: bytes) -> bool:
    """Return whether the regular file *name* in an open directory has this content; two calls less than reading it."""
    numbers: list[int] = []
    closing = map(os.close, numbers)  # see storage._core.descriptors
    try:
        numbers += map(partial(os.open, dir_fd=directory), (name,), (_READ,))
        file = numbers[0]
        return stat.S_ISREG(os.fstat(file).st_mode) and os.read(file, len(content) + 1) == content
    except OSError:
        if file_status(directory, name) is not None:
            raise
        return False
    finally:
        next(closing, None)


def remove_key_file(directory: int, name: str) -> None:
    """Remove the key's file beside the object's file *name*, if there is one; links and the like stay."""
    if file_status(directory, encoded(name + KEY_SUFFIX)) is not None:
        _unlink(directory, name + KEY_SUFFIX)


def _unlink(directory: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        pass
