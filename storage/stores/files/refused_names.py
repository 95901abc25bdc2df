"""
Names that a file system does not take, although the operating system would.

File systems say so in different ways. ``ENAMETOOLONG`` and ``EILSEQ`` can mean nothing else, see `from_os_error`; those
that also have other meanings are looked at here, where a name was given.
"""

from __future__ import annotations

import errno
import os

from storage._core.descriptors import Descriptor
from storage.errors import InvalidKeyError
from storage.stores.files.draft_names import new_draft_name

__all__ = ["raise_if_refused", "takes_names"]


def raise_if_refused(
    cause: OSError, store: object, *, directory: int | None = None, moved: tuple[int, bytes] | None = None
) -> None:
    """
    Raise `InvalidKeyError` if a system call failed with *cause* because of the names that it was given; else return.

    Args:
        cause: what was caught.
        store: for the error's message.
        directory: the open directory in which the call was to make a name. exfat-fuse says ``ENOENT`` of names that it
            does not take, as others do of a directory that is gone, so this is found out by making another name in it.
        moved: the open directory and the encoded name of a file that the call was to give another name, and without
            which it would fail with ``ENOENT`` too.
    """
    refused = cause.errno == errno.EINVAL
    if cause.errno == errno.ENOENT and directory is not None:
        there = moved is None or os.access(moved[1], os.F_OK, dir_fd=moved[0], follow_symlinks=False)
        refused = there and takes_names(directory)
    if refused:
        raise InvalidKeyError(
            "the file system does not take a name in the key's path: choose a key without such characters as "
            '" * : < > ? \\ | and control characters',
            store=store,
        ) from cause


def takes_names(directory: int) -> bool:
    """Return whether a file can be made in an open directory: it is there, and may be written."""
    name = new_draft_name()
    try:
        Descriptor.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666, dir_fd=directory).close()
        os.unlink(name, dir_fd=directory)
    except OSError:
        return False
    return True
