"""What `ObjectStore.open` gives: one version of one object, to be read in pieces."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator

from storage._core.data import CHUNK
from storage.errors import UnsupportedOperationError
from storage.types import ByteRange, ObjectInfo

__all__ = ["BytesReader", "ObjectReader", "ReaderDecorator", "SeekableReader"]


class ObjectReader(ABC):
    """
    An open object, read from its start (or that of the range it was opened with) to its end.

    ``async for piece in reader`` gives the rest in pieces of at most 1 MiB. All of it is of one version, the one that
    `info` describes, also when the object is overwritten meanwhile. A reader is for one task at a time.

    Attributes:
        info: the object's description; ``info.size`` is the whole object's, also when only a range was opened.
    """

    def __init__(self, info: ObjectInfo) -> None:
        self.info = info

    @abstractmethod
    async def read(self, size: int = -1, /) -> bytes:
        """Return the next *size* bytes, fewer only at the end and ``b""`` behind it; all the rest for -1."""

    def seekable(self) -> bool:
        """Return whether `seek` works: where ranges are native it does."""
        return False

    async def seek(self, offset: int, /) -> None:
        """
        Go to *offset*, counted from where the reader began; at or behind the end `read` then gives ``b""``.

        Raises:
            UnsupportedOperationError: the store reads from front to back only (`seekable` says so).
        """
        raise UnsupportedOperationError(
            f"{type(self).__name__} cannot seek: it reads from front to back", key=self.info.key
        )

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while piece := await self.read(CHUNK):
            yield piece


class ReaderDecorator(ObjectReader):
    """
    A reader that passes every call on to another one, and has a description of its own.

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
    """A reader over an object of which any part can be read: a subclass gives `_read_at`."""

    def __init__(self, info: ObjectInfo, byte_range: ByteRange | None = None) -> None:
        super().__init__(info)
        self._start, self._stop = (0, info.size) if byte_range is None else byte_range.within(info.size, info.key)
        self._position = self._start

    @abstractmethod
    async def _read_at(self, offset: int, size: int) -> bytes:
        """Return *size* bytes, one or more, from *offset* of the object on; all of them are within it."""

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
    """A reader over bytes that are all in memory: *data* is the whole object's, *byte_range* the part to give."""

    def __init__(self, info: ObjectInfo, data: bytes, byte_range: ByteRange | None = None) -> None:
        super().__init__(info, byte_range)
        self._data = data

    async def _read_at(self, offset: int, size: int) -> bytes:
        return self._data[offset : offset + size]
