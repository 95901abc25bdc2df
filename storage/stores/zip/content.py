"""The data of one zip entry, as they are in the archive or decoded, in pieces."""

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

#: Compressed bytes that a decoder gets at once. It copies those that it has not used yet with every piece it gives.
_COMPRESSED_CHUNK = 1 << 16


class CompressedData:
    """
    An entry's bytes as they are in the archive.

    Attributes:
        position: how many of them come before the next; it may be set.

    Raises:
        CorruptObjectError: there is no such entry in the file, or not all of it; here or in `take`.
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
    An entry's bytes decoded. It blocks.

    When an entry was read from its start to its end, its checksum is held against the bytes. Never more bytes come out
    than the entry's headers say, whatever its data would decode to.

    Raises:
        CorruptObjectError: the data are not what the entry's headers say, here or in `read`.
        UnsupportedOperationError: the entry is encrypted, or compressed by a method that is not known here.
    """

    def __init__(self, file: OpenFile, entry: Entry) -> None:
        self._entry = entry
        self._compressed = CompressedData(file, entry)
        self._rewind()

    def _rewind(self) -> None:
        self._decoder = decoder_of(self._entry)
        self._compressed.position = 0
        self._position = 0
        self._crc: int | None = 0  # of the bytes up to the position; None when some of them were not seen

    def read(self, start: int, size: int) -> bytes:
        """Return *size* bytes from *start* on, fewer only at the end; it is quickest where the last ones ended."""
        self._move_to(start)
        stop = min(start + size, self._entry.size)
        pieces = []
        while self._position < stop:
            pieces.append(self._next(min(stop - self._position, CHUNK)))
        return b"".join(pieces)

    def _move_to(self, position: int) -> None:
        """Go to *position*; what is compressed is decoded up to there, and from the start to go back."""
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
        """Return 1 to *limit* bytes; there are as many left, the headers say."""
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
        """Hold what was read against the checksum, and see that the data end here, too."""
        if self._crc not in (None, self._entry.crc):
            raise CorruptObjectError("the entry's data do not match its checksum")
        if self._decoder is not None and (self._decoded(self._decoder, 1) or not self._decoder.eof):
            raise CorruptObjectError("the entry's data do not end where its header says")

    def _decoded(self, decoder: Decoder, limit: int) -> bytes:
        """Return the decoder's next bytes, ``b""`` where there are none."""
        while not decoder.eof:
            hungry = decoder.needs_input
            compressed = self._compressed.take(_COMPRESSED_CHUNK) if hungry else b""
            piece = decode(decoder, compressed, limit)
            if piece or (hungry and not compressed):
                return piece
        return b""
