"""`Compressor`: the base of the decorators that compress."""

from __future__ import annotations

from abc import abstractmethod

from storage._core.traits import Trait
from storage.base import ObjectStore
from storage.decorators.bases.data_transform import Coder, DataTransform
from storage.errors import CorruptObjectError

__all__ = ["Compressor"]

#: Bytes that `get` makes on the event loop at most, as far as the compressed object says how many it makes: they take
#: 0.3 (zlib-ng, zstd) to 0.5 ms (zlib). And bytes that it makes them of, which may say less than they make.
DECODED, ENCODED = 512 << 10, 64 << 10


class Compressor(DataTransform):
    """
    A decorator that compresses: a subclass gives `encode`, an `encoder` and a `decoder`.

    Args:
        base: the store below.
        max_size: bytes that `get` decompresses at most, against bombs; `open` reads in bounded memory without it.
    """

    _traits = frozenset({Trait.TRANSFORMS, Trait.COMPRESSES})

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
                    f"decompresses to more than max_size={self.max_size} bytes; raise it, or read in pieces with open()"
                )
        pieces.append(decoder.finish())
        return b"".join(pieces)

    def _decodes_long(self, data: bytes) -> bool:
        return len(data) > ENCODED or self._said_size(data) > DECODED

    @abstractmethod
    def _said_size(self, data: bytes) -> int:
        """Return how many bytes a compressed object says that it makes, true or not; 0 if it does not say."""

    @abstractmethod
    def encoder(self) -> Coder: ...

    @abstractmethod
    def decoder(self) -> Coder: ...
