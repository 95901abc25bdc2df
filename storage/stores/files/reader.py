"""Reading an open file: its description, its bytes, and `FileReader` for reading it in pieces."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from storage._concurrency.offload import offload
from storage.base import ObjectStore
from storage.errors import CorruptObjectError, StorageError, StoreUnavailableError, UnsupportedOperationError
from storage.reader import BytesReader, SeekableReader
from storage.stores.files.attributes import read_attributes
from storage.stores.files.errors import from_os_error
from storage.stores.files.etags import Etags
from storage.types import ByteRange, ObjectInfo

__all__ = ["FileReader", "describe", "open_reader", "pread", "read_exactly", "read_part", "read_unsized"]


#: The most bytes read of a file that says it has none. They are kept in memory, since nobody knows how many there are.
MAX_UNSIZED = 64 << 20


def describe(key: str, descriptor: int, status: os.stat_result, etags: Etags, size: int | None = None) -> ObjectInfo:
    """Return the `ObjectInfo` of the object *key*, which is an open file; *size* in place of the status's, if given."""
    modified: datetime | None
    try:
        modified = datetime.fromtimestamp(status.st_mtime_ns / 1e9, UTC)
    except (ValueError, OverflowError):  # another program set a year that datetime does not support
        modified = None
    whole = status.st_size if size is None else size
    return ObjectInfo(key, whole, etags.of(descriptor, status), modified, read_attributes(descriptor))


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


def read_exactly(descriptor: int, size: int, offset: int, status: os.stat_result) -> bytes:
    """
    Return *size* bytes from *offset* on of a file that had this *status* when it was opened.

    Raises:
        StoreUnavailableError: another program has made the file shorter since.
        CorruptObjectError: the file system gives fewer bytes than the file has by its status.
    """
    data = pread(descriptor, size, offset)
    if len(data) == size:
        return data
    end, now = offset + len(data), os.fstat(descriptor)
    if (now.st_size, now.st_mtime_ns) != (status.st_size, status.st_mtime_ns):
        raise StoreUnavailableError(
            f"another program changed the file while it was read: it had {status.st_size:,} bytes when it was opened, "
            f"and ends after {end:,} now; read it again"
        )
    raise CorruptObjectError(
        f"the file ends after {end:,} bytes, but has {status.st_size:,} by its status: it was cut, or its file system "
        "gives no true sizes"
    )


def read_unsized(descriptor: int) -> bytes:
    """
    Return all bytes of an open file whose status says 0, as of files in ``/proc`` and on some cloud mounts.

    Raises:
        UnsupportedOperationError: there are too many of them.
    """
    pieces: list[bytes] = []
    size = 0
    while piece := os.pread(descriptor, 1 << 16, size):
        pieces.append(piece)
        size += len(piece)
        if size > MAX_UNSIZED:
            raise UnsupportedOperationError(
                f"the file has 0 bytes by its status, but more than {MAX_UNSIZED:,} when it is read: copy it elsewhere"
            )
    return b"".join(pieces)


def read_part(descriptor: int, status: os.stat_result, key: str, byte_range: ByteRange | None) -> bytes:
    """
    Return the bytes of an open file, or a part of them.

    Raises:
        RangeNotSatisfiableError: the range starts after the file's end.
        StorageError: as `read_exactly` and `read_unsized`; or the bytes do not fit into memory.
    """
    size = status.st_size
    try:
        if byte_range is None and size and len(data := os.pread(descriptor, size, 0)) == size:
            return data  # as nearly always: the calls below cost 0.2 us
        if not size and (data := read_unsized(descriptor)):
            return data if byte_range is None else data[slice(*byte_range.within(len(data), key))]
        start, stop = (0, size) if byte_range is None else byte_range.within(size, key)
        return read_exactly(descriptor, stop - start, start, status)
    except MemoryError as cause:
        raise StorageError(
            f"the file has {size:,} bytes, and those asked for do not fit into memory: read it in pieces, with `open`"
        ) from cause


def open_reader(
    store: ObjectStore, key: str, descriptor: int, status: os.stat_result, etags: Etags, byte_range: ByteRange | None
) -> FileReader | BytesReader:
    """Return a reader of the object *key*, which is an open file."""
    if not status.st_size and (data := read_unsized(descriptor)):
        return BytesReader(describe(key, descriptor, status, etags, len(data)), data, byte_range)
    return FileReader(store, describe(key, descriptor, status, etags), descriptor, status, byte_range)


class FileReader(SeekableReader):
    """A reader of an open file; stores never write into an existing file, so the version cannot change."""

    def __init__(
        self,
        store: ObjectStore,
        info: ObjectInfo,
        descriptor: int,
        status: os.stat_result,
        byte_range: ByteRange | None,
    ) -> None:
        super().__init__(info, byte_range)
        self._store = store
        self._descriptor = descriptor
        self._status = status

    async def _read_at(self, offset: int, size: int) -> bytes:
        if self._descriptor < 0:
            raise ValueError("the reader is closed: read inside `async with store.open(...)`")
        try:
            return await offload(read_exactly, self._descriptor, size, offset, self._status)
        except StorageError as error:
            error.store = repr(self._store)
            error.with_key(self.info.key)
            raise
        except OSError as cause:
            raise from_os_error(cause, self.info.key, self._store) from cause

    def close(self) -> None:
        """Refuse further reads: the number of the descriptor may soon belong to another file."""
        self._descriptor = -1
