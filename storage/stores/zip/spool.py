"""`Spool`: bytes that are kept in memory, and in a file without a name when they become many."""

from __future__ import annotations

import os
from collections.abc import Iterator

from storage._core.data import CHUNK
from storage._core.descriptors import Descriptor
from storage._core.writing import write_all

__all__ = ["Spool"]

#: A new file that never has a name; elsewhere than on Linux, and on some file systems, it has one for a moment.
_NAMELESS = getattr(os, "O_TMPFILE", None)


class Spool:
    """
    Bytes to be read once more: up to 1 MiB in memory, more in a file that disappears when it is closed.

    Args:
        directory: where the file is made. It is not the system's directory for temporary files, where other users can
            make files, and which may be small.

    Attributes:
        size: how many bytes were written.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._memory = bytearray()
        self._file = Descriptor.none()
        self.size: int = 0

    def write(self, data: bytes) -> None:
        """
        Add *data*.

        Raises:
            OSError: the file cannot be made or written.
        """
        if not self._file:
            self._memory += data
            self.size = len(self._memory)
            if self.size <= CHUNK:
                return
            data, self._memory, self.size = bytes(self._memory), bytearray(), 0
            self._file = _temporary_file(self._directory)
        self._store(data)

    def _store(self, data: bytes) -> None:
        write_all(self._file.fileno(), data, self.size)
        self.size += len(data)

    def __iter__(self) -> Iterator[bytes]:
        """Yield all bytes in pieces, from the start."""
        if not self._file:
            yield bytes(self._memory)
            return
        position = 0
        while position < self.size and (piece := os.pread(self._file.fileno(), CHUNK, position)):
            yield piece
            position += len(piece)

    def close(self) -> None:
        """Close the file, which deletes it."""
        self._file.close()


def _temporary_file(directory: str) -> Descriptor:
    if _NAMELESS is not None:
        try:
            return Descriptor.open(directory, os.O_RDWR | os.O_EXCL | _NAMELESS, 0o600)
        except OSError:  # not on this file system; an error that remains comes again
            pass
    path = os.path.join(directory, f".{os.urandom(16).hex()}.spool")
    opened = Descriptor.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    os.unlink(path)
    return opened
