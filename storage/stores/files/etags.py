"""Etags of files: the time of the write, which no other write has, the size and the inode."""

from __future__ import annotations

import os
import random
import stat
import threading
import time

__all__ = ["current_etag", "etag_of_file", "new_mtime"]

_last_stamp = 0
_stamping = threading.Lock()


def new_mtime() -> int:
    """
    Return now, in ns, as no other write will have it: the file's mtime, and so a part of its etag.

    Kernels set mtimes by a clock that ticks every few ms, in which a file can be replaced by another of the same size
    many times. The last digits are drawn, so that two processes do not share one either.
    """
    global _last_stamp
    with _stamping:
        _last_stamp = max(time.time_ns() // 1000 * 1000 + random.randrange(1000), _last_stamp + 1)
        return _last_stamp


def etag_of_file(status: os.stat_result) -> str:
    """Return the etag of a file: when it was written, its size and its inode."""
    return f"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}"


def current_etag(directory: int, name: str) -> str | None:
    """Return the etag of a file in an open directory, None where there is none."""
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return etag_of_file(status) if stat.S_ISREG(status.st_mode) else None
