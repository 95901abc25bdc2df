"""Reading an open file: its description, its bytes, and `FileReader` for reading it in pieces."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from storage._concurrency.offload import offload
from storage.base import ObjectStore
from storage.reader import SeekableReader
from storage.stores.files.attributes import read_attributes
from storage.stores.files.errors import from_os_error
from storage.stores.files.etags import etag_of_file
from storage.types import ByteRange, ObjectInfo

__all__ = ["FileReader", "describe", "pread"]


def describe(key: str, descriptor: int, status: os.stat_result) -> ObjectInfo:
    """Return the `ObjectInfo` of the object *key*, which is an open file."""
    modified: datetime | None
    try:
        modified = datetime.fromtimestamp(status.st_mtime_ns / 1e9, UTC)
    except (ValueError, OverflowError):  # another program set a year that datetime does not support
        modified = None
    return ObjectInfo(key, status.st_size, etag_of_file(status), modified, read_attributes(descriptor))


def pread(descriptor: int, size: int, offset: int) -> bytes:
    """Return *size* bytes from *offset* on, fewer only at the file's end: one system call may return fewer."""
    data = os.pread(descriptor, size, offset)
    if len(data) == size or not data:
        return data
    pieces = [data]
    left = size - len(data)
    while left and (data := os.pread(descriptor, left, offset + size - left)):
        pieces.append(data)
        left -= len(data)
    return b"".join(pieces)


class FileReader(SeekableReader):
    """A reader of an open file; stores never write into an existing file, so the version cannot change."""

    def __init__(self, store: ObjectStore, info: ObjectInfo, descriptor: int, byte_range: ByteRange | None) -> None:
        super().__init__(info, byte_range)
        self._store = store
        self._descriptor = descriptor

    async def _read_at(self, offset: int, size: int) -> bytes:
        if self._descriptor < 0:
            raise ValueError("the reader is closed: read inside `async with store.open(...)`")
        try:
            return await offload(pread, self._descriptor, size, offset)
        except OSError as cause:
            raise from_os_error(cause, self.info.key, self._store) from cause

    def close(self) -> None:
        """Refuse further reads: the number of the descriptor may soon belong to another file."""
        self._descriptor = -1
