"""The table by which every store on files maps errors of the operating system to those of `storage.errors`."""

from __future__ import annotations

import errno
import os

from storage.errors import (
    InvalidKeyError,
    PermissionDeniedError,
    StorageError,
    StoreFullError,
    StoreTimeoutError,
    StoreUnavailableError,
)

__all__ = ["from_os_error", "is_of_file"]

_KINDS: dict[type[StorageError], tuple[int, ...]] = {
    PermissionDeniedError: (errno.EACCES, errno.EPERM, errno.EROFS),
    StoreFullError: (errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
    InvalidKeyError: (errno.ENAMETOOLONG, errno.EILSEQ),
    StoreTimeoutError: (errno.ETIMEDOUT,),
    # Too many open files, a busy or vanished mount, a directory that was deleted during a write: a retry may succeed.
    StoreUnavailableError: (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.EBUSY, errno.ESTALE, errno.ENOENT),
}

#: Errors of one file, whatever the store: what may not be read, what the disk does not give back, and what pseudo file
#: systems such as /proc and /sys answer for files that cannot be read so, or not now.
_OF_FILE = {errno.EACCES, errno.EPERM, errno.EIO, errno.EINVAL, errno.ESRCH, errno.ENODEV, errno.ENXIO, errno.EAGAIN}
_OF_FILE |= {errno.EBUSY, errno.ESPIPE, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENODATA, errno.EOVERFLOW, errno.EBADMSG}
_OF_FILE |= {getattr(errno, name) for name in ("EUCLEAN", "EREMOTEIO", "ENOKEY") if hasattr(errno, name)}  # of Linux

_BY_NUMBER = {number: kind for kind, numbers in _KINDS.items() for number in numbers}


def from_os_error(cause: OSError, key: str | None, store: object) -> StorageError:
    """Return the `StorageError` for *cause*; the caller raises it ``from cause``."""
    kind = _BY_NUMBER.get(cause.errno or 0, StorageError)
    reason = os.strerror(cause.errno) if cause.errno else str(cause)
    return kind(reason, key=key, store=store)


def is_of_file(cause: BaseException | None) -> bool:
    """Return whether an error may be that of one file only, and others can be read; not: too many are open."""
    return isinstance(cause, OSError) and cause.errno in _OF_FILE
