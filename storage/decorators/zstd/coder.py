"""Zstandard frames, piece by piece: of Python's own `compression.zstd`, before 3.14 of its backport."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping

from storage._core.data import CHUNK
from storage.errors import CorruptObjectError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["FrameCompressor", "ZstdDecoder", "ZstdEncoder", "declared_size"]

#: Compressed bytes that a decoder is handed at once: after each frame it copies those that it leaves.
SLICE = 64 << 10

#: The largest window of a frame, 128 MiB: all levels stay within it, and so does the `zstd` program without ``--long``.
#: A frame says itself how much memory it takes to decompress, however small it is.
WINDOW: Mapping[int, int] = {zstd.DecompressionParameter.window_log_max: 27}


class FrameCompressor:
    """
    Makes frames that say how large they are, and have a checksum behind the data as those of the `zstd` program.

    To make a compressor takes five times as long as to compress a few hundred bytes, 8 us. So those for small objects
    are kept, one for each thread that was at it at once; those for large ones have large tables, and are not.

    Args:
        level: how much to compress.
        small: bytes of a small object at most.
    """

    def __init__(self, level: int, small: int) -> None:
        self._parameters = _parameters(level)
        self._small = small
        self._kept: list[zstd.ZstdCompressor] = []

    def compress(self, data: bytes) -> bytes:
        """Return *data* as one frame."""
        if len(data) > self._small:
            return zstd.compress(data, options=self._parameters)
        try:
            compressor = self._kept.pop()
        except IndexError:
            compressor = zstd.ZstdCompressor(options=self._parameters)
        compressor.set_pledged_input_size(len(data))
        frame = compressor.compress(data, zstd.ZstdCompressor.FLUSH_FRAME)
        self._kept.append(compressor)
        return frame


def _parameters(level: int) -> Mapping[int, int]:
    """Return what to compress with: as the `zstd` program does, with a checksum behind the data."""
    return {zstd.CompressionParameter.compression_level: level, zstd.CompressionParameter.checksum_flag: 1}


def declared_size(data: bytes) -> int:
    """Return how many bytes the first frame says that it makes; 0 if it does not say."""
    try:
        return zstd.get_frame_info(data).decompressed_size or 0
    except zstd.ZstdError:
        return 0


class ZstdEncoder:
    """The pieces of one object become one frame."""

    def __init__(self, level: int) -> None:
        self._frame = zstd.ZstdCompressor(options=_parameters(level))

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield what zstd gives for *piece*, if anything yet."""
        if out := self._frame.compress(piece):
            yield out

    def finish(self) -> bytes:
        """Return the end of the frame."""
        return self._frame.flush()


class ZstdDecoder:
    """The frames of one object, one behind the other, become its pieces."""

    def __init__(self) -> None:
        self._frame = zstd.ZstdDecompressor(options=WINDOW)

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield the decompressed data in pieces of at most 1 MiB."""
        for start in range(0, len(piece), SLICE):
            rest = piece[start : start + SLICE]
            while rest or not (self._frame.eof or self._frame.needs_input):
                if self._frame.eof:
                    self._frame = zstd.ZstdDecompressor(options=WINDOW)
                try:
                    out = self._frame.decompress(rest, CHUNK)
                except zstd.ZstdError as cause:
                    raise CorruptObjectError(f"not zstd data: {cause}") from cause
                rest = self._frame.unused_data if self._frame.eof else b""
                if out:
                    yield out

    def finish(self) -> bytes:
        """Return nothing, once the last frame is whole and its checksum was found right."""
        if not self._frame.eof:
            raise CorruptObjectError("truncated zstd data")
        return b""
