"""Reading objects with ``Content-Encoding: gzip`` decompressed: their description, and bytes in bounded memory."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import replace

from storage._concurrency.offload import offload
from storage._core.data import CHUNK
from storage._core.gzip_format import GZIP_WBITS
from storage.errors import CorruptObjectError, PreconditionFailedError, StoreUnavailableError
from storage.reader import ObjectReader
from storage.stores.s3.attributes import decoded_size, describe
from storage.stores.s3.gzip_upload import HEADER, size_inside
from storage.stores.s3.retrying_client import RetryingBucket
from storage.types import ByteRange, ObjectInfo

__all__ = ["UnpackingReader", "describe_packed"]

#: Compressed bytes per read, and the most bytes that are decompressed on the event loop.
_READ, _QUICK = 64 << 10, 64 << 10


async def describe_packed(bucket: RetryingBucket, object_key: str, key: str) -> ObjectInfo:
    """Return the description of an object whose size is in its gzip header."""

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
    A reader over a part of a compressed object.

    It always reads from the beginning, and starts again to go back. At the end it compares the data with the checksum
    and the size that gzip stores there.

    Args:
        packed: a reader over the whole compressed object, at its beginning.
        info: the object's description, with its size.
        begun: compressed bytes that have been read already.
        start: the first byte of the part.
        stop: the end of the part, one after its last byte.
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
        """Return the reader over a range of the object with these headers, which *packed* reads whole."""
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
        self._member = zlib.decompressobj(GZIP_WBITS)  # with the trailer, which has a checksum
        self._position = 0
        self._input = begun

    async def _some(self, wanted: int) -> bytes:
        """Return the next bytes, at least one and up to *wanted*; the object has that many."""
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
        """Return the next bytes; ``b""`` at the end of the gzip data."""
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
