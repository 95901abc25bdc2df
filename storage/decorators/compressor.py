"""`Compressor`: the base of the decorators that compress."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from storage.base import ObjectStore
from storage.decorators.data_transform import Coder, DataTransform
from storage.errors import CorruptObjectError

__all__ = ["Compressor"]


class Compressor(DataTransform):
    """
    A decorator that compresses: a subclass gives `encode`, an `encoder` and a `decoder`.

    Args:
        base: the store below.
        max_size: bytes that `get` decompresses at most, against bombs; `open` reads in bounded memory without it.
    """

    _traits = frozenset({"transforms", "compresses"})

    # Gzip takes 0.5 ms for 64 KiB of text, zstd 0.1 ms, and both more at higher levels; a thread's hop takes 0.05 ms.
    offload_above: ClassVar[int | None] = 64 << 10

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

    @abstractmethod
    def encoder(self) -> Coder: ...

    @abstractmethod
    def decoder(self) -> Coder: ...
