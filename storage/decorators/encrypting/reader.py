"""`SealedReader`: a reader that decrypts (format: `storage.decorators.encrypting.format`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storage.decorators.encrypting.format import ENCRYPTED_SEGMENT, HEADER, SEGMENT
from storage.reader import ObjectReader, SeekableReader
from storage.types import ByteRange, ObjectInfo

if TYPE_CHECKING:  # so that the store can be imported without cryptography
    from storage.decorators.encrypting.keyring import Seal

__all__ = ["SealedReader"]

#: Segments that a reader decrypts in one step at most: 1 MiB, in 0.1 ms.
BATCH = 16


class SealedReader(SeekableReader):
    """
    A reader that decrypts only the segments it needs, and returns only verified bytes.

    Args:
        info: the description of the decrypted object.
        source: a reader of the encrypted object, after its header.
        seal: decrypts the object.
    """

    def __init__(self, info: ObjectInfo, source: ObjectReader, seal: Seal) -> None:
        super().__init__(info)
        self._source = source
        self._source_at = HEADER
        self._seal = seal
        self._segments = max(-(-info.size // SEGMENT), 1)
        self._body = info.size + self._segments * (ENCRYPTED_SEGMENT - SEGMENT)
        self._data = b""  # the bytes that were decrypted last
        self._data_at = 0

    async def verify_end_for(self, byte_range: ByteRange | None) -> None:
        """
        Verify the object's end if a range has no bytes, or is outside: no segment is read that proves its size.

        Raises:
            CorruptObjectError: the object does not end there.
        """
        wanted = byte_range or ByteRange(0)
        size = self.info.size
        start, stop = (max(size - wanted.last, 0), size) if wanted.last is not None else (wanted.start, wanted.stop)
        if start >= size or start == stop:
            await self._decrypt(self._segments - 1, self._segments)

    async def verify_header(self) -> None:
        """
        Verify the header, by decrypting the first segment.

        Raises:
            CorruptObjectError: it is not the header of this object.
        """
        await self._decrypt(0, 1)

    def choose(self, byte_range: ByteRange | None) -> None:
        """
        Read only this part.

        Raises:
            RangeNotSatisfiableError: it starts after the end.
        """
        if byte_range is not None:
            self._start, self._stop = byte_range.within(self.info.size, self.info.key)
            self._position = self._start

    def seekable(self) -> bool:
        return self._source.seekable()

    async def seek(self, offset: int, /) -> None:
        await (super().seek(offset) if self.seekable() else ObjectReader.seek(self, offset))

    async def _read_at(self, offset: int, size: int) -> bytes:
        parts, end = [], offset + size
        while offset < end:
            within = offset - self._data_at
            if not 0 <= within < len(self._data):
                await self._decrypt(offset // SEGMENT, -(-end // SEGMENT))
                within = offset - self._data_at
            parts.append(self._data[within : within + end - offset])
            offset += len(parts[-1])
        return b"".join(parts)

    async def _decrypt(self, first: int, end: int) -> None:
        """Decrypt the segments from *first* to the one before *end*, but no more than `BATCH`."""
        start, end = HEADER + first * ENCRYPTED_SEGMENT, min(end, first + BATCH)
        size = min(end * ENCRYPTED_SEGMENT, self._body) - first * ENCRYPTED_SEGMENT
        await self._go_to(start)
        sealed = await self._source.read(size)
        self._source_at += len(sealed)
        self._data = self._seal.decrypt(sealed, number=first, last=end == self._segments)
        self._data_at = first * SEGMENT

    async def _go_to(self, offset: int) -> None:
        """Go to an offset of the encrypted object, by reading up to it if the store below cannot seek."""
        if offset == self._source_at:
            return
        if self._source.seekable():
            await self._source.seek(offset)
            self._source_at = offset
        while self._source_at < offset:
            skipped = await self._source.read(min(offset - self._source_at, BATCH * ENCRYPTED_SEGMENT))
            if not skipped:
                break
            self._source_at += len(skipped)
