"""The decoders of the compression methods of zip entries, all with one interface."""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import Protocol

from storage.errors import CorruptObjectError, UnsupportedOperationError
from storage.stores.zip.entry import ENCRYPTED, STORED, Entry

__all__ = ["COMPRESSED_CHUNK", "DEFLATED", "METHODS", "Decoder", "decode", "decoder_of"]

DEFLATED, _BZIP2, _LZMA = 8, 12, 14

#: The compression methods that are read.
METHODS = frozenset({STORED, DEFLATED, _BZIP2, _LZMA})

#: Compressed bytes that a decoder gets in one piece. It copies the unused ones with every piece that it returns.
COMPRESSED_CHUNK = 1 << 16

#: Bytes of memory for an LZMA decoder: four times what the strongest preset needs. An entry could demand 4 GiB.
_LZMA_MEMORY = 1 << 28

#: Set in the flags when LZMA data ends in a marker; the decoder then does not get the size.
_ENDS_IN_MARKER = 0x0002


class Decoder(Protocol):
    """
    Decodes compressed bytes in pieces.

    Attributes:
        eof: whether the end of the compressed data was reached.
        needs_input: whether the next piece needs more compressed bytes.
    """

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Decode *data* and return at most *max_length* bytes."""
        ...


def decoder_of(entry: Entry) -> Decoder | None:
    """
    Return a decoder for the data of an entry, and None for uncompressed data.

    Raises:
        UnsupportedOperationError: the entry is encrypted, or its compression method is not supported.
        CorruptObjectError: the entry is uncompressed, but its two sizes differ.
    """
    if entry.flags & ENCRYPTED:
        raise UnsupportedOperationError("the entry is encrypted; ZipStore reads only unencrypted entries")
    if entry.method == STORED:
        if entry.compressed_size != entry.size:
            raise CorruptObjectError("the entry is stored uncompressed, but its two sizes differ")
        return None
    if entry.method == DEFLATED:
        return _Inflater()
    if entry.method == _BZIP2:
        return bz2.BZ2Decompressor()
    if entry.method == _LZMA:
        return _LzmaDecoder(None if entry.flags & _ENDS_IN_MARKER else entry.size)
    raise UnsupportedOperationError(
        f"the entry's compression method is {entry.method}; ZipStore reads 0 (stored), 8 (deflate), 12 (bzip2), "
        "14 (LZMA)"
    )


def decode(decoder: Decoder, compressed: bytes, limit: int) -> bytes:
    """
    Add *compressed* to the decoder's input and return at most *limit* decoded bytes.

    Raises:
        CorruptObjectError: the data is not valid for the decoder.
    """
    try:
        return decoder.decompress(compressed, limit)
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as cause:
        raise CorruptObjectError("the entry's data cannot be decompressed") from cause


class _Inflater:
    """The decoder of `zlib`, which returns unused input to its caller, with the interface of the others."""

    def __init__(self) -> None:
        self._decoder = zlib.decompressobj(-zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    @property
    def needs_input(self) -> bool:
        return not self._decoder.unconsumed_tail

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        return self._decoder.decompress(self._decoder.unconsumed_tail + data, max_length)


class _LzmaDecoder:
    """The decoder of `lzma` for .lzma files, whose header a zip entry has in another form."""

    def __init__(self, size: int | None) -> None:
        self._size = b"\xff" * 8 if size is None else size.to_bytes(8, "little")
        self._decoder: lzma.LZMADecompressor | None = None

    @property
    def eof(self) -> bool:
        return self._decoder is not None and self._decoder.eof

    @property
    def needs_input(self) -> bool:
        return self._decoder is None or self._decoder.needs_input

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        if self._decoder is None:
            # In a zip: two bytes of version, two of length (5), five of properties. In a file: properties and size.
            if len(data) < 9 or data[2:4] != b"\5\0":
                raise lzma.LZMAError("no LZMA properties")
            self._decoder = lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_LZMA_MEMORY)
            data = data[4:9] + self._size + data[9:]
        return self._decoder.decompress(data, max_length)
