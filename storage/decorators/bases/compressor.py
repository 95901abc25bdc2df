"""`Compressor`: the base of the decorators that compress."""

from __future__ import annotations

import math
from abc import abstractmethod

from storage._core.traits import Trait
from storage.base import ObjectStore
from storage.decorators.bases.data_transform import Coder, DataTransform
from storage.errors import CorruptObjectError

__all__ = ["Compressor"]

#: The largest object that `get` decompresses on the event loop: its decompressed bytes, if it declares them, which take
#: 0.3 (zlib-ng, zstd) to 0.5 ms (zlib); and its compressed bytes, as it may declare too few.
MAX_DECODED, MAX_ENCODED = 512 << 10, 64 << 10


#: An object may be measured up to so many times its stored bytes, whatever *max_size* is: the time is in proportion to
#: what somebody had to store, and most data compresses less.
RATIO = 10

#: Bytes that `open` may decompress, whatever *max_size* is, before it returns any: zlib takes 0.3 s for them.
READ_AHEAD = 256 << 20


class Compressor(DataTransform):
    """
    A decorator that compresses. A subclass defines `encode`, `encoder`, `decoder` and `_declared_size`.

    Args:
        base: the store below.
        max_size: the bytes that `get` decompresses at most, against decompression bombs. `head` and `scan`, where they
            decompress an object only to measure it, decompress no more than this or `RATIO` times the stored bytes;
            `open` measures, and skips to the start of a range, within `READ_AHEAD` too. What a reader then asks for has
            no bound: it is read in bounded memory.
    """

    _traits = frozenset({Trait.TRANSFORMS, Trait.COMPRESSES})

    #: How many decompressed bytes one stored byte can stand for; looked up, as another method would take 0.15 us.
    _most_expansion: float = math.inf

    def __init__(self, base: ObjectStore, *, max_size: int = 1 << 30) -> None:
        super().__init__(base)
        self.max_size = max_size

    def decode(self, data: bytes) -> bytes:
        decoder = self.decoder()
        pieces, size = [], 0
        for piece in decoder.feed(data):
            pieces.append(piece)
            size += len(piece)
            if size > self.max_size:
                raise CorruptObjectError(
                    f"decompresses to more than max_size={self.max_size} bytes; "
                    "increase max_size, or read in pieces with open()"
                )
        pieces.append(decoder.finish())
        return b"".join(pieces)

    def _can_be(self, size: int, stored: int) -> bool:
        # no library makes data that it cannot compress longer by so much
        return stored <= size + size // 8 + 128 and size <= self._most_expansion * stored

    def _most_measured(self, stored: int, opened: bool) -> float:
        return max(self.max_size, RATIO * stored, READ_AHEAD if opened else 0)

    def _is_long_to_decode(self, data: bytes) -> bool:
        return len(data) > MAX_ENCODED or self._declared_size(data) > MAX_DECODED

    @abstractmethod
    def _declared_size(self, data: bytes) -> int:
        """Return the decompressed size that an object declares, which may be wrong; 0 if it declares none."""

    @abstractmethod
    def encoder(self) -> Coder: ...

    @abstractmethod
    def decoder(self) -> Coder: ...
