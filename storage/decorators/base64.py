"""`Base64Store`: objects stored as text, for back ends and transports that only take text."""

from __future__ import annotations

import binascii
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from storage._core.traits import Trait
from storage.decorators.bases.data_transform import Coder, DataTransform
from storage.errors import CorruptObjectError

__all__ = ["Base64Store"]

#: Maximum of bytes that are encoded or decoded on the event loop, or in one step in a worker thread: 0.2 and 0.5 ms.
#: A thread is not faster, because it holds the interpreter's lock during a step, but the event loop continues.
PIECE = 192 << 10

#: Bytes of an encoded piece.
_ENCODED = PIECE // 3 * 4


class Base64Store(DataTransform):
    """Objects are base64 text (RFC 4648, section 4, padded, without line ends) in the store below."""

    _traits = frozenset({Trait.TRANSFORMS, Trait.EXPANDS})
    offload_above: int | None = PIECE

    def encode(self, data: bytes) -> bytes:
        return b"".join([binascii.b2a_base64(piece, newline=False) for piece in _pieces(data, PIECE)])

    def decode(self, data: bytes) -> bytes:
        return _decoded(data, ends=True)

    def _can_be(self, size: int, stored: int) -> bool:
        return stored == -(-size // 3) * 4

    def encoder(self) -> Coder:
        return _GroupCoder(3, self.encode, self.encode)

    def decoder(self) -> Coder:
        return _GroupCoder(4, partial(_decoded, ends=False), self.decode)


def _pieces(data: bytes, size: int) -> Sequence[bytes | memoryview]:
    """Return *data* in pieces of *size* bytes; no bytes are one empty piece."""
    if len(data) <= size:
        return (data,)
    view = memoryview(data)
    return [view[at : at + size] for at in range(0, len(view), size)]


def _decoded(data: bytes, *, ends: bool) -> bytes:
    """Decode whole groups of 4 digits; only if the object *ends* with them, the last one may be padded."""
    try:
        if len(data) % 4 or data.endswith(b"===" if ends else b"="):  # Python accepts too much padding
            raise binascii.Error("the last group must have 2 to 4 digits, padded with = to 4")
        pieces = [binascii.a2b_base64(piece, strict_mode=True) for piece in _pieces(data, _ENCODED)]
        if len(pieces) > 1 and any(len(piece) != PIECE for piece in pieces[:-1]):
            raise binascii.Error("padding before the end")
    except binascii.Error as cause:
        raise CorruptObjectError("not base64 data") from cause
    return b"".join(pieces)


class _GroupCoder:
    """Calls *code* with whole groups of *size* bytes (3 to encode, 4 to decode), and *last* with the object's end."""

    def __init__(self, size: int, code: Callable[[bytes], bytes], last: Callable[[bytes], bytes]) -> None:
        self._size = size
        self._code = code
        self._last = last
        self._rest = b""

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield the result for the whole groups so far, except the last, which may be the object's end and padded."""
        piece = self._rest + piece
        whole = max(len(piece) - 1, 0) // self._size * self._size
        self._rest = piece[whole:]
        if whole:
            yield self._code(piece[:whole])

    def finish(self) -> bytes:
        """Return the result for the last group."""
        return self._last(self._rest)
