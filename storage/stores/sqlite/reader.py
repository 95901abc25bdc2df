"""`ChunkReader`: reads a large object, a chunk at a time."""

from __future__ import annotations

from storage.errors import CorruptObjectError, StoreUnavailableError
from storage.reader import SeekableReader
from storage.stores.sqlite.chunks import read_chunk
from storage.stores.sqlite.connection import Connection
from storage.stores.sqlite.errors import naming_key
from storage.stores.sqlite.schema import CHUNK
from storage.types import ByteRange, ObjectInfo

__all__ = ["ChunkReader"]


class ChunkReader(SeekableReader):
    """A reader of the chunks of one version; it keeps one chunk at a time in memory."""

    def __init__(
        self, info: ObjectInfo, byte_range: ByteRange | None, connection: Connection, version: int, store: str
    ) -> None:
        super().__init__(info, byte_range)
        self._connection = connection
        self._version = version
        self._store = store
        self._chunk_in_memory = -1, b""

    async def _read_at(self, offset: int, size: int) -> bytes:
        stop = offset + size
        pieces = []
        while offset < stop:
            number, begin = divmod(offset, CHUNK)
            if self._chunk_in_memory[0] != number:
                self._chunk_in_memory = number, await self._chunk(number)
            piece = self._chunk_in_memory[1][begin : begin + stop - offset]
            offset += len(piece)
            pieces.append(piece)
        return b"".join(pieces)

    async def _chunk(self, number: int) -> bytes:
        expected = min(self.info.size - number * CHUNK, CHUNK)
        is_last = self.info.size <= (number + 1) * CHUNK
        data, current = await naming_key(
            self.info.key, self._connection.run(read_chunk, self._version, number, is_last)
        )
        if isinstance(data, bytes) and len(data) == expected:
            return data
        if current:
            raise CorruptObjectError(
                f"chunk {number} is damaged or missing, or there are too many", key=self.info.key, store=self._store
            )
        raise StoreUnavailableError(
            "the object was replaced or deleted while it was read, and its data is gone: read it again",
            key=self.info.key,
            store=self._store,
        )
