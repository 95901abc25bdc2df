"""
Streams that are stored with ``Content-Encoding: gzip``, compressed while they are uploaded in parts.

The size of a stream is known only at its end, but the object's metadata is set when the upload begins. So the size is
stored in the extra field of the gzip header (RFC 1952, 2.3.1.1), at the very beginning of the object: the first part is
sent last. For everybody else it is an ordinary gzip file.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import AsyncIterator, Mapping

from storage._concurrency.offload import offload
from storage.errors import CorruptObjectError
from storage.stores.s3.attributes import INSIDE, META, SIZE
from storage.stores.s3.conditions import ConditionalWrite
from storage.stores.s3.gzip_objects import LEVEL, is_compressible
from storage.stores.s3.multipart import part_size, upload_in_parts
from storage.stores.s3.retrying_client import RetryingBucket

__all__ = ["HEADER", "is_worth_it", "put_packed", "size_inside"]

#: A gzip header without name and time, with 12 bytes of extra field: a subfield of ours, the size in 8 bytes.
_BEGINNING = b"\x1f\x8b\x08\x04" + bytes(5) + b"\xff" + struct.pack("<H2sH", 12, b"SS", 8)

#: The size of the whole header in bytes.
HEADER = len(_BEGINNING) + 8

#: Bytes of the sample, and the highest compression ratio that is worth it.
_SAMPLE, _GAIN = 256 << 10, 0.9


async def is_worth_it(first: bytes, headers: Mapping[str, str]) -> bool:
    """Return whether a stream with these headers, which begins with *first*, gets smaller by compression."""
    if not is_compressible(headers):
        return False
    sample = first[:_SAMPLE]
    return len(await offload(zlib.compress, sample, LEVEL)) <= len(sample) * _GAIN


async def put_packed(
    bucket: RetryingBucket,
    object_key: str,
    stream: AsyncIterator[bytes],
    headers: dict[str, str],
    write: ConditionalWrite,
) -> str:
    """Store a stream as gzip, in bounded memory, and return the object's etag."""
    packing = _Packing(stream)
    encoded = headers | {"content-encoding": "gzip"}
    if await packing.fits():
        whole, marked = packing.first(), encoded | {META + SIZE: str(packing.size)} | write.mark | write.condition
        return await write.make(lambda: bucket.once.put(object_key, whole, marked))
    return await upload_in_parts(bucket, object_key, packing.parts(), encoded | {META + SIZE: INSIDE}, write)


def size_inside(data: bytes, key: str) -> int:
    """
    Return the uncompressed size of an object from its first bytes.

    Raises:
        CorruptObjectError: the object does not begin with our header.
    """
    if len(data) < HEADER or not data.startswith(_BEGINNING):
        raise CorruptObjectError("the object is marked as gzip, but its data is not", key=key)
    size: int = struct.unpack_from("<Q", data, len(_BEGINNING))[0]
    return size


class _Packing:
    """
    A stream and its compressed form.

    Attributes:
        size: uncompressed bytes so far.
    """

    def __init__(self, stream: AsyncIterator[bytes]) -> None:
        self.size = 0
        self._stream = stream
        self._engine = zlib.compressobj(LEVEL, zlib.DEFLATED, -15)  # without header and trailer, which are added here
        self._crc = 0
        self._packed = bytearray()
        self._ended = False
        self._held = b""

    async def fits(self) -> bool:
        """Compress the first part, and return whether that is the whole stream."""
        self._held = await self._take(part_size(1) - HEADER)
        return self._ended and not self._packed

    def first(self) -> bytes:
        """Return the first part, once the size is known."""
        return _BEGINNING + struct.pack("<Q", self.size) + self._held

    async def parts(self) -> AsyncIterator[tuple[int, bytes]]:
        """Yield the numbered parts, the first one last."""
        number = 2
        while part := await self._take(part_size(number)):
            yield number, part
            number += 1
        yield 1, self.first()

    async def _take(self, size: int) -> bytes:
        """Return the next bytes, fewer than *size* only at the end."""
        while len(self._packed) < size and not self._ended:
            piece = await anext(self._stream, None)
            if piece is None:
                self._ended = True
                self._packed += self._engine.flush() + struct.pack("<II", self._crc, self.size & 0xFFFFFFFF)
            else:
                self._packed += await offload(self._pack, piece)
        taken = bytes(self._packed[:size])
        del self._packed[:size]
        return taken

    def _pack(self, piece: bytes) -> bytes:
        self.size += len(piece)
        self._crc = zlib.crc32(piece, self._crc)
        return self._engine.compress(piece)
