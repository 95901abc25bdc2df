"""Reading what is kept under ``Content-Encoding: gzip`` as it was: its description, and its bytes in bounded memory."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import replace

from storage._concurrency.offload import offload
from storage._core.data import CHUNK
from storage.errors import CorruptObjectError, PreconditionFailedError, StoreUnavailableError
from storage.reader import ObjectReader
from storage.stores.s3.attributes import decoded_size, describe
from storage.stores.s3.gzip_upload import HEADER, size_inside
from storage.stores.s3.retrying_client import RetryingBucket
from storage.types import ByteRange, ObjectInfo

__all__ = ["UnpackingReader", "describe_packed"]

#: Packed bytes that are read at once, and unpacked ones that are made in place.
_READ, _QUICK = 64 << 10, 64 << 10


async def describe_packed(bucket: RetryingBucket, object_key: str, key: str) -> ObjectInfo:
    """Return the description of an object whose size is inside of it: from its headers and its beginning."""

    async def attempt() -> ObjectInfo:
        headers = await bucket.once.head(object_key)
        wanted = {"range": f"bytes=0-{HEADER - 1}", "if-match": headers["etag"]}
        try:
            _, beginning = await bucket.once.get_bytes(object_key, wanted)
        except PreconditionFailedError as cause:
            raise StoreUnavailableError("the object was replaced while its description was read", key=key) from cause
        return describe(headers, key, size_inside(beginning, key))

    return await bucket.retry(attempt)


class UnpackingReader(ObjectReader):
    """
    A reader over a part of what is packed.

    It reads from the beginning, whatever the part, and to go back is to begin anew. What it finds at the end is held
    against the checksum and the size that gzip has there.

    Args:
        packed: over all of the object, at its beginning.
        info: the object's description, with its size.
        begun: bytes that have been read of it.
        start: the first byte to give.
        stop: the byte behind the last one.
    """

    def __init__(self, packed: ObjectReader, info: ObjectInfo, begun: bytes, start: int, stop: int) -> None:
        super().__init__(info)
        self._packed = packed
        self._start, self._stop, self._target = start, stop, start
        self._begin(begun)

    @classmethod
    async def over(
        cls, packed: ObjectReader, headers: Mapping[str, str], byte_range: ByteRange | None
    ) -> UnpackingReader:
        """Return the reader over a range of the object of which *packed* reads all, and which has these headers."""
        key, begun, size = packed.info.key, b"", decoded_size(headers)
        if size is None:
            begun = await packed.read(HEADER)
            size = size_inside(begun, key)
        start, stop = (0, size) if byte_range is None else byte_range.within(size, key)
        return cls(packed, replace(packed.info, size=size), begun, start, stop)

    async def read(self, size: int = -1, /) -> bytes:
        left = max(self._stop - self._target, 0)
        wanted = left if size < 0 else min(size, left)
        pieces: list[bytes] = []
        try:
            while self._position < self._target and wanted:
                await self._some(min(self._target - self._position, CHUNK))
            while wanted:
                piece = await self._some(min(wanted, CHUNK))
                pieces.append(piece)
                wanted -= len(piece)
                self._target = self._position
        except zlib.error as cause:
            raise CorruptObjectError("the object is marked as gzip, but its data is not", key=self.info.key) from cause
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def seekable(self) -> bool:
        return True

    async def seek(self, offset: int, /) -> None:
        self._target = self._start + offset
        if self._target < self._position:
            await self._packed.seek(0)
            self._begin(b"")

    def _begin(self, begun: bytes) -> None:
        self._member = zlib.decompressobj(31)  # 16 + 15: gzip's header and trailer, which has a checksum
        self._position = 0
        self._input = begun

    async def _some(self, wanted: int) -> bytes:
        """Return up to *wanted* bytes, one or more, of which there are so many."""
        piece = await self._unpack(wanted)
        if not piece:
            raise CorruptObjectError(
                "the data in the gzip object has another size than the object says", key=self.info.key
            )
        self._position += len(piece)
        if self._position == self.info.size and await self._unpack(1):
            raise CorruptObjectError(
                "the data in the gzip object has another size than the object says", key=self.info.key
            )
        return piece

    async def _unpack(self, most: int) -> bytes:
        """Return the next bytes; ``b""`` when the data has come to its proper end."""
        while not self._member.eof:
            data = self._input or await self._packed.read(_READ)
            if not data:
                raise CorruptObjectError("the object is marked as gzip, but its data is not", key=self.info.key)
            unpack = self._member.decompress
            piece = unpack(data, most) if most <= _QUICK else await offload(unpack, data, most)
            self._input = self._member.unconsumed_tail
            if piece:
                return piece
        return b""
