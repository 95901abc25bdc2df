"""Objects that are stored with ``Content-Encoding: gzip``, which browsers understand, and decompressed when read."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping

from storage._concurrency.offload import offload
from storage._core.gzip_format import GZIP_WBITS, MOST_EXPANSION
from storage.errors import CorruptObjectError
from storage.stores.s3.attributes import META, SIZE

__all__ = ["LEVEL", "compressed", "decompressed", "is_compressible"]

#: Content types that compress well, besides all of text/.
_TYPES = frozenset(
    f"application/{name}" for name in ("javascript", "json", "manifest+json", "toml", "wasm", "x-ndjson", "xml", "yaml")
)

_OTHER_SIZE = "the data in the gzip object has another size than the object says"

#: The compression level: zlib's default.
LEVEL = 6

#: Bytes below which compression gains nothing, and from which on it runs in a thread.
_SMALLEST, _QUICK = 150, 64 << 10


def is_compressible(headers: Mapping[str, str]) -> bool:
    """Return whether an object with these headers compresses well and is not encoded already."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    wanted = kind.startswith("text/") or kind in _TYPES or kind.endswith(("+json", "+xml"))
    return wanted and "content-encoding" not in headers


async def compressed(data: bytes, headers: dict[str, str]) -> tuple[bytes, dict[str, str]]:
    """Return *data* compressed and the headers for it; both unchanged if it does not get smaller."""
    if len(data) < _SMALLEST or not is_compressible(headers):
        return data, headers
    packed = _gzip(data) if len(data) < _QUICK else await offload(_gzip, data)
    if len(packed) >= len(data):
        return data, headers
    return packed, {**headers, "content-encoding": "gzip", META + SIZE: str(len(data))}


async def decompressed(data: bytes, size: int, key: str) -> bytes:
    """
    Return the *size* bytes that were compressed; never more are decompressed.

    Raises:
        CorruptObjectError: *data* is not gzip, or has another size.
    """
    if size > MOST_EXPANSION * (len(data) + 1):  # nothing of this length decompresses to so much
        raise CorruptObjectError(_OTHER_SIZE, key=key)
    try:
        found = await offload(_gunzip, data, size) if size >= _QUICK else _gunzip(data, size)
    except (zlib.error, EOFError) as cause:
        raise CorruptObjectError("the object is marked as gzip, but its data is not", key=key) from cause
    if len(found) != size:
        raise CorruptObjectError(_OTHER_SIZE, key=key)
    return found


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, LEVEL, mtime=0)  # without a time, equal bytes give equal objects and etags


def _gunzip(data: bytes, size: int) -> bytes:
    member = zlib.decompressobj(GZIP_WBITS)  # with the trailer, which has a checksum
    found = member.decompress(data, size + 1)
    if len(found) <= size and not member.eof:
        raise EOFError
    return found
