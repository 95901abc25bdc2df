"""
The zip format as `ZipStore` writes and reads it: pure functions that convert between bytes and `Entry`.

An archive is a sequence of records, each a *local header* and its data, then a *directory* with a *central header* for
each current record, then an *end record* with the position of the directory. All numbers are little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from storage.errors import CorruptObjectError
from storage.stores.zip.entry import (
    DELETION,
    HAS_DESCRIPTOR,
    LIMIT32,
    MADE_BY,
    MODE,
    VERSION64,
    Entry,
    entry_of,
    extra_field,
    extra_fields,
    kind_of,
)

__all__ = [
    "CENTRAL",
    "CENTRAL_SIGNATURE",
    "DESCRIPTOR_SIGNATURE",
    "EMPTY",
    "END",
    "END64",
    "END64_SIGNATURE",
    "END_SIGNATURE",
    "LOCAL",
    "LOCAL_SIGNATURE",
    "LOCATOR",
    "LOCATOR_SIGNATURE",
    "End",
    "data_offset",
    "local_header_size",
    "pack_central",
    "pack_descriptor",
    "pack_end",
    "pack_local",
    "parse_directory",
    "parse_record",
    "record_at",
]

LOCAL_SIGNATURE, CENTRAL_SIGNATURE, END_SIGNATURE = b"PK\3\4", b"PK\1\2", b"PK\5\6"
END64_SIGNATURE, LOCATOR_SIGNATURE, DESCRIPTOR_SIGNATURE = b"PK\6\6", b"PK\6\7", b"PK\7\x08"

LOCAL = struct.Struct("<4sHHHHHIIIHH")
CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
END = struct.Struct("<4sHHHHIIH")
END64 = struct.Struct("<4sQHHIIQQQQ")
LOCATOR = struct.Struct("<4sIQI")

#: The id of the zip64 extra field; the count of `_LIMIT16` entries and more is in the zip64 end record.
_ZIP64, _LIMIT16 = 0x0001, 0xFFFF

#: The most bytes of a header in the directory, and of one read of the directory.
_LONGEST_CENTRAL, _DIRECTORY_STEP = CENTRAL.size + 3 * 0xFFFF, 1 << 20


# -- headers -----------------------------------------------------------------------------------------------------------


def _to_32_bits(*numbers: int) -> tuple[list[int], bytes]:
    """Return numbers for 32-bit fields, and the zip64 field with those that are too large."""
    large = [number for number in numbers if number >= LIMIT32]
    zip64 = extra_field(_ZIP64, struct.pack(f"<{len(large)}Q", *large)) if large else b""
    return [min(number, LIMIT32) for number in numbers], zip64


def _from_32_bits(numbers: tuple[int, ...], extra: bytes) -> tuple[list[int], bytes]:
    """Undo `_to_32_bits`, and return the extra fields without zip64."""
    if LIMIT32 not in numbers and extra[:2] != b"\1\0":
        return list(numbers), extra
    found = list(extra_fields(extra))
    large = dict(found).get(_ZIP64, b"")
    wanted = numbers.count(LIMIT32)
    if len(large) < 8 * wanted:
        raise CorruptObjectError("a header lacks the zip64 field that its sizes need")
    widened = iter(struct.unpack_from(f"<{wanted}Q", large))
    others = b"".join(extra_field(number, content) for number, content in found if number != _ZIP64)
    return [next(widened) if number == LIMIT32 else number for number in numbers], others


def pack_local(entry: Entry) -> bytes:
    """Return the header that precedes the data of an entry; a large entry has both sizes in zip64."""
    large = max(entry.size, entry.compressed_size) >= LIMIT32
    zip64 = extra_field(_ZIP64, struct.pack("<QQ", entry.size, entry.compressed_size)) if large else b""
    compressed_size, size = (LIMIT32, LIMIT32) if large else (entry.compressed_size, entry.size)
    fixed = LOCAL.pack(
        LOCAL_SIGNATURE, entry.needed, entry.flags, entry.method, entry.time, entry.date, entry.crc,
        compressed_size, size, len(entry.name), len(zip64) + len(entry.extra),
    )  # fmt: skip
    return fixed + entry.name + zip64 + entry.extra


def pack_descriptor(entry: Entry) -> bytes:
    """Return the descriptor after the data of an entry whose flags announce it (its writer could not seek)."""
    if not entry.flags & HAS_DESCRIPTOR:
        return b""
    width = "<4sIQQ" if max(entry.size, entry.compressed_size) >= LIMIT32 else "<4sIII"
    return struct.pack(width, DESCRIPTOR_SIGNATURE, entry.crc, entry.compressed_size, entry.size)


def pack_central(entry: Entry) -> bytes:
    """Return the header of an entry in the directory."""
    (size, compressed_size, offset), zip64 = _to_32_bits(entry.size, entry.compressed_size, entry.offset)
    fixed = CENTRAL.pack(
        CENTRAL_SIGNATURE, entry.made_by, VERSION64 if zip64 else entry.needed, entry.flags, entry.method, entry.time,
        entry.date, entry.crc, compressed_size, size, len(entry.name), len(zip64) + len(entry.extra),
        len(entry.comment), 0, entry.internal, entry.external, offset,
    )  # fmt: skip
    return fixed + entry.name + zip64 + entry.extra + entry.comment


def local_header_size(fixed: bytes) -> int | None:
    """Return the size of the local header that begins with *fixed*, or None if *fixed* is no such beginning."""
    if len(fixed) < LOCAL.size or not fixed.startswith(LOCAL_SIGNATURE):
        return None
    *_, name, extra = LOCAL.unpack_from(fixed)
    return LOCAL.size + int(name) + int(extra)


def parse_record(header: bytes, offset: int) -> Entry | None:
    """Return the entry of one of our own local headers, or None if it is incomplete or not ours."""
    _, needed, flags, method, clock, date, crc, compressed_size, size, name_size, _ = LOCAL.unpack_from(header)
    name, extra = header[LOCAL.size : LOCAL.size + name_size], header[LOCAL.size + name_size :]
    try:
        (size, compressed_size), extra = _from_32_bits((size, compressed_size), extra)
    except CorruptObjectError:
        return None
    entry = Entry(
        MADE_BY, needed, flags, method, clock, date, crc, compressed_size, size, 0, MODE, offset, name, extra, b""
    )  # fmt: skip
    return None if kind_of(entry) is None else entry


def record_at(read: Callable[[int, int], bytes], offset: int) -> tuple[Entry, int] | None:
    """
    Return the record of ours at *offset* and where its data ends, or would end; None if there is none.

    ``read(size, offset)`` reads the file.
    """
    length = local_header_size(read(LOCAL.size, offset))
    if length is None:
        return None
    header = read(length, offset)
    entry = parse_record(header, offset) if len(header) == length else None
    return None if entry is None else (entry, offset + length + entry.compressed_size)


def data_offset(entry: Entry, fixed: bytes) -> int:
    """
    Return the offset of an entry's data, given the fixed part of its local header.

    Raises:
        CorruptObjectError: there is no local header.
    """
    size = local_header_size(fixed)
    if size is None:
        raise CorruptObjectError("there is no local header at the offset in the archive's directory")
    return entry.offset + size


def parse_directory(read: Callable[[int, int], bytes], end: End) -> Iterator[Entry]:
    """
    Yield the entries of the directory before *end*; ``read(size, offset)`` reads the file.

    Their offsets are in the file, except those of a wrapped archive, which are as they are written.

    Raises:
        CorruptObjectError: it is damaged, or an entry's data is not before it.
    """
    at, stop, wrapped = end.start, end.start + end.size, end.wrapped
    shift = 0 if wrapped else end.shift
    buffer, position = b"", 0
    while at < stop:
        if len(buffer) - position < _LONGEST_CENTRAL and at + len(buffer) - position < stop:
            wanted = min(stop - at, _DIRECTORY_STEP)
            buffer, position = read(wanted, at), 0
            if len(buffer) < wanted:
                raise CorruptObjectError("the archive ends within its directory")
        if len(buffer) - position < CENTRAL.size:
            raise CorruptObjectError("the archive's directory is incomplete")
        (
            signature, made_by, needed, flags, method, clock, date, crc, compressed_size, size,
            name_size, extra_size, comment_size, _, internal, external, offset,
        ) = CENTRAL.unpack_from(buffer, position)  # fmt: skip
        begin = position + CENTRAL.size
        middle, last = begin + name_size, begin + name_size + extra_size
        at += last + comment_size - position
        position = last + comment_size
        if signature != CENTRAL_SIGNATURE or position > len(buffer):
            raise CorruptObjectError("the archive's directory is damaged")
        (size, compressed_size, offset), extra = _from_32_bits((size, compressed_size, offset), buffer[middle:last])
        offset += shift
        if not wrapped and offset + LOCAL.size + compressed_size > end.start:
            raise CorruptObjectError("the archive's directory has an entry whose data is not in the file")
        yield Entry(
            made_by, needed, flags, method, clock, date, crc, compressed_size, size, internal, external, offset,
            buffer[begin:middle], extra, buffer[last:position],
        )  # fmt: skip


# -- the end -----------------------------------------------------------------------------------------------------------


class End(NamedTuple):
    """
    What an end record says.

    Attributes:
        start: the offset of the directory, in the file.
        size: the size of the directory in bytes.
        length: the number of its entries, modulo 65,536 without zip64.
        stop: the offset after the end record and its comment.
        comment: the offset of the archive's comment.
        shift: how many bytes of something else are before the archive, from whose start its offsets count.
    """

    start: int
    size: int
    length: int
    stop: int
    comment: int
    shift: int

    @property
    def in_place(self) -> bool:
        """Whether the archive's offsets count from the start of the file."""
        return self.shift == 0

    @property
    def wrapped(self) -> bool:
        """Whether the shift is one of an archive whose writer keeps only 32 bits of its numbers (`wrapped`)."""
        return self.shift > 0 and self.shift % (LIMIT32 + 1) == 0


def pack_end(start: int, size: int, length: int, comment: bytes = b"") -> bytes:
    """Return the end record to write after a directory, with the zip64 records before it if the numbers need them."""
    end64 = b""
    if max(start, size) >= LIMIT32 or length >= _LIMIT16:
        end64 = END64.pack(END64_SIGNATURE, END64.size - 12, MADE_BY, VERSION64, 0, 0, length, length, size, start)
        end64 += LOCATOR.pack(LOCATOR_SIGNATURE, 0, start + size, 1)
    few = min(length, _LIMIT16)
    narrow = (min(size, LIMIT32), min(start, LIMIT32))
    return end64 + END.pack(END_SIGNATURE, 0, 0, few, few, *narrow, len(comment)) + comment


#: A new archive: a record without an object, and the end of a directory without entries. The record is there for
#: programs that recognize a file by its first bytes; an end record there means "empty". It is the same in every new
#: archive, so a file with only a beginning of it is one whose creation was interrupted.
_NOTHING = pack_local(entry_of("", DELETION, stamp=bytes(16), modified=0))
EMPTY = _NOTHING + pack_end(len(_NOTHING), 0, 0)
