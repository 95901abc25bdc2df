"""`BufferStore`: objects that are put and read as binary files."""

from __future__ import annotations

import io
from collections.abc import AsyncIterable, AsyncIterator
from typing import Protocol, runtime_checkable

from storage._concurrency.offload import offload_foreign
from storage._core.data import BUFFERS, CHUNK
from storage.decorators.bases.value_transform import ValueTransform
from storage.types import Data

__all__ = ["BinaryFile", "BufferStore"]


@runtime_checkable
class BinaryFile(Protocol):
    """A readable binary file: an open file, a socket's file, an ``io.BytesIO``, a response of ``urllib``."""

    def read(self, size: int, /) -> bytes:
        """Return up to *size* bytes, ``b""`` at the end."""
        ...


class BufferStore(ValueTransform[BinaryFile | Data, io.BytesIO]):
    """
    `put` takes a binary file, and `get` returns an ``io.BytesIO`` at its start.

    A file is read from its current position to its end, in a thread and in bounded memory, and is not closed. `put`
    also takes the bytes and streams that other stores take. `open` reads an object in pieces.
    """

    def encode(self, value: BinaryFile | Data) -> Data:
        if isinstance(value, BUFFERS):  # checking the protocol takes ten times as long as the put below
            return value
        if isinstance(value, io.BytesIO):  # already in memory: needs no thread, and its size is known
            return value.read()
        if isinstance(value, BinaryFile) and not isinstance(value, AsyncIterable):
            return _read(value)
        return value

    def decode(self, data: bytes) -> io.BytesIO:
        return io.BytesIO(data)


async def _read(file: BinaryFile) -> AsyncIterator[bytes]:
    """Yield the content of a file. The store below refuses pieces that are not bytes, such as text and None."""
    while (piece := await offload_foreign(file.read, CHUNK)) != b"":
        yield piece
