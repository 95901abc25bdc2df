"""`Change`, a write to an archive, and how the bytes of objects are compressed for it."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from storage._core.conditions import Target
from storage.errors import StorageError
from storage.stores.zip.decoders import DEFLATED
from storage.stores.zip.entry import STORED, Entry, entry_of
from storage.stores.zip.spool import Spool

__all__ = ["Change", "SpooledData", "put_change"]


class Change:
    """
    A write to make: an object to put, with its entry and compressed bytes, or, without them, an object to delete.

    With *after* it is made only if that other change, of the same commit, was made.

    Attributes:
        processed: whether a commit has processed it.
        error: then, why it was not made, and None if it was.
    """

    def __init__(
        self,
        target: Target,
        entry: Entry | None = None,
        compressed: Iterable[bytes] = (),
        *,
        after: Change | None = None,
    ) -> None:
        self.target: Target = target
        self.entry: Entry | None = entry
        self.compressed: Iterable[bytes] = compressed
        self.after: Change | None = after
        self.processed: bool = False
        self.error: OSError | StorageError | None = None

    def result(self) -> str:
        """Return the etag of the object that was put, ``""`` for a delete, or raise the error."""
        if self.error is not None:
            raise self.error
        return "" if self.entry is None else self.entry.etag


def put_change(target: Target, data: bytes, level: int | None) -> Change:
    """Return the change that puts *data*, deflated at *level* if that makes it smaller; None is no compression."""
    small = data if level is None else zlib.compress(data, level, -zlib.MAX_WBITS)
    crc = zlib.crc32(data)
    method, content, compressed_crc = STORED, data, crc
    if len(small) < len(data):
        method, content, compressed_crc = DEFLATED, small, zlib.crc32(small)
    entry = entry_of(
        target.key,
        method=method,
        crc=crc,
        compressed_size=len(content),
        size=len(data),
        attributes=target.attributes,
        compressed_crc=compressed_crc,
    )
    return Change(target, entry, [content])


class SpooledData:
    """
    The bytes of a stream, compressed into a temporary file in *directory*: their number is needed for the header, which
    precedes them in the archive.

    Up to 1 MiB is kept in memory. The file has no name, and disappears when it is closed or the process ends.
    """

    def __init__(self, directory: str, level: int | None) -> None:
        self._file = Spool(directory)
        self._compressor = None if level is None else zlib.compressobj(level, wbits=-zlib.MAX_WBITS)
        self._crc = self._compressed_crc = self._size = 0

    def write(self, piece: bytes) -> None:
        """Add the next bytes."""
        self._crc = zlib.crc32(piece, self._crc)
        self._size += len(piece)
        self._add(piece if self._compressor is None else self._compressor.compress(piece))

    def change(self, target: Target) -> Change:
        """Return the change that puts all that was written."""
        if self._compressor is not None:
            self._add(self._compressor.flush())
        entry = entry_of(
            target.key,
            method=STORED if self._compressor is None else DEFLATED,
            crc=self._crc,
            compressed_size=self._file.size,
            size=self._size,
            attributes=target.attributes,
            compressed_crc=self._compressed_crc,
        )
        return Change(target, entry, self)

    def _add(self, compressed: bytes) -> None:
        self._compressed_crc = zlib.crc32(compressed, self._compressed_crc)
        self._file.write(compressed)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._file)

    def close(self) -> None:
        """Close the file, which deletes it."""
        self._file.close()
