"""`ObjectFile`: an open object as a binary file, for all code that reads files."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from storage._sync.caller import Caller, EnteredContext

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from storage.reader import ObjectReader
    from storage.types import ByteRange, ObjectInfo

__all__ = ["ObjectFile", "open_file"]

#: Bytes to read ahead: on the background loop a read costs some 0.1 ms, as much as copying this many bytes.
BUFFER = 1 << 18


def open_file(
    call: Callable[[], Caller], manager: AbstractAsyncContextManager[ObjectReader], byte_range: ByteRange | None
) -> ObjectFile:
    """Enter what `ObjectStore.open` returned, and return a file that leaves it when it is closed."""
    entered = call().enter(manager)
    size = entered.value.info.size
    start, stop = (0, size) if byte_range is None else byte_range.within(size)
    return ObjectFile(_Object(call, entered, stop - start))


class ObjectFile(io.BufferedReader):
    """
    An open object: a buffered binary file for reading, and seekable where the store reads ranges.

    Positions count from the start of the object, or of the range that was opened. Close it, best by ``with``.

    Attributes:
        info: the object's description; ``info.size`` is the whole object's, also when only a range was opened.
    """

    def __init__(self, raw: _Object) -> None:
        self.info: ObjectInfo = raw.reader.info
        super().__init__(raw, max(1, min(BUFFER, raw.length)))

    def __del__(self) -> None:
        if isinstance(self.raw, _Object):  # else it was detached, and belongs to someone else
            self.raw.abandoned = True
        super().__del__()


class _Object(io.RawIOBase):
    """The unbuffered file over an async reader."""

    mode = "rb"  # an attribute of files that gzip, tarfile and others read

    def __init__(self, call: Callable[[], Caller], entered: EnteredContext[ObjectReader], length: int) -> None:
        self._call = call
        self._entered = entered
        self.reader: ObjectReader = entered.value
        self.name: str = self.reader.info.key
        self.length = length
        self.abandoned: bool = False  # closed by the garbage collector, in any thread
        self._position = 0
        self._moved = False

    def __del__(self) -> None:
        self.abandoned = True
        super().__del__()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self.reader.seekable()

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        position = offset + (0, self._position, self.length)[whence]
        if position < 0:
            raise ValueError(f"negative seek position {position}")
        self._moved = True
        self._position = position
        return position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        piece = self._read(len(view))
        view[: len(piece)] = piece
        return len(piece)

    def readall(self) -> bytes:
        return self._read(-1)

    def close(self) -> None:
        if not self.closed:
            super().close()
            if self.abandoned:
                self._entered.abandon()
            else:
                self._entered.leave()

    def _read(self, size: int) -> bytes:
        piece = self._call().run(self._read_there(size))
        self._position += len(piece)
        return piece

    async def _read_there(self, size: int) -> bytes:
        if self._moved:
            await self.reader.seek(self._position)
            self._moved = False
        return await self.reader.read(size)
