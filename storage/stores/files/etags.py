"""Etags of files, made of the modification time, which is unique to each write, the size and the inode."""

from __future__ import annotations

import os
import random
import stat
import time

from storage._concurrency.mutex import Mutex
from storage.stores.files.os_names import encoded
from storage.stores.files.refused_names import raise_if_refused

__all__ = ["current_etag", "etag_of_file", "new_mtime"]

_last_mtime = 0
_mtime_lock = Mutex()


def new_mtime() -> int:
    """
    Return the current time in ns, made unique, for the mtime of a file and so for its etag.

    Kernels set mtimes from a clock that ticks every few ms. Within one tick a file can be replaced many times by others
    of the same size. The last digits are random, so that the times of two processes differ too.
    """
    global _last_mtime
    with _mtime_lock:
        _last_mtime = max(time.time_ns() // 1000 * 1000 + random.randrange(1000), _last_mtime + 1)
        return _last_mtime


def etag_of_file(status: os.stat_result) -> str:
    """Return the etag of a file: its mtime, size and inode."""
    return f"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}"


def current_etag(directory: int, name: str) -> str | None:
    """Return the etag of a file in an open directory; None when there is no such file."""
    try:
        status = os.stat(encoded(name), dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
    except OSError as cause:
        raise_if_refused(cause, None)
        raise
    return etag_of_file(status) if stat.S_ISREG(status.st_mode) else None
