"""What `put` takes, in the shapes a store wants it: whole, or in pieces of a steady size."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import aclosing
from typing import TypeGuard

from storage.types import Data

__all__ = ["BUFFERS", "CHUNK", "SMALL", "as_bytes", "chunks", "etag_of", "is_stream", "whole"]

#: Bytes in a piece of a stream: so large that a worker thread's hop (about 50 us) does not matter beside the copying.
CHUNK = 1 << 20

#: Bytes up to which `copy_store` has objects read and written together, 256 of them, which are then 8 MiB at the most.
#: Larger ones gain nothing from company.
SMALL = 1 << 15


#: Kinds of data that are one buffer. A tuple: a union would be made anew for each `isinstance`, for 0.1 us of a put.
BUFFERS = (bytes, bytearray, memoryview)


def is_stream(data: Data) -> TypeGuard[AsyncIterable[bytes] | Iterable[bytes]]:
    """
    Return whether *data* comes in pieces, rather than as one buffer.

    Raises:
        TypeError: it is ``str``, or nothing that `put` takes.
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

    A stream of crumbs costs a store no more than one of slabs, and a slab no more memory than *size*.
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
    """Yield the buffers of *data* as they come, each checked to be one."""
    if not is_stream(data):
        yield as_bytes(data)
    elif isinstance(data, AsyncIterable):
        async for piece in data:
            yield as_bytes(piece)
    else:
        for piece in data:
            yield as_bytes(piece)


def etag_of(data: bytes) -> str:
    """Return the etag of a store that keeps none of its own: the start of the bytes' sha-256, 128 bits in hex."""
    import hashlib  # for the few that need it: OpenSSL is large

    return hashlib.sha256(data).hexdigest()[:32]
