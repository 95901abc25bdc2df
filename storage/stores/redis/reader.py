"""Reads an object of Redis in pieces, all of one version."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from storage._core.data import CHUNK
from storage.errors import CorruptObjectError, KeyNotFoundError, RangeNotSatisfiableError, StorageError
from storage.reader import ObjectReader, SeekableReader
from storage.stores.redis.layout import KeySpace, info_of
from storage.stores.redis.scripts import READ, RELEASE
from storage.stores.redis.session import GRACE, Session
from storage.types import ByteRange, ObjectInfo

__all__ = ["open_reader"]

#: The largest offset in a script, whose numbers are exact up to here.
_MAX_OFFSET = 1 << 53


@asynccontextmanager
async def open_reader(
    session: Session, keyspace: KeySpace, key: str, store: object, byte_range: ByteRange | None
) -> AsyncIterator[ObjectReader]:
    """
    Open an object for reading.

    Raises:
        KeyNotFoundError: there is no such object.
        RangeNotSatisfiableError: the range starts after the end of the object.
    """
    wanted = byte_range or ByteRange(0)
    stop = -1 if wanted.stop is None else min(wanted.stop, _MAX_OFFSET)
    last = "" if wanted.last is None else min(wanted.last, _MAX_OFFSET)
    arguments = ["", min(wanted.start, _MAX_OFFSET), stop, last, CHUNK, keyspace.common]
    found = await session.query((READ, [keyspace.object(key)], arguments), key)
    if not found:
        raise KeyNotFoundError(key, store=store)
    *fields, data = found
    info = info_of(key, fields, store)
    if wanted.last is None and wanted.start > info.size:
        raise RangeNotSatisfiableError(
            f"the range starts at byte {wanted.start}, but the object has {info.size} bytes", key=key, store=store
        )
    reader = _RedisReader(session, keyspace, store, info, byte_range, data)
    try:
        yield reader
    finally:
        if not reader.complete:
            with anyio.CancelScope(shield=True), anyio.move_on_after(GRACE):
                try:
                    await session.run_once((RELEASE, keyspace.reader_names(info.etag), []))
                except StorageError:
                    pass  # the data kept for readers expires


class _RedisReader(SeekableReader):
    """
    A reader of an object, with up to 1 MiB in memory at a time.

    Attributes:
        complete: whether everything was read when it was opened. If not, the server keeps the version for its readers
            even if it is replaced, unless all of them pause for minutes.
    """

    def __init__(
        self,
        session: Session,
        keyspace: KeySpace,
        store: object,
        info: ObjectInfo,
        byte_range: ByteRange | None,
        data: bytes,
    ) -> None:
        super().__init__(info, byte_range)
        self.complete = len(data) == self._stop - self._start
        self._session = session
        self._keyspace = keyspace
        self._store = store
        self._data = data
        self._offset = self._start  # the offset of the data in the object

    async def _read_at(self, offset: int, size: int) -> bytes:
        pieces: list[bytes] = []
        while size:
            within = offset - self._offset
            if not 0 <= within < len(self._data):
                self._data, self._offset = await self._read_chunk(offset), offset
                within = 0
            piece = self._data[within : within + size]
            pieces.append(piece)
            offset += len(piece)
            size -= len(piece)
        return b"".join(pieces)

    async def _read_chunk(self, offset: int) -> bytes:
        info = self.info
        arguments = [info.etag, offset, self._stop, "", CHUNK, self._keyspace.common]
        found = await self._session.query((READ, [self._keyspace.object(info.key)], arguments), info.key)
        if not found:
            raise StorageError(
                "the object was replaced, deleted or expired while it was read: open it again",
                key=info.key,
                store=self._store,
            )
        data: bytes = found[5]
        if not data:  # else the caller would ask for ever
            raise CorruptObjectError(
                f"the object has {info.size} bytes, but none is stored at byte {offset}",
                key=info.key,
                store=self._store,
            )
        return data
