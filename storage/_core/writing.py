"""`write_all`: writes all bytes, of which a system call may take only a part."""

from __future__ import annotations

import errno
import os

__all__ = ["write_all"]


def write_all(descriptor: int, data: bytes | memoryview, offset: int | None = None) -> None:
    """
    Write all of *data* to an open file: at *offset*, or, without one, where the file's position is.

    Raises:
        OSError: the system reports an error; also, as EIO, if it takes no byte and reports none: a file system that
            does so once may do so for ever.
    """
    view = memoryview(data)
    while view:
        written = os.write(descriptor, view) if offset is None else os.pwrite(descriptor, view, offset)
        if not written:
            raise OSError(errno.EIO, "the system wrote no byte, and reported no error")
        view = view[written:]
        if offset is not None:
            offset += written
