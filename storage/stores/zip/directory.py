"""An archive's directory, which lets other programs read it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from storage.stores.zip.entry import Entry
from storage.stores.zip.file import OpenFile
from storage.stores.zip.format import pack_central, pack_end

__all__ = ["Directory"]


class Directory(NamedTuple):
    """
    A directory to be written into a file at *start*, in two parts.

    Attributes:
        start: where the file ends.
        headers: the central headers.
        end: the end record.
    """

    start: int
    headers: bytes
    end: bytes

    @classmethod
    def of(cls, entries: Iterable[Entry], start: int, comment: bytes) -> Directory:
        """Return the directory of *entries*."""
        headers = [pack_central(entry) for entry in entries]
        joined = b"".join(headers)
        return cls(start, joined, pack_end(start, len(joined), len(headers), comment))

    @property
    def stop(self) -> int:
        """The end of the archive, when this is written."""
        return self.start + len(self.headers) + len(self.end)

    def write(self, file: OpenFile) -> None:
        """Write the directory; all of the file is on the disk when this returns."""
        middle = file.append([self.headers], self.start)
        # The end record refers to the directory, so it must not reach the disk before the directory.
        file.sync()
        file.append([self.end], middle)
        file.sync()
