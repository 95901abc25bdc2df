"""What the kernel says of the file system that an open file or directory is on."""

from __future__ import annotations

import ctypes
import errno
import glob
import os
import struct
import sys

__all__ = [
    "EXT4",
    "HAS_XATTR",
    "UNSUPPORTED",
    "XFS",
    "folds_names",
    "is_in_one_block",
    "is_local",
    "may_fold_per_directory",
    "type_of",
]

#: Errors of calls that a file system does not have, or does not let this process make.
UNSUPPORTED = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM, errno.EACCES, errno.EINVAL})

#: Python has no functions for extended attributes on macOS.
HAS_XATTR = hasattr(os, "setxattr")

#: Numbers of file systems by statfs(2), from <linux/magic.h>.
EXT4, _F2FS, _TMPFS, _OVERLAYFS = 0xEF53, 0xF2F52010, 0x01021994, 0x794C7630
_BTRFS, XFS, _BCACHEFS, _ZFS, _RAMFS = 0x9123683E, 0x58465342, 0xCA451A4E, 0x2FC12FC1, 0x858458F6

#: Those of this machine, which keep times as they are set, and the inode of a file as long as it exists. ext2 and ext3
#: have the number of ext4, and whole seconds, as ext4 has on disks that were made with small inodes.
_LOCAL = frozenset({EXT4, _F2FS, _TMPFS, _OVERLAYFS, _BTRFS, XFS, _BCACHEFS, _ZFS, _RAMFS})

#: Those whose directories can each fold names, with their names in ``/sys/fs``.
_FOLDING = {EXT4: "ext4", _F2FS: "f2fs", _TMPFS: "tmpfs"}

#: FS_IOC_GETFLAGS of <linux/fs.h>, ``_IOR('f', 1, long)``, and FS_CASEFOLD_FL.
_GET_FLAGS = (0x8000_0000 if os.uname().machine[:3] not in ("mip", "ppc", "spa") else 0x4000_0000) | (
    struct.calcsize("l") << 16 | ord("f") << 8 | 1
)
_CASEFOLD = 0x4000_0000

_fstatfs = None
if sys.platform == "linux":
    _fstatfs = ctypes.CDLL(None, use_errno=True).fstatfs


def type_of(descriptor: int) -> int | None:
    """Return the number by which statfs(2) knows the file system of an open file; None where there is none."""
    if _fstatfs is None:
        return None
    status = (ctypes.c_long * 32)()  # more than struct statfs has anywhere
    if _fstatfs(descriptor, status):
        return None
    return int(status[0]) & 0xFFFFFFFF


def is_local(descriptor: int) -> bool:
    """Return whether an open file or directory is on a file system that keeps times, and inodes."""
    return type_of(descriptor) in _LOCAL


def is_in_one_block(descriptor: int) -> bool:
    """Return whether all extended attributes of a file are in one block: ext4, which overlayfs may be over."""
    return type_of(descriptor) in (EXT4, _OVERLAYFS)


def may_fold_per_directory(descriptor: int) -> bool:
    """Return whether each directory of this file system may or may not ignore case, as those of ext4 (chattr +F)."""
    name = _FOLDING.get(type_of(descriptor) or 0)
    return name is not None and bool(glob.glob(f"/sys/fs/{name}/features/casefold"))


def folds_names(directory: int) -> bool | None:
    """Return whether an open directory is one that ignores case; None where its file system does not say it."""
    if sys.platform != "linux":
        return None
    import fcntl

    flags = bytearray(struct.calcsize("l"))
    try:
        fcntl.ioctl(directory, _GET_FLAGS, flags)
    except OSError:
        return None
    return bool(struct.unpack_from("I", flags)[0] & _CASEFOLD)
