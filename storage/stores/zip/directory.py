"""An archive's directory, which lets other programs read it."""

from __future__ import annotations

from collections.abc import Iterable

from storage.stores.zip.entry import Entry
from storage.stores.zip.file import OpenFile
from storage.stores.zip.format import pack_central, pack_end

__all__ = ["write_directory"]


def write_directory(file: OpenFile, start: int, entries: Iterable[Entry], comment: bytes) -> int:
    """
    Write the directory of *entries* at the end of the file, *start*, and return the end of the archive.

    When it returns, all of the file is on the disk. When it fails, the file is as long as it was.
    """
    headers = [pack_central(entry) for entry in entries]
    directory = b"".join(headers)
    end = pack_end(start, len(directory), len(headers), comment)
    stop = start + len(directory) + len(end)
    try:
        middle = file.append([directory], start)
        # The end record refers to the directory, so it must not reach the disk before the directory.
        file.sync()
        file.append([end], middle)
        file.sync()
    except BaseException:
        file.cut_off(start, stop)
        raise
    return stop
