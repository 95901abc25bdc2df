"""What a new file takes over from the one that it replaces: owner, group, permissions and extended attributes."""

from __future__ import annotations

import os
import stat
from contextlib import suppress

__all__ = ["take_over"]

#: Where Linux keeps the access control list of a file.
_ACL = "system.posix_acl_access"


def take_over(source: int, target: int) -> None:
    """
    Give an open file the owner, group, permissions and extended attributes of another open file.

    What the process may not set stays as it is, and the permissions are then narrower, never wider.
    """
    old = os.fstat(source)
    for owner, group in ((old.st_uid, old.st_gid), (-1, old.st_gid)):
        with suppress(OSError):
            os.fchown(target, owner, group)
            break
    new = os.fstat(target)
    mode = stat.S_IMODE(old.st_mode)
    is_acl_kept = _copy_attributes(source, target)
    if new.st_gid != old.st_gid or not is_acl_kept:  # another group gets no more than everyone
        mode = mode & ~0o070 | (mode & 0o007) << 3 & mode
    if new.st_uid != old.st_uid or new.st_gid != old.st_gid:
        mode &= 0o1777  # a program must not run as somebody else
    if stat.S_IMODE(new.st_mode) != mode:
        os.fchmod(target, mode)


def _copy_attributes(source: int, target: int) -> bool:
    """Copy extended attributes; return False if there is an access control list that cannot be copied."""
    if not hasattr(os, "listxattr"):
        return True
    try:
        names = os.listxattr(source)
    except OSError:  # the file system has none
        return True
    is_acl_kept = True
    for name in names:
        try:
            os.setxattr(target, name, os.getxattr(source, name))
        except OSError:
            is_acl_kept = is_acl_kept and name != _ACL
    return is_acl_kept
