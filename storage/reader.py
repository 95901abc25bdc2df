"""Readers, which `ObjectStore.open` returns: one version of one object, read in pieces."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator

from storage._core.data import CHUNK
from storage.errors import UnsupportedOperationError
from storage.types import ByteRange, ObjectInfo

__all__ = ["BytesReader", "ObjectReader", "ReaderDecorator", "SeekableReader"]


class ObjectReader(ABC):
    """
    An open object, read from its start to its end; or a range of it, if it was opened with one.

    ``async for piece in reader`` yields the rest in pieces of at most 1 MiB. All bytes are of one version, which `info`
    describes, even if the object is overwritten meanwhile. A reader is for one task at a time.

    Attributes:
        info: the object's description; ``info.size`` is the whole object's, also when only a range was opened.
    """

    def __init__(self, info: ObjectInfo) -> None:
        self.info = info

    @abstractmethod
    async def read(self, size: int = -1, /) -> bytes:
        """Return the next *size* bytes, fewer only at the end and ``b""`` after it; all the rest for -1."""

    def seekable(self) -> bool:
        """Return whether `seek` works, as it does where ranges are native."""
        return False

    async def seek(self, offset: int, /) -> None:
        """
        Go to *offset*, counted from where the reader began; at the end or after it `read` returns ``b""``.

        Raises:
            UnsupportedOperationError: the store can only read from front to back; `seekable` returns False.
        """
        raise UnsupportedOperationError(
            f"{type(self).__name__} cannot seek: it can only read from front to back", key=self.info.key
        )

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while piece := await self.read(CHUNK):
            yield piece


class ReaderDecorator(ObjectReader):
    """
    A reader that forwards every call to another one, and has a description of its own.

    Attributes:
        reader: the reader below.
    """

    def __init__(self, reader: ObjectReader, info: ObjectInfo | None = None) -> None:
        super().__init__(reader.info if info is None else info)
        self.reader = reader

    async def read(self, size: int = -1, /) -> bytes:
        return await self.reader.read(size)

    def seekable(self) -> bool:
        return self.reader.seekable()

    async def seek(self, offset: int, /) -> None:
        await self.reader.seek(offset)


class SeekableReader(ObjectReader):
    """A reader over an object of which any part can be read: a subclass implements `_read_at`."""

    def __init__(self, info: ObjectInfo, byte_range: ByteRange | None = None) -> None:
        super().__init__(info)
        self._start, self._stop = (0, info.size) if byte_range is None else byte_range.within(info.size, info.key)
        self._position = self._start

    @abstractmethod
    async def _read_at(self, offset: int, size: int) -> bytes:
        """Return *size* bytes of the object from *offset*; there is at least one, and all are within the object."""

    async def read(self, size: int = -1, /) -> bytes:
        left = max(self._stop - self._position, 0)
        wanted = left if size < 0 else min(size, left)
        if not wanted:
            return b""
        data = await self._read_at(self._position, wanted)
        self._position += len(data)
        return data

    def seekable(self) -> bool:
        return True

    async def seek(self, offset: int, /) -> None:
        self._position = self._start + offset


class BytesReader(SeekableReader):
    """A reader over bytes in memory: *data* is the whole object, *byte_range* the part to read."""

    def __init__(self, info: ObjectInfo, data: bytes, byte_range: ByteRange | None = None) -> None:
        super().__init__(info, byte_range)
        self._data = data

    async def _read_at(self, offset: int, size: int) -> bytes:
        return self._data[offset : offset + size]
