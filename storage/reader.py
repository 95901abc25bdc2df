"""What `ObjectStore.open` gives: one version of one object, to be read in pieces."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator

from storage.data import CHUNK
from storage.errors import UnsupportedOperationError
from storage.types import ByteRange, ObjectInfo

__all__ = ["BytesReader", "ObjectReader"]


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
        """Say whether `seek` works: where ranges are native it does."""
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


class BytesReader(ObjectReader):
    """A reader over bytes that are all in memory: *data* is the whole object's, *byte_range* the part to give."""

    def __init__(self, info: ObjectInfo, data: bytes, byte_range: ByteRange | None = None) -> None:
        super().__init__(info)
        self._data = data
        self._start, self._stop = (0, len(data)) if byte_range is None else byte_range.within(len(data), info.key)
        self._position = self._start

    async def read(self, size: int = -1, /) -> bytes:
        stop = self._stop if size < 0 else min(self._position + size, self._stop)
        piece = self._data[self._position : stop]
        self._position = max(stop, self._position)
        return piece

    def seekable(self) -> bool:
        return True

    async def seek(self, offset: int, /) -> None:
        self._position = self._start + offset
