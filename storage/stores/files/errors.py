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

__all__ = ["from_os_error"]

_KINDS: dict[type[StorageError], tuple[int, ...]] = {
    PermissionDeniedError: (errno.EACCES, errno.EPERM, errno.EROFS),
    StoreFullError: (errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
    InvalidKeyError: (errno.ENAMETOOLONG, errno.EILSEQ),
    StoreTimeoutError: (errno.ETIMEDOUT,),
    # Too many open files, a busy or vanished mount, a directory that was deleted during a write: a retry may succeed.
    StoreUnavailableError: (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.EBUSY, errno.ESTALE, errno.ENOENT),
}
_BY_NUMBER = {number: kind for kind, numbers in _KINDS.items() for number in numbers}


def from_os_error(cause: OSError, key: str | None, store: object) -> StorageError:
    """Return the `StorageError` for *cause*; the caller raises it ``from cause``."""
    kind = _BY_NUMBER.get(cause.errno or 0, StorageError)
    reason = os.strerror(cause.errno) if cause.errno else str(cause)
    return kind(reason, key=key, store=store)
