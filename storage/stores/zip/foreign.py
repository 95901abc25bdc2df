"""
`foreign_parts`: what in an archive's file is not the archive's, so that a compaction must not drop it.

What an archive has or had is known from its directories. Each was written by this store, except the first; so what
follows an earlier one is a record of ours, or the next directory. Whatever is in none of them is somebody else's: a
program that extracts the archive, a signature, another archive.
"""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterable, Iterator

from storage._core.data import CHUNK
from storage.errors import CorruptObjectError
from storage.stores.zip.ending import HOLES, ends_before
from storage.stores.zip.entry import HAS_DESCRIPTOR, LIMIT32, Entry
from storage.stores.zip.file import OpenFile
from storage.stores.zip.format import (
    CENTRAL,
    CENTRAL_SIGNATURE,
    DESCRIPTOR_SIGNATURE,
    END,
    END64,
    END64_SIGNATURE,
    END_SIGNATURE,
    LOCAL,
    LOCAL_SIGNATURE,
    LOCATOR,
    End,
    data_offset,
    local_header_size,
    parse_directory,
    record_at,
)

__all__ = ["foreign_parts"]

#: A part of the file: the offsets of its first byte and after its last.
_Part = tuple[int, int]


def foreign_parts(
    file: OpenFile, entries: Iterable[Entry], end: int, stop: int, first: int
) -> Generator[None, None, list[_Part]]:
    """
    Return the parts before *stop* that are of no entry, no record and no directory of the archive, in order.

    *entries* are the current ones, *end* is where the archive ends, and *first* is the size of the record with which a
    compacted archive begins.

    Raises:
        CorruptObjectError: a current entry is not where the directory says.
    """
    known: list[_Part] = []
    for entry in entries:
        data_offset(entry, file.read(LOCAL.size, entry.offset))
        known += _part_of(file, entry)
        yield
    known += _chain(file, 0, stop)
    directories = {end}  # where directories begin that are the archive's
    found: list[End] = []
    for start, limit in reversed(_between(known, stop)):
        for candidate in ends_before(file.read, limit, file.is_hole, start):
            yield
            if candidate is not None and (candidate.in_place or candidate.wrapped) and candidate.start >= start:
                found.append(candidate)
    below = stop
    for candidate in found:
        records = _chain(file, candidate.stop, stop)
        if candidate.stop > below or not (records or candidate.stop in directories):
            continue
        below = candidate.start
        listed: list[_Part] = []
        try:
            for entry in parse_directory(file.read, candidate):
                listed += [] if candidate.wrapped else _part_of(file, entry)
                yield
        except CorruptObjectError:
            continue
        directories.add(candidate.start)
        known += [*records, *listed, (candidate.start, candidate.stop)]
    known += list(_first_records(file, known, first))
    foreign = [part for part in _between(known, stop) if not _is_torn_directory(file, *part)]
    for part in foreign[:]:
        if part[0] and (yield from _is_zero(file, *part)):
            foreign.remove(part)
    return foreign


def _is_zero(file: OpenFile, start: int, stop: int) -> Generator[None, None, bool]:
    """Return whether a part has zeros only, as a file that was made longer has, or one that lost its last writes."""
    while start < stop:
        yield
        size = next((size for size in HOLES if file.is_hole(start, min(start + size, stop))), 0)
        if not size:
            size = CHUNK
            if file.read(min(size, stop - start), start).strip(b"\0"):
                return False
        start += size
    return True


def _is_torn_directory(file: OpenFile, start: int, stop: int) -> bool:
    """Return whether a part is what a killed `flush` leaves: headers of entries of the file, without an end."""
    at = start
    while len(fixed := file.read(min(CENTRAL.size, stop - at), at)) == CENTRAL.size and fixed[:4] == CENTRAL_SIGNATURE:
        numbers = CENTRAL.unpack(fixed)
        name = file.read(min(numbers[10], stop - at - CENTRAL.size), at + CENTRAL.size)
        local = file.read(LOCAL.size + len(name), numbers[-1])
        if numbers[-1] < LIMIT32 and (local[:4] != LOCAL_SIGNATURE or local[LOCAL.size :] != name):
            return False
        at += CENTRAL.size + sum(numbers[10:13])
        if at >= stop:
            return True
    rest, left = file.read(4, at), stop - at
    return at > start and any(
        left < size and rest[:left] == signature[:left]
        for signature, size in (
            (CENTRAL_SIGNATURE, CENTRAL.size),
            (END_SIGNATURE, END.size),
            (END64_SIGNATURE, END64.size + LOCATOR.size + END.size),
        )
    )


def _chain(file: OpenFile, offset: int, stop: int) -> list[_Part]:
    """Return the part of our records from *offset* on; none if the first is that of another archive."""
    end = offset
    while (record := record_at(file.read, end)) and record[1] <= stop and (record[0].name or not end):
        end = record[1]
    return [(offset, end)] if end > offset else []


def _part_of(file: OpenFile, entry: Entry) -> list[_Part]:
    """Return the part of an entry: its header, its data, and the descriptor after it, if there is one."""
    length = local_header_size(file.read(LOCAL.size, entry.offset))
    if length is None:
        return []
    stop = entry.offset + length + entry.compressed_size
    if entry.flags & HAS_DESCRIPTOR:
        there = file.read(24, stop)
        stop += next((len(each) for each in _descriptors(entry) if there.startswith(each)), 0)
    return [(entry.offset, stop)]


def _descriptors(entry: Entry) -> Iterator[bytes]:
    """Yield what the descriptor of an entry may be, the longest first: of both widths, and without a signature."""
    for numbers in ("<IQQ", "<III"):
        mask = (1 << 64 if "Q" in numbers else 1 << 32) - 1
        packed = struct.pack(numbers, entry.crc, entry.compressed_size & mask, entry.size & mask)
        yield from (DESCRIPTOR_SIGNATURE + packed, packed)


def _first_records(file: OpenFile, known: list[_Part], size: int) -> Iterator[_Part]:
    """Yield the records, of that size, with which compactions have begun what is known."""
    for start, _ in known:
        record = record_at(file.read, start - size) if start >= size else None
        if record is not None and record[1] == start and not record[0].name:
            yield start - size, start


def _between(known: list[_Part], stop: int) -> list[_Part]:
    """Return the parts before *stop* that are in none of those known."""
    found, position = [], 0
    for start, end in [*sorted(known), (stop, stop)]:
        if start > position:
            found.append((position, min(start, stop)))
        position = max(position, end)
    return found
