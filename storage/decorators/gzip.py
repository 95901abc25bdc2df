"""`GzipStore`: objects compressed with gzip."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from storage._core.data import CHUNK
from storage._core.gzip_format import GZIP_WBITS, MOST_EXPANSION
from storage.base import ObjectStore
from storage.decorators.bases.compressor import Compressor
from storage.decorators.bases.data_transform import Coder
from storage.errors import CorruptObjectError

__all__ = ["GzipStore"]

#: Compressed bytes per call of zlib. After 1 MiB of output and after each member, zlib copies the bytes that are left.
#: So the time for a whole object in one call would grow with the square of its size.
SLICE = 64 << 10

#: For levels up to a number, the maximum of bytes that are compressed on the event loop: for text this takes 0.3 to
#: 0.5 ms with zlib at that level, and less with zlib-ng; a hop to a thread takes 0.05 ms.
_OFFLOAD_ABOVE = {1: 64 << 10, 6: 32 << 10, 9: 16 << 10}


class GzipStore(Compressor):
    """
    Objects are gzip files (RFC 1952) in the store below, which any other program can read.

    With zlib-ng installed (``pip install 'stackstore[fast]'``) it takes about half the time; the files have the same
    format and about the same size.

    Args:
        base: the store below.
        level: 0 (no compression) to 9 (smallest, slowest).
        max_size: maximum of bytes that `get` decompresses, and that `head`, `scan` and `open` decompress to measure an
            object whose size is not stored with it, against decompression bombs (see `Compressor`).
    """

    _most_expansion = MOST_EXPANSION

    def __init__(self, base: ObjectStore, *, level: int = 6, max_size: int = 1 << 30) -> None:
        if not 0 <= level <= 9:
            raise ValueError(f"level must be 0 to 9, not {level}")
        super().__init__(base, max_size=max_size)
        self.level = level
        self.offload_above: int | None = next(size for highest, size in _OFFLOAD_ABOVE.items() if level <= highest)
        self._zlib = _fastest()
        # Level 1 of zlib-ng is a quarter larger, for its speed; its level 2 is faster and smaller than zlib's level 1.
        self._level = 2 if level == 1 and self._zlib is not zlib else level

    def encode(self, data: bytes) -> bytes:
        # zlib writes no time into the header, so equal bytes give equal files
        packed: bytes = self._zlib.compress(data, self._level, GZIP_WBITS)
        return packed

    def encoder(self) -> Coder:
        return _Encoder(self._zlib.compressobj(self._level, zlib.DEFLATED, GZIP_WBITS))

    def decoder(self) -> Coder:
        return _Decoder(self._zlib)

    def _declared_size(self, data: bytes) -> int:
        return int.from_bytes(data[-4:], "little")  # of the last member, modulo 4 GiB (RFC 1952, ISIZE)


def _fastest() -> ModuleType:
    """Return the module ``zlib_ng`` if it is installed, else `zlib`."""
    try:
        from zlib_ng import zlib_ng
    except ImportError:
        return zlib
    return zlib_ng


class _Encoder:
    def __init__(self, member: Any) -> None:
        self._member = member

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield the compressed bytes that zlib returns for *piece*, if any."""
        if out := self._member.compress(piece):
            yield out

    def finish(self) -> bytes:
        """Return the end of the compressed data and the trailer."""
        end: bytes = self._member.flush()
        return end


class _Decoder:
    def __init__(self, library: ModuleType) -> None:
        self._zlib = library
        self._member = library.decompressobj(GZIP_WBITS)

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield the decompressed data in pieces of at most 1 MiB."""
        for start in range(0, len(piece), SLICE):
            rest = piece[start : start + SLICE]
            while rest:
                if self._member.eof:  # a gzip file may have several members, one after the other
                    self._member = self._zlib.decompressobj(GZIP_WBITS)
                try:
                    out = self._member.decompress(rest, CHUNK)
                except self._zlib.error as cause:
                    raise CorruptObjectError("not gzip data") from cause
                rest = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
                if out:
                    yield out

    def finish(self) -> bytes:
        """Return the bytes that zlib still holds; raise if the trailer was not read."""
        out: bytes = self._member.flush()
        if not self._member.eof:
            raise CorruptObjectError("truncated gzip data")
        return out
