"""Encoders and decoders of Zstandard frames, by Python's `compression.zstd`, or before 3.14 by its backport."""

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

#: Compressed bytes per call of a decoder: after each frame it copies the bytes that are left.
SLICE = 64 << 10

#: A file may have so many frames; beyond that, they must have so many stored bytes on average. Each takes 20 us, for a
#: decompressor of its own: frames of 9 bytes without any data would take two seconds per stored MiB.
FEW_FRAMES, SMALLEST_FRAME = 20_000, 64

#: The largest window of a frame that is decompressed, 128 MiB: no level uses more, and nor does the `zstd` program
#: without ``--long``. The limit is needed because even a small frame can declare a large window, which takes memory.
WINDOW: Mapping[int, int] = {zstd.DecompressionParameter.window_log_max: 27}


class FrameCompressor:
    """
    Compresses objects to frames that declare their size and end with a checksum, like those of the `zstd` program.

    Creating a compressor takes five times as long as compressing a few hundred bytes, 8 us. So compressors of small
    objects are kept for reuse, one for each concurrent thread. Those of large objects have large tables, and are not
    kept.

    Args:
        level: the compression level.
        small: maximum size of a small object in bytes.
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
    """Return the parameters of compression, with a checksum after the data as by the `zstd` program."""
    return {zstd.CompressionParameter.compression_level: level, zstd.CompressionParameter.checksum_flag: 1}


def declared_size(data: bytes) -> int:
    """Return the decompressed size that the first frame declares; 0 if it declares none."""
    try:
        return zstd.get_frame_info(data).decompressed_size or 0
    except zstd.ZstdError:
        return 0


class ZstdEncoder:
    """Compresses the pieces of one object to one frame."""

    def __init__(self, level: int) -> None:
        self._frame = zstd.ZstdCompressor(options=_parameters(level))

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield the compressed bytes that zstd returns for *piece*, if any."""
        if out := self._frame.compress(piece):
            yield out

    def finish(self) -> bytes:
        """Return the end of the frame."""
        return self._frame.flush()


class ZstdDecoder:
    """Decompresses an object of one or more frames, one after the other."""

    def __init__(self) -> None:
        self._frame = zstd.ZstdDecompressor(options=WINDOW)
        self._frames = 1
        self._fed = 0

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield the decompressed data in pieces of at most 1 MiB."""
        for start in range(0, len(piece), SLICE):
            rest = piece[start : start + SLICE]
            self._fed += len(rest)
            while rest or not (self._frame.eof or self._frame.needs_input):
                if self._frame.eof:
                    self._frames += 1
                    if self._frames > max(FEW_FRAMES, self._fed // SMALLEST_FRAME):
                        raise CorruptObjectError(f"{self._frames} zstd frames in {self._fed} bytes are too many")
                    self._frame = zstd.ZstdDecompressor(options=WINDOW)
                try:
                    out = self._frame.decompress(rest, CHUNK)
                except zstd.ZstdError as cause:
                    raise CorruptObjectError(f"not zstd data: {cause}") from cause
                rest = self._frame.unused_data if self._frame.eof else b""
                if out:
                    yield out

    def finish(self) -> bytes:
        """Check that the last frame is complete, and return no bytes; zstd has verified its checksum."""
        if not self._frame.eof:
            raise CorruptObjectError("truncated zstd data")
        return b""
