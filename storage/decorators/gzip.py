"""`GzipStore`: smaller objects, for some of the processor's time."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator

from storage.base import ObjectStore
from storage.data import CHUNK
from storage.decorators.compressor import Compressor
from storage.decorators.data_transform import Coder
from storage.errors import CorruptObjectError

__all__ = ["GzipStore"]

#: zlib's word for a gzip header and trailer around the data (zlib manual, deflateInit2: 16 + 15 bits of window).
GZIP = 31

#: Compressed bytes that zlib is handed at once. It copies those that it leaves, after 1 MiB of output and after each
#: member, so that an object handed over whole would take time by the square of its size.
SLICE = 64 << 10


class GzipStore(Compressor):
    """
    Objects are gzip files (RFC 1952) in the store below, which any other program can read.

    Args:
        base: the store below.
        level: 0 (none) to 9 (smallest, slowest).
        max_size: bytes that `get` decompresses at most, against bombs; `open` reads in bounded memory without it.
    """

    def __init__(self, base: ObjectStore, *, level: int = 6, max_size: int = 1 << 30) -> None:
        if not 0 <= level <= 9:
            raise ValueError(f"a gzip level is 0 to 9, not {level}")
        super().__init__(base, max_size=max_size)
        self.level = level

    def encode(self, data: bytes) -> bytes:
        return gzip.compress(data, self.level, mtime=0)  # without a time, equal bytes give equal files

    def encoder(self) -> Coder:
        return _Encoder(self.level)

    def decoder(self) -> Coder:
        return _Decoder()


class _Encoder:
    def __init__(self, level: int) -> None:
        self._member = zlib.compressobj(level, zlib.DEFLATED, GZIP)

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield what zlib gives for *piece*, if anything yet."""
        if out := self._member.compress(piece):
            yield out

    def finish(self) -> bytes:
        """Return the end of the compressed data and the trailer."""
        return self._member.flush()


class _Decoder:
    def __init__(self) -> None:
        self._member = zlib.decompressobj(GZIP)

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield the decompressed data in pieces of at most 1 MiB."""
        for start in range(0, len(piece), SLICE):
            rest = piece[start : start + SLICE]
            while rest:
                if self._member.eof:  # a gzip file may have several members, one behind the other
                    self._member = zlib.decompressobj(GZIP)
                try:
                    out = self._member.decompress(rest, CHUNK)
                except zlib.error as cause:
                    raise CorruptObjectError("not gzip data") from cause
                rest = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
                if out:
                    yield out

    def finish(self) -> bytes:
        """Return what zlib still holds, once the trailer was read and found right."""
        out = self._member.flush()
        if not self._member.eof:
            raise CorruptObjectError("gzip data that ends too early")
        return out
