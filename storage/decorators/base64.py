"""`Base64Store`: objects as text, for back ends and transports that take no bytes."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator

from storage.decorators.data_transform import Coder, DataTransform
from storage.errors import CorruptObjectError

__all__ = ["Base64Store"]


class Base64Store(DataTransform):
    """Objects are base64 (RFC 4648, section 4, padded, without line ends) in the store below."""

    def encode(self, data: bytes) -> bytes:
        return base64.b64encode(data)

    def decode(self, data: bytes) -> bytes:
        try:
            return base64.b64decode(data, validate=True)
        except binascii.Error as cause:
            raise CorruptObjectError("not base64 data") from cause

    def encoder(self) -> Coder:
        return _Grouped(self.encode, 3)

    def decoder(self) -> Coder:
        return _Grouped(self.decode, 4)


class _Grouped:
    """Hands a codec whole groups of *size* bytes, 3 on the way in and 4 on the way out, and the rest at the end."""

    def __init__(self, code: Callable[[bytes], bytes], size: int) -> None:
        self._code = code
        self._size = size
        self._rest = b""

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield what the whole groups so far give, but for the last, which may be the object's last and padded."""
        piece = self._rest + piece
        whole = max(len(piece) - 1, 0) // self._size * self._size
        self._rest = piece[whole:]
        if whole:
            if piece.endswith(b"=", 0, whole):
                raise CorruptObjectError("not base64 data: padded before its end")
            yield self._code(piece[:whole])

    def finish(self) -> bytes:
        """Return what the last group gives."""
        return self._code(self._rest)
