"""Wait until a file is on the disk; a file system that cannot do that is told from a disk that fails."""

from __future__ import annotations

import os

from storage._core.directory_sync import UNABLE
from storage.errors import UnsupportedOperationError

__all__ = ["fsync_file"]


def fsync_file(file: int, advice: str = "use durability='atomic', which does not wait for the disk") -> None:
    """
    Wait until the bytes of an open file are on the disk.

    Args:
        file: its descriptor.
        advice: what to do where the file system syncs no files, as some FUSE mounts; for the error.

    Raises:
        UnsupportedOperationError: the file system syncs no files.
        OSError: the sync failed.
    """
    try:
        os.fsync(file)
    except OSError as cause:
        if cause.errno not in UNABLE:
            raise
        raise UnsupportedOperationError(
            f"the file system cannot sync files to the disk ({os.strerror(cause.errno)}): {advice}"
        ) from cause
