"""What the kernel says of the file system that an open file or directory is on."""

from __future__ import annotations

import ctypes
import glob
import os
import struct
import sys

__all__ = ["folds_names", "may_fold_per_directory", "type_of"]

#: The numbers of file systems whose directories can each fold names, by statfs(2), with their names in ``/sys/fs``.
_FOLDING = {0xEF53: "ext4", 0xF2F52010: "f2fs", 0x01021994: "tmpfs"}

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
