"""An object's attributes, kept in an extended attribute of its file."""

from __future__ import annotations

import errno
import os

from storage._core.stored_attributes import decode_attributes, encode_attributes
from storage.errors import UnsupportedOperationError
from storage.types import ATTRIBUTES_LIMIT

__all__ = ["has_attributes", "read_attributes", "write_attributes"]

#: The extended attribute that holds an object's attributes, as JSON.
XATTR = "user.storage.attributes"

#: Python has no functions for extended attributes on macOS.
HAS_XATTR = hasattr(os, "setxattr")


def has_attributes(path: str) -> bool:
    """Return whether the file system of *path* stores extended attributes."""
    if not HAS_XATTR:
        return False
    try:
        os.getxattr(path, XATTR)
    except OSError as cause:
        return cause.errno == errno.ENODATA
    return True


def read_attributes(descriptor: int) -> dict[str, str]:
    """
    Return the attributes of an open file; an empty dict when the file or its file system has none.

    Raises:
        CorruptObjectError: the extended attribute has something else.
    """
    if not HAS_XATTR:
        return {}
    try:
        packed = os.getxattr(descriptor, XATTR)
    except OSError as cause:
        if cause.errno in (errno.ENODATA, errno.ENOTSUP):
            return {}
        raise
    return decode_attributes(packed)


def write_attributes(descriptor: int, attributes: dict[str, str], key: str, store: object) -> None:
    """
    Store the attributes of *key* with its open file.

    Raises:
        UnsupportedOperationError: the system or the file system stores none, or not so many bytes.
    """
    if not HAS_XATTR:
        raise UnsupportedOperationError(
            "attributes cannot be stored: Python has no extended attributes on this system", key=key, store=store
        )
    packed = encode_attributes(attributes, key=key, store=store).encode()
    try:
        os.setxattr(descriptor, XATTR, packed)
    except OSError as cause:
        too_many = len(packed) > ATTRIBUTES_LIMIT and cause.errno in (errno.ENOSPC, errno.E2BIG, errno.ERANGE)
        if cause.errno != errno.ENOTSUP and not too_many:
            raise
        why = f"{len(packed)} bytes are too many for" if too_many else "there are no extended attributes on"
        raise UnsupportedOperationError(
            f"attributes cannot be stored: {why} this file system", key=key, store=store
        ) from cause
