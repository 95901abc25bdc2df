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

    _traits = frozenset({"transforms", "expands"})

    def encode(self, data: bytes) -> bytes:
        return base64.b64encode(data)

    def decode(self, data: bytes) -> bytes:
        try:
            if len(data) % 4 or data.endswith(b"==="):  # Python takes too much padding where it needs none
                raise binascii.Error("a last group of 4 has 2 to 4 digits, and = for the rest")
            return base64.b64decode(data, validate=True)
        except binascii.Error as cause:
            raise CorruptObjectError("not base64 data") from cause

    def encoder(self) -> Coder:
        return _Grouped(3, self.encode, self.encode)

    def decoder(self) -> Coder:
        return _Grouped(4, self._decode_unpadded, self.decode)

    def _decode_unpadded(self, data: bytes) -> bytes:
        """Decode groups that others follow."""
        if data.endswith(b"="):
            raise CorruptObjectError("not base64 data: padded before its end")
        return self.decode(data)


class _Grouped:
    """Hands *code* whole groups of *size* bytes, 3 on the way in and 4 on the way out, and *last* the object's end."""

    def __init__(self, size: int, code: Callable[[bytes], bytes], last: Callable[[bytes], bytes]) -> None:
        self._size = size
        self._code = code
        self._last = last
        self._rest = b""

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield what the whole groups so far give, but for the last, which may be the object's last and padded."""
        piece = self._rest + piece
        whole = max(len(piece) - 1, 0) // self._size * self._size
        self._rest = piece[whole:]
        if whole:
            yield self._code(piece[:whole])

    def finish(self) -> bytes:
        """Return what the last group gives."""
        return self._last(self._rest)
