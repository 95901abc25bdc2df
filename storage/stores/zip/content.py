"""The data of one zip entry in pieces: compressed, as it is in the archive, or decoded."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import NamedTuple

from storage._core.data import CHUNK
from storage.errors import CorruptObjectError
from storage.stores.zip.decoders import COMPRESSED_CHUNK, Decoder, decode, decoder_of
from storage.stores.zip.entry import Entry, compressed_crc
from storage.stores.zip.file import OpenFile
from storage.stores.zip.format import LOCAL, data_offset

__all__ = ["CompressedData", "Content", "StoredEntry", "crc_of_compressed"]


class StoredEntry(NamedTuple):
    """An object: its entry, and the file that contains it."""

    file: OpenFile
    entry: Entry


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
        """Yield all bytes in pieces, from the start."""
        self.position = 0
        return iter(self.take, b"")


class Content:
    """
    The decoded bytes of an entry. Its methods block.

    When an entry has been read from start to end, its checksum is verified. `read` never returns more bytes than the
    entry's headers say, whatever its data would decode to, and holds no more in memory.

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
        stop = min(start + size, self._entry.size)
        if start == self._position < stop <= start + CHUNK:  # without generators: 1 us of the 8 of a small object
            piece = self._next(stop - start)
            if self._position == stop:
                if stop == self._entry.size:
                    self._check_crc()
                    while not self._is_at_end():
                        pass
                return piece
            return piece + b"".join(self.pieces(self._position, stop - self._position))
        return b"".join(self.pieces(start, size))

    def pieces(self, start: int, size: int) -> Iterator[bytes]:
        """
        Yield what `read` returns in pieces of at most 1 MiB; an empty one for work of that size without a result.

        So it can be ended at any time. Another call may follow, but not go on beside this one.
        """
        stop = min(start + size, self._entry.size)
        if start < stop:
            yield from self._move_to(start)
            while self._position < stop:
                yield self._next(min(stop - self._position, CHUNK))
            if stop == self._entry.size:
                self._check_crc()
                while not self._is_at_end():
                    yield b""

    def _move_to(self, position: int) -> Iterator[bytes]:
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
            yield b""

    def _next(self, limit: int) -> bytes:
        """Return at most *limit* bytes, none if the next compressed bytes give none; there are some by the headers."""
        if self._decoder is None:
            piece, is_over = self._compressed.take(limit), False
        else:
            piece, is_over = self._decoded(self._decoder, limit)
        if not piece and is_over:
            raise CorruptObjectError("the entry's data end too early")
        self._position += len(piece)
        if self._crc is not None:
            self._crc = zlib.crc32(piece, self._crc)
        return piece

    def _check_crc(self) -> None:
        """Verify the checksum of what was read, when that is all."""
        if self._crc not in (None, self._entry.crc):
            raise CorruptObjectError("the entry's data do not match its checksum")

    def _is_at_end(self) -> bool:
        """Return whether nothing follows what was read; False if that is not known after one more piece."""
        if self._decoder is None or self._decoder.eof:
            return True
        more, is_over = self._decoded(self._decoder, 1)
        if more or (is_over and not self._decoder.eof):
            raise CorruptObjectError("the entry's data do not end where its header says")
        return is_over

    def _decoded(self, decoder: Decoder, limit: int) -> tuple[bytes, bool]:
        """Return the decoder's next bytes, if one more piece of compressed data gives any, and whether none follow."""
        if decoder.eof:
            return b"", True
        needs_input = decoder.needs_input
        compressed = self._compressed.take(COMPRESSED_CHUNK) if needs_input else b""
        piece = decode(decoder, compressed, limit)
        return piece, decoder.eof or (needs_input and not compressed and not piece)


def crc_of_compressed(file: OpenFile, entry: Entry) -> int:
    """Return the CRC-32 of an entry's data as it is in the archive: from its header, or else from the data."""
    crc = compressed_crc(entry)
    if crc is None:
        crc = 0
        for piece in CompressedData(file, entry):
            crc = zlib.crc32(piece, crc)
    return crc
