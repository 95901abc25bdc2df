"""Objects that are kept under ``Content-Encoding: gzip``, as browsers understand it, and read as they were."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping

from storage._concurrency.offload import offload
from storage.errors import CorruptObjectError
from storage.stores.s3.attributes import META, SIZE

__all__ = ["LEVEL", "compressed", "decompressed", "is_compressible"]

#: Content types that compress well, beside all of text/.
_TYPES = frozenset(
    f"application/{name}" for name in ("javascript", "json", "manifest+json", "toml", "wasm", "x-ndjson", "xml", "yaml")
)

#: How hard to try: zlib's own choice.
LEVEL = 6

#: Bytes below which compressing gains nothing, and above which it is done in a thread.
_SMALLEST, _QUICK = 150, 64 << 10


def is_compressible(headers: Mapping[str, str]) -> bool:
    """Return whether an object of these headers is of a kind that compresses well, and is not encoded already."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    wanted = kind.startswith("text/") or kind in _TYPES or kind.endswith(("+json", "+xml"))
    return wanted and "content-encoding" not in headers


async def compressed(data: bytes, headers: dict[str, str]) -> tuple[bytes, dict[str, str]]:
    """Return *data* compressed and the headers that say so; both as they are where it does not get smaller."""
    if len(data) < _SMALLEST or not is_compressible(headers):
        return data, headers
    packed = _gzip(data) if len(data) < _QUICK else await offload(_gzip, data)
    if len(packed) >= len(data):
        return data, headers
    return packed, {**headers, "content-encoding": "gzip", META + SIZE: str(len(data))}


async def decompressed(data: bytes, size: int, key: str) -> bytes:
    """
    Return the *size* bytes that were compressed; no more are ever made.

    Raises:
        CorruptObjectError: it is no gzip data, or not of so many bytes.
    """
    try:
        found = await offload(_gunzip, data, size) if size >= _QUICK else _gunzip(data, size)
    except (zlib.error, EOFError) as cause:
        raise CorruptObjectError("the object is marked as gzip, but its data is not", key=key) from cause
    if len(found) != size:
        raise CorruptObjectError("the data in the gzip object has another size than the object says", key=key)
    return found


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, LEVEL, mtime=0)  # without a time, equal bytes give equal objects and etags


def _gunzip(data: bytes, size: int) -> bytes:
    member = zlib.decompressobj(31)  # 16 + 15: gzip's header and trailer, which has a checksum
    found = member.decompress(data, size + 1)
    if len(found) <= size and not member.eof:
        raise EOFError
    return found
