"""`ZstdStore`: objects compressed with Zstandard."""

from __future__ import annotations

from storage.base import ObjectStore
from storage.decorators.bases.compressor import Compressor
from storage.decorators.bases.data_transform import Coder

__all__ = ["ZstdStore"]

#: For levels up to a number, the maximum of bytes that are compressed on the event loop: for text this takes 0.3 to
#: 0.6 ms at that level; a hop to a thread takes 0.05 ms.
_OFFLOAD_ABOVE = {3: 128 << 10, 9: 32 << 10, 15: 4 << 10, 22: 2 << 10}


class ZstdStore(Compressor):
    """
    Objects are Zstandard files (RFC 8878) in the store below, which any other program can read.

    Needs ``pip install 'stackstore[zstd]'`` before Python 3.14.

    Args:
        base: the store below.
        level: 1 (fastest) to 22 (smallest, slowest; over 19 it takes much memory).
        max_size: maximum of bytes that `get` decompresses, and that `head`, `scan` and `open` decompress to measure an
            object whose size is not stored with it, against decompression bombs (see `Compressor`).
    """

    def __init__(self, base: ObjectStore, *, level: int = 3, max_size: int = 1 << 30) -> None:
        if not 1 <= level <= 22:
            raise ValueError(f"level must be 1 to 22, not {level}")
        try:
            from storage.decorators.zstd import coder as zstd_coder
        except ImportError as cause:
            raise ImportError("ZstdStore needs backports.zstd: pip install 'stackstore[zstd]'") from cause
        super().__init__(base, max_size=max_size)
        self.level = level
        self.offload_above: int | None = next(size for highest, size in _OFFLOAD_ABOVE.items() if level <= highest)
        self._zstd = zstd_coder
        self._compressor = zstd_coder.FrameCompressor(level, small=self.offload_above)

    def encode(self, data: bytes) -> bytes:
        return self._compressor.compress(data)

    def encoder(self) -> Coder:
        return self._zstd.ZstdEncoder(self.level)

    def decoder(self) -> Coder:
        return self._zstd.ZstdDecoder()

    def _declared_size(self, data: bytes) -> int:
        return self._zstd.declared_size(data)
