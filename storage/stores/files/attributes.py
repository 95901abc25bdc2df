"""
An object's attributes, kept in an extended attribute of its file.

Its bytes are the attributes, each as its name, 0xFE, its value in UTF-8, and 0xFF; 0xFE is left out where the value is
empty. Neither byte occurs in UTF-8, so nothing is escaped: 2,048 bytes of attributes take 3,436 at most, which fit
beside others into the 4,096 that ext4 has for all of a file. What begins with ``{`` is JSON of an earlier version.
"""

from __future__ import annotations

import errno
import os

from storage._core.stored_attributes import LONGEST, checked_attributes, decode_attributes
from storage.errors import CorruptObjectError, StoreFullError, UnsupportedOperationError
from storage.stores.files.file_systems import HAS_XATTR, is_in_one_block

__all__ = ["fits_attributes", "read_attributes", "takes_attributes", "write_attributes"]

#: The extended attribute that holds an object's attributes.
XATTR = "user.storage.attributes"

_BETWEEN, _END = b"\xfe", b"\xff"

#: The most bytes that 2,048 bytes of attributes take: 36 names of one character, the others of two, short values.
_MOST = 3436

#: Bytes of a block in which there is room for that.
_BLOCK = 4096

_TOO_MANY = (errno.ENOSPC, errno.E2BIG, errno.ERANGE)


def fits_attributes(directory: int) -> bool:
    """Return whether files in an open directory of a local file system can have 2,048 bytes of attributes."""
    if is_in_one_block(directory) and os.fstatvfs(directory).f_bsize < _BLOCK:
        return False
    return _has_xattrs(directory)


def takes_attributes(file: int) -> bool:
    """Return whether a new, empty file, which is tried, can have 2,048 bytes of attributes."""
    if not HAS_XATTR:
        return False
    try:
        os.setxattr(file, XATTR, bytes(_MOST))
    except OSError:
        return False
    return True


def read_attributes(descriptor: int) -> dict[str, str]:
    """
    Return the attributes of an open file; an empty dict when the file or its file system has none.

    Raises:
        CorruptObjectError: they are not what a store writes.
    """
    if not HAS_XATTR:
        return {}
    try:
        packed = os.getxattr(descriptor, XATTR)
    except OSError as cause:
        if cause.errno in (errno.ENODATA, errno.ENOTSUP):
            return {}
        raise
    if len(packed) <= LONGEST and packed.endswith(_END):
        return checked_attributes(_unpacked(packed))
    return decode_attributes(packed)


def write_attributes(descriptor: int, attributes: dict[str, str], key: str, store: object) -> None:
    """
    Store the attributes of *key* with its open file.

    Raises:
        UnsupportedOperationError: the system or the file system stores none, or not so many bytes.
        StoreFullError: the disk is full.
    """
    if not HAS_XATTR:
        raise UnsupportedOperationError(
            "attributes cannot be stored: Python has no extended attributes on this system", key=key, store=store
        )
    packed = b"".join(
        name.encode() + (_BETWEEN + value.encode() if value else b"") + _END for name, value in attributes.items()
    )
    try:
        os.setxattr(descriptor, XATTR, packed)
    except OSError as cause:
        if cause.errno == errno.ENOSPC and not os.fstatvfs(descriptor).f_bavail:
            raise StoreFullError("no space left for the attributes", key=key, store=store) from cause
        if cause.errno not in (errno.ENOTSUP, *_TOO_MANY):
            raise
        why = "there are no extended attributes on this file system"
        if cause.errno in _TOO_MANY:
            longest = max(attributes, key=lambda name: len(name) + len(attributes[name].encode()))
            why = (
                f"this file system has no room for {len(packed):,} bytes of them beside a file; the longest is "
                f"{longest!r}: put long values into an object of their own"
            )
        raise UnsupportedOperationError(f"attributes cannot be stored: {why}", key=key, store=store) from cause


def _unpacked(packed: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    try:
        for pair in packed[:-1].split(_END):
            name, _, value = pair.partition(_BETWEEN)
            found[name.decode("ascii")] = value.decode()
    except UnicodeDecodeError as cause:
        raise CorruptObjectError(f"the extended attribute {XATTR} is damaged: it is not text") from cause
    if len(found) != packed.count(_END):
        raise CorruptObjectError(f"the extended attribute {XATTR} is damaged: a name occurs twice")
    return found


def _has_xattrs(descriptor: int) -> bool:
    if not HAS_XATTR:
        return False
    try:
        os.getxattr(descriptor, XATTR)
    except OSError as cause:
        return cause.errno == errno.ENODATA
    return True
