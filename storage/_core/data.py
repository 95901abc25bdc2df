"""The data of `put`, in the forms that stores need: whole, or in pieces of a fixed size."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import aclosing
from typing import TypeGuard

from storage.types import Data

__all__ = ["BUFFERS", "CHUNK", "SMALL", "as_bytes", "chunks", "etag_of", "is_stream", "whole"]

#: Bytes in a piece of a stream: so many that copying them takes longer than a hop to a worker thread (about 50 us).
CHUNK = 1 << 20

#: The most bytes of an object that `copy_store` reads and writes together with others: 256 of them have at most 8 MiB.
#: Larger ones gain nothing from that.
SMALL = 1 << 15


#: Types of data that are one buffer. A tuple, because a union is built again for each `isinstance` (0.1 us per put).
BUFFERS = (bytes, bytearray, memoryview)


def is_stream(data: Data) -> TypeGuard[AsyncIterable[bytes] | Iterable[bytes]]:
    """
    Return whether *data* comes in pieces, rather than as one buffer.

    Raises:
        TypeError: it is a ``str``, or no type that `put` takes.
    """
    if isinstance(data, BUFFERS):
        return False
    if isinstance(data, AsyncIterable | Iterable) and not isinstance(data, str):
        return True
    raise TypeError(_refusal(data))


def as_bytes(piece: object) -> bytes:
    """
    Return a buffer's bytes; a mutable one is copied.

    Raises:
        TypeError: it is not a buffer.
    """
    if type(piece) is bytes:
        return piece
    if isinstance(piece, BUFFERS):
        return bytes(piece)
    raise TypeError(_refusal(piece))


def _refusal(data: object) -> str:
    if isinstance(data, str):
        return "data must be bytes, not str: encode the text first, with text.encode()"
    return f"data must be bytes, or an iterable or async iterable of bytes, not {type(data).__name__}"


async def whole(data: Data) -> bytes:
    """Return all of *data* as one ``bytes``."""
    if not is_stream(data):
        return as_bytes(data)
    return b"".join([piece async for piece in _pieces(data)])


async def chunks(data: Data, size: int = CHUNK) -> AsyncGenerator[bytes, None]:
    """
    Yield *data* in pieces of exactly *size* bytes and a last one of 1 to *size*; nothing for no bytes.

    So tiny pieces cost a store no more calls than large ones, and a huge piece takes no more memory than *size*.
    """
    pending = bytearray()
    async with aclosing(_pieces(data)) as pieces:
        async for piece in pieces:
            if len(piece) == size and not pending:
                yield piece
                continue
            view = memoryview(piece)
            while len(pending) + len(view) >= size:
                taken = size - len(pending)
                pending += view[:taken]
                view = view[taken:]
                yield bytes(pending)
                pending.clear()
            pending += view
    if pending:
        yield bytes(pending)


async def _pieces(data: Data) -> AsyncGenerator[bytes, None]:
    """Yield the buffers of *data* as they come, after checking that each one is a buffer."""
    if not is_stream(data):
        yield as_bytes(data)
    elif isinstance(data, AsyncIterable):
        async for piece in data:
            yield as_bytes(piece)
    else:
        for piece in data:
            yield as_bytes(piece)


def etag_of(data: bytes) -> str:
    """Return the etag for a store without etags of its own: the first 128 bits of the bytes' SHA-256, in hex."""
    import hashlib  # imported here because few need it and OpenSSL is large

    return hashlib.sha256(data).hexdigest()[:32]
