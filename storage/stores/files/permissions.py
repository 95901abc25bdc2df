"""
Owner, group, mode and extended attributes of the files that a store replaces and copies.

An object that replaces a file keeps those of the file, as far as the process may set them, and nobody may read or write
it who might not do so before: what cannot be given to the old group is given to no group. Set-user-ID and set-group-ID
are never put on new bytes; nor are file capabilities.
"""

from __future__ import annotations

import os
import stat
from functools import partial

from storage.stores.files.file_systems import HAS_XATTR, UNSUPPORTED

__all__ = ["keep_permissions", "mode_of_source", "without_group"]

_ACL, _DEFAULT_ACL = "system.posix_acl_access", "system.posix_acl_default"

_MODE, _NO_SET_ID = 0o7777, ~(stat.S_ISUID | stat.S_ISGID)

#: Extended attributes that are this package's, and go with the object or the version.
_OURS = "user.storage."

_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def keep_permissions(
    file: int, status: os.stat_result, replaced: os.stat_result, directory: int, name: bytes, most: int | None = None
) -> None:
    """
    Give a new, open file what the file *name* has, which it will replace: owner, group, mode, ACL, other xattrs.

    Costs 2.5 us where both files have the same already.

    Args:
        file: the new file, which nobody but its owner may use so far, and which has no bytes.
        status: its status.
        replaced: the status of the old one.
        directory: the open directory of the old one.
        name: its name there, encoded.
        most: the mode that it may get at most; None for that of the old one.
    """
    mode = replaced.st_mode & _NO_SET_ID
    is_same_group = replaced.st_gid == status.st_gid and replaced.st_uid == status.st_uid
    kept = is_same_group or _keep_group(file, replaced, status)
    if HAS_XATTR:
        kept = _keep_xattrs(file, directory, name) and kept
    if not kept:
        mode = without_group(mode)
    if most is not None:
        mode = _at_most(mode, most)
    if mode != status.st_mode:
        _chmod(file, mode & _MODE)


def mode_of_source(source: int, status: os.stat_result) -> int:
    """Return the mode that a copy of an open file may have at most, in the group of the file."""
    mode = stat.S_IMODE(status.st_mode) & 0o777
    return without_group(mode) if _has_acl(source) else mode


def _at_most(mode: int, most: int) -> int:
    """Return *mode* without what it gives to those who may not read a file of the mode *most*."""
    for everybody in (0o070, 0o007):
        if not most & everybody & 0o444:
            mode &= ~everybody
    return mode


def without_group(mode: int) -> int:
    """Return *mode* with no more for the group than for everybody else: it is another group."""
    return mode & ~0o070 | (mode & 0o007) << 3 & mode


def _keep_group(file: int, replaced: os.stat_result, status: os.stat_result) -> bool:
    """Give the new file the owner and the group of the old one; return whether it has the group."""
    owner, group = replaced.st_uid, replaced.st_gid
    return _chown(file, owner, group) or group == status.st_gid or _chown(file, -1, group)


def _chown(file: int, owner: int, group: int) -> bool:
    try:
        os.chown(file, owner, group)
    except OSError as cause:
        if cause.errno not in UNSUPPORTED:
            raise
        return False
    return True


def _chmod(file: int, mode: int) -> None:
    try:
        os.fchmod(file, mode)  # half of what `os.chmod` costs with a descriptor
    except OSError as cause:
        if cause.errno not in UNSUPPORTED:  # else the file system gives modes itself, as FAT does
            raise


def _has_acl(file: int) -> bool:
    if not HAS_XATTR:
        return False
    try:
        return _ACL in os.listxattr(file)  # 0.2 us; without an ACL, getxattr raises an error, which costs 0.7
    except OSError:
        return False


def _keep_xattrs(file: int, directory: int, name: bytes) -> bool:
    """Copy the extended attributes of a file that are not ours; return False if its ACL could not be kept."""
    numbers: list[int] = []
    closing = map(os.close, numbers)  # see storage._core.descriptors
    try:
        try:
            numbers += map(partial(os.open, dir_fd=directory), (name,), (_READ,))
        except OSError:  # not readable, or gone: whether it has an ACL is not known
            return False
        old = numbers[0]
        names = os.listxattr(old)
        if _ACL not in names and _ACL in os.listxattr(file):  # from a default of the directory
            os.removexattr(file, _ACL)
        kept = True
        for xattr in names:
            if _is_foreign(xattr):
                kept = _keep_xattr(file, old, xattr) and kept
        return kept
    except OSError as cause:
        if cause.errno not in UNSUPPORTED:
            raise
        return True
    finally:
        next(closing, None)


def _is_foreign(xattr: str) -> bool:
    """Return whether an extended attribute is neither of this package nor of the system's policy."""
    return xattr.startswith(("user.", "system.")) and not xattr.startswith(_OURS) and xattr != _DEFAULT_ACL


def _keep_xattr(file: int, old: int, xattr: str) -> bool:
    """Copy an extended attribute; return False if it is an ACL and could not be set."""
    try:
        os.setxattr(file, xattr, os.getxattr(old, xattr))
    except OSError:  # refused, gone, or there is no room for it
        return not xattr.startswith("system.")
    return True
