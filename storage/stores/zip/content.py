"""The data of one zip entry in pieces: compressed, as it is in the archive, or decoded."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from storage._core.data import CHUNK
from storage.errors import CorruptObjectError
from storage.stores.zip.decoders import Decoder, decode, decoder_of
from storage.stores.zip.entry import Entry
from storage.stores.zip.file import OpenFile
from storage.stores.zip.format import LOCAL, data_offset

__all__ = ["CompressedData", "Content"]

#: Compressed bytes that a decoder gets in one piece. It copies the unused ones with every piece that it returns.
_COMPRESSED_CHUNK = 1 << 16


class CompressedData:
    """
    The compressed bytes of an entry, as they are in the archive.

    Attributes:
        position: the offset of the next byte; it may be set.

    Raises:
        CorruptObjectError: the entry is not in the file, or not completely; raised here or in `take`.
    """

    def __init__(self, file: OpenFile, entry: Entry) -> None:
        self._file, self._size = file, entry.compressed_size
        self._begin = data_offset(entry, file.read(LOCAL.size, entry.offset))
        self.position: int = 0

    def take(self, size: int = CHUNK) -> bytes:
        """Return the next *size* bytes, fewer only at the end."""
        size = min(size, self._size - self.position)
        data = self._file.read(size, self._begin + self.position)
        if len(data) < size:
            raise CorruptObjectError("the archive ends within the entry's data")
        self.position += size
        return data

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.take, b"")


class Content:
    """
    The decoded bytes of an entry. Its methods block.

    When an entry has been read from start to end, its checksum is verified. `read` never returns more bytes than the
    entry's headers say, whatever its data would decode to.

    Raises:
        CorruptObjectError: the data does not match the entry's headers; raised here or in `read`.
        UnsupportedOperationError: the entry is encrypted, or its compression method is not supported.
    """

    def __init__(self, file: OpenFile, entry: Entry) -> None:
        self._entry = entry
        self._compressed = CompressedData(file, entry)
        self._rewind()

    def _rewind(self) -> None:
        self._decoder = decoder_of(self._entry)
        self._compressed.position = 0
        self._position = 0
        self._crc: int | None = 0  # of the bytes up to the position; None if some of them were skipped

    def read(self, start: int, size: int) -> bytes:
        """Return *size* bytes from *start* on, fewer only at the end; it is fastest where the last read ended."""
        self._move_to(start)
        stop = min(start + size, self._entry.size)
        pieces = []
        while self._position < stop:
            pieces.append(self._next(min(stop - self._position, CHUNK)))
        return b"".join(pieces)

    def _move_to(self, position: int) -> None:
        """Move to *position*; compressed data is decoded up to there, and to move back, from the start."""
        if position == self._position:
            return
        if self._decoder is None:
            self._compressed.position = self._position = position
            self._crc = None if position else 0
            return
        if position < self._position:
            self._rewind()
        while self._position < position:
            self._next(min(position - self._position, CHUNK))

    def _next(self, limit: int) -> bytes:
        """Return 1 to *limit* bytes; by the headers there are at least *limit* left."""
        piece = self._compressed.take(limit) if self._decoder is None else self._decoded(self._decoder, limit)
        if not piece:
            raise CorruptObjectError("the entry's data end too early")
        self._position += len(piece)
        if self._crc is not None:
            self._crc = zlib.crc32(piece, self._crc)
        if self._position == self._entry.size:
            self._check_complete()
        return piece

    def _check_complete(self) -> None:
        """Verify the checksum of what was read, and that the data ends here."""
        if self._crc not in (None, self._entry.crc):
            raise CorruptObjectError("the entry's data do not match its checksum")
        if self._decoder is not None and (self._decoded(self._decoder, 1) or not self._decoder.eof):
            raise CorruptObjectError("the entry's data do not end where its header says")

    def _decoded(self, decoder: Decoder, limit: int) -> bytes:
        """Return the decoder's next bytes, ``b""`` where there are none."""
        while not decoder.eof:
            needs_input = decoder.needs_input
            compressed = self._compressed.take(_COMPRESSED_CHUNK) if needs_input else b""
            piece = decode(decoder, compressed, limit)
            if piece or (needs_input and not compressed):
                return piece
        return b""
