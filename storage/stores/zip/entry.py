"""
`Entry`: one entry of a zip archive, its key and description, and what we add to the format.

Our own entries have an additional *extra field* with the id `PRIVATE`. It holds what a zip has no place for (the etag
of the version, its time in nanoseconds, attributes), whether the entry is an object or the deletion of one, and a
checksum of the header, which tells a complete record from one whose writing was interrupted by a power failure.
"""

from __future__ import annotations

import os
import struct
import time
import zlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from storage._core.stored_attributes import decode_attributes, encode_attributes
from storage.errors import UnsupportedOperationError
from storage.types import ObjectInfo

__all__ = [
    "DELETION",
    "ENCRYPTED",
    "HAS_DESCRIPTOR",
    "LIMIT32",
    "MADE_BY",
    "MODE",
    "OBJECT",
    "STORED",
    "UTF8",
    "VERSION64",
    "Entry",
    "compressed_crc",
    "entry_of",
    "extra_field",
    "extra_fields",
    "is_ours",
    "kind_of",
]

#: A number of this size or more does not fit into the 32-bit field of a header, and is in the zip64 extra field.
LIMIT32 = 0xFFFFFFFF
_UNIX_TIME = 0x5455

STORED = 0
ENCRYPTED, HAS_DESCRIPTOR, UTF8 = 0x0001, 0x0008, 0x0800
#: The flags that are kept when data is moved to an entry of ours: how it was compressed.
_CODING_FLAGS = 0x0006
#: The version of the specification that a reader needs: by method, and for zip64.
_VERSIONS, _VERSION, VERSION64 = {12: 46, 14: 63}, 20, 45
#: "Made on Unix", so that unzip treats a backslash in a name as an ordinary character.
MADE_BY = 3 << 8 | VERSION64
#: A regular file that everyone may read and its owner may write, for programs that extract the archive.
MODE = 0o100644 << 16

#: The id of our extra field, and the bytes that it begins with, in case others use the id too.
PRIVATE, _MAGIC = 0x736F, b"obj2"
#: Id and length, magic bytes, object or deletion, checksum, stamp, time, CRC-32 of the compressed data; the attributes
#: follow.
_PRIVATE = struct.Struct("<HH4sBI16sqI")
#: The same without the last number, as earlier versions of this package wrote it.
_OLD_MAGIC, _OLD_PRIVATE = b"obj1", struct.Struct("<HH4sBI16sq")
#: The position of the checksum in this field, and in all extra fields of an entry: ours is the first.
_CHECK = slice(9, 13)
OBJECT, DELETION = 0, 1

#: The most bytes of a name, and of all extra fields of an entry together.
_FIELD_LIMIT = 0xFFFF
#: Bytes of the extra fields without the attributes: ours, the time, zip64, and the header of each.
_OTHER_FIELDS = _PRIVATE.size + (4 + 5) + (4 + 24)


class Entry(NamedTuple):
    """
    The header of one entry.

    Attributes:
        made_by, needed, flags, method, time, date, crc, internal, external: as in the central header.
        compressed_size: the bytes of its data in the archive.
        size: the bytes of its decoded data.
        offset: the offset of its local header.
        name: its name as it is written.
        extra: its extra fields except zip64, which follows from the numbers.
        comment: its comment.
    """

    made_by: int
    needed: int
    flags: int
    method: int
    time: int
    date: int
    crc: int
    compressed_size: int
    size: int
    internal: int
    external: int
    offset: int
    name: bytes
    extra: bytes
    comment: bytes

    @property
    def etag(self) -> str:
        """The etag of the version; for an entry of another program, made of what tells its versions apart."""
        return self._etag(_private_field(self))

    @property
    def attributes(self) -> dict[str, str]:
        """
        The attributes of the object.

        Raises:
            CorruptObjectError: the stored attributes are not valid.
        """
        private = _private_field(self)
        return {} if private is None else decode_attributes(private.attributes)

    def describe(self, key: str) -> ObjectInfo:
        """
        Return the description of the object; its time is None if the header has no valid one.

        Raises:
            CorruptObjectError: the stored attributes are not valid.
        """
        private = _private_field(self)
        attributes = {} if private is None else decode_attributes(private.attributes)
        return ObjectInfo(key, self.size, self._etag(private), self._modified(private), attributes)

    def _etag(self, private: _Private | None) -> str:
        if private is not None:
            return private.stamp.hex()
        return f"{self.crc:08x}-{self.size:x}-{self.compressed_size:x}-{self.date << 16 | self.time:08x}"

    def _modified(self, private: _Private | None) -> datetime | None:
        try:
            if private is not None:
                whole, rest = divmod(private.modified, 10**9)
                return datetime.fromtimestamp(whole, UTC).replace(microsecond=rest // 1000)
            seconds = dict(extra_fields(self.extra)).get(_UNIX_TIME, b"")
            if len(seconds) >= 5 and seconds[0] & 1:
                return datetime.fromtimestamp(int.from_bytes(seconds[1:5], "little"), UTC)
            date, clock = self.date, self.time
            local = datetime(  # the format has local time, without a zone
                (date >> 9) + 1980, date >> 5 & 15, date & 31, clock >> 11, clock >> 5 & 63, (clock & 31) * 2
            )
            return local.astimezone(UTC)
        except (ValueError, OverflowError, OSError):
            return None


class _Private(NamedTuple):
    kind: int
    stamp: bytes
    modified: int
    attributes: bytes
    compressed_crc: int | None


# -- our own entries ---------------------------------------------------------------------------------------------------


def entry_of(
    key: str,
    kind: int = OBJECT,
    *,
    method: int = STORED,
    crc: int = 0,
    compressed_size: int = 0,
    size: int = 0,
    flags: int = 0,
    attributes: Mapping[str, str] | None = None,
    stamp: bytes | None = None,
    modified: int | None = None,
    compressed_crc: int | None = None,
) -> Entry:
    """
    Return a new entry of ours, with a new version; the writer replaces its offset.

    *flags* are those of the entry whose compressed data it takes over; *modified* is in nanoseconds since 1970;
    *compressed_crc* is the CRC-32 of the data as it is in the archive, by default *crc*: that of uncompressed data.

    Raises:
        UnsupportedOperationError: the attributes have more bytes than fit into a header.
    """
    stamp = os.urandom(16) if stamp is None else stamp
    modified = time.time_ns() if modified is None else modified
    name = key.encode()
    flags = flags & _CODING_FLAGS | (0 if key.isascii() else UTF8)
    text = encode_attributes(attributes, key=key).encode()
    if len(text) > _FIELD_LIMIT - _OTHER_FIELDS:
        raise UnsupportedOperationError(
            f"the attributes have {len(text)} bytes as JSON; a zip entry has room for {_FIELD_LIMIT - _OTHER_FIELDS}",
            key=key,
        )
    seconds = modified // 10**9
    packed_crc = crc if compressed_crc is None else compressed_crc
    extra = _PRIVATE.pack(PRIVATE, _PRIVATE.size - 4 + len(text), _MAGIC, kind, 0, stamp, modified, packed_crc) + text
    # Bit 0 of the flags: the time of the last change follows, in 32 bits.
    extra += extra_field(_UNIX_TIME, struct.pack("<BI", 1, seconds & 0xFFFFFFFF))
    needed = max(_VERSIONS.get(method, _VERSION), VERSION64 if max(compressed_size, size) >= LIMIT32 else 0)
    clock, date = _dos_time(seconds)
    entry = Entry(MADE_BY, needed, flags, method, clock, date, crc, compressed_size, size, 0, MODE, 0, name, extra, b"")
    return entry._replace(extra=extra[: _CHECK.start] + _checksum(entry) + extra[_CHECK.stop :])


def kind_of(entry: Entry) -> int | None:
    """Return `OBJECT` or `DELETION` for an entry of ours with a complete header, and None for any other."""
    private = _private_field(entry)
    return None if private is None else private.kind


def is_ours(entry: Entry) -> bool:
    """Return whether this store wrote the entry, and nobody has changed it since."""
    return _private_field(entry) is not None


def compressed_crc(entry: Entry) -> int | None:
    """
    Return the CRC-32 of an entry's data as it is in the archive; None if its header does not have it.

    With it the data is verified without decoding it, in a time that is proportional to its bytes.
    """
    private = _private_field(entry)
    known = None if private is None else private.compressed_crc
    return entry.crc if known is None and entry.method == STORED else known


def _private_field(entry: Entry) -> _Private | None:
    """Return the content of our extra field; None also if another program has changed the entry but not the field."""
    extra = entry.extra
    if len(extra) < _OLD_PRIVATE.size or extra[_CHECK] != _checksum(entry):
        return None
    magic = extra[4:8]
    if magic == _MAGIC and len(extra) >= _PRIVATE.size:
        number, length, _, kind, _, stamp, modified, compressed_crc = _PRIVATE.unpack_from(extra)
        begin = _PRIVATE.size
    elif magic == _OLD_MAGIC:
        number, length, _, kind, _, stamp, modified = _OLD_PRIVATE.unpack_from(extra)
        begin, compressed_crc = _OLD_PRIVATE.size, None
    else:
        return None
    if number != PRIVATE or not begin <= 4 + length <= len(extra):
        return None
    return _Private(kind, stamp, modified, extra[begin : 4 + length], compressed_crc)


def _checksum(entry: Entry) -> bytes:
    """Return the CRC-32 of everything in a local header except the checksum itself."""
    _, _, flags, method, clock, date, crc, compressed_size, size, _, _, _, name, extra, _ = entry
    numbers = struct.pack("<HHHHIQQ", flags, method, clock, date, crc, compressed_size, size)
    check = zlib.crc32(extra[_CHECK.stop :], zlib.crc32(extra[: _CHECK.start], zlib.crc32(name, zlib.crc32(numbers))))
    return check.to_bytes(4, "little")


def _dos_time(seconds: int) -> tuple[int, int]:
    """Return local time as the format has it: in steps of two seconds, with years from 1980 to 2107."""
    at = time.localtime(seconds)
    if not 1980 <= at.tm_year <= 2107:
        return 0, 1 << 5 | 1
    return at.tm_hour << 11 | at.tm_min << 5 | at.tm_sec // 2, (at.tm_year - 1980) << 9 | at.tm_mon << 5 | at.tm_mday


# -- extra fields -----------------------------------------------------------------------------------------------------


def extra_fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield id and content of the extra fields; an incomplete one at their end is left out."""
    at = 0
    while at + 4 <= len(extra):
        number, size = struct.unpack_from("<HH", extra, at)
        at += 4 + size
        if at <= len(extra):
            yield number, extra[at - size : at]


def extra_field(number: int, content: bytes) -> bytes:
    """Return one extra field."""
    return struct.pack("<HH", number, len(content)) + content
