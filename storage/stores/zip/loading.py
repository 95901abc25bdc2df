"""
Reading an archive when it is opened: its directory, and the records that were written after it.

Nothing is changed here. What follows the directory is ours if it is a row of complete records of this store; all that
comes after them is left as it is.
"""

from __future__ import annotations

import zlib
from collections.abc import Generator
from dataclasses import dataclass, field

from storage.errors import CorruptObjectError, StorageError
from storage.stores.zip.content import CompressedData, Content
from storage.stores.zip.decoders import DEFLATED, METHODS
from storage.stores.zip.ending import Ends, find_ends
from storage.stores.zip.entry import DELETION, Entry, compressed_crc, is_ours, kind_of
from storage.stores.zip.file import OpenFile
from storage.stores.zip.format import End, parse_directory, record_at
from storage.stores.zip.names import key_of
from storage.stores.zip.wrapped import unwrapped

__all__ = ["Loaded", "load"]

#: Entries that are read in one step, which takes some milliseconds.
_MANY = 1000


@dataclass
class Loaded:
    """
    What is in an archive.

    Attributes:
        objects: the entries by key.
        keyless: the entries whose names are no keys.
        lookalikes: the key of an entry by its name, if that has other bytes than the key; None if it has no key.
        comment: the archive's comment.
        begin: the offset of the first entry, or of the directory; what is before may be of another program.
        directory_stop: the offset after the last directory and its end record.
        end: the offset after the last complete record.
        covered: the offset after the record that follows, if its header is ours and complete, but its data is not.
        read_only: why nothing can be written into this archive, or "".
    """

    objects: dict[str, Entry] = field(default_factory=dict)
    keyless: list[Entry] = field(default_factory=list)
    lookalikes: dict[bytes, str | None] = field(default_factory=dict)
    comment: bytes = b""
    begin: int = 0
    directory_stop: int = 0
    end: int = 0
    covered: int = 0
    read_only: str = ""


def load(file: OpenFile, path: str, size: int) -> Generator[None, None, Loaded]:
    """
    Read the archive in a file of *size* bytes; it yields after a short part of the work.

    Raises:
        CorruptObjectError: the file is no archive, or the directory is damaged, or it is not clear which of several
            archives in the file counts.
    """
    ends: Ends = yield from find_ends(file.read, size, file.is_hole)
    if ends.in_place is not None:
        found = yield from _loaded(file, path, size, ends.in_place)
        later = ends.shifted
        # A later archive is the one that counts, unless it is in the data of a record of ours, complete or not.
        if later is None or later.stop <= max(found.end, found.covered) or _is_ours(file, found):
            return found
        raise CorruptObjectError(
            f"{path} contains two archives, with other bytes between them: separate them; the file was not changed"
        )
    if ends.shifted is None:
        raise CorruptObjectError(f"{path} is not a zip archive, or its end is missing; the file was not changed")
    found = yield from _loaded(file, path, size, ends.shifted)
    if not ends.shifted.wrapped:
        found.read_only = (
            f"the archive follows {ends.shifted.shift:,} bytes of something else in its file, from whose end its "
            "offsets count: copy its objects into a new archive, or correct the offsets with 'zip -A'"
        )
    return found


def _is_ours(file: OpenFile, found: Loaded) -> bool:
    """Return whether this store has written into the archive before."""
    if found.end > found.directory_stop or _readable_record_at(file, 0) is not None:
        return True
    return any(is_ours(entry) for entry in found.objects.values())


def _loaded(file: OpenFile, path: str, size: int, end: End) -> Generator[None, None, Loaded]:
    entries: list[Entry] = []
    for entry in parse_directory(file.read, end):
        entries.append(entry)
        if not len(entries) % _MANY:
            yield
    if (len(entries) - end.length) % 0x10000:  # without zip64 the count has 16 bits
        raise CorruptObjectError(
            f"the directory of {path} has {len(entries)} entries, but its end record says {end.length}"
        )
    if end.wrapped:
        entries = yield from unwrapped(entries, file.read, end.start)
    comment = file.read(end.stop - end.comment, end.comment)
    found = Loaded(comment=comment, directory_stop=end.stop, end=end.stop)
    found.begin = min((entry.offset for entry in entries), default=end.start)
    for count, entry in enumerate(entries):
        if not count % _MANY:
            yield
        key = key_of(entry)
        if key is None:
            found.keyless.append(entry)
        else:
            found.objects[key] = entry
        if key is None or key.encode() != entry.name:
            found.lookalikes[entry.name] = key
    yield from _read_records(file, size, found)
    return found


def _read_records(file: OpenFile, size: int, found: Loaded) -> Generator[None, None, None]:
    """Add our records from ``found.end`` on, which moves past each of them, up to the first incomplete one."""
    while record := _readable_record_at(file, found.end):
        entry, stop = record
        key = key_of(entry)
        if key is None:  # the first record of another archive
            return
        if stop > size or not (yield from _is_complete(file, entry)):
            found.covered = stop
            return
        if kind_of(entry) == DELETION:
            found.objects.pop(key, None)
        else:
            found.objects[key] = entry
        found.end = stop
        yield


def _readable_record_at(file: OpenFile, offset: int) -> tuple[Entry, int] | None:
    """Return what `record_at` does, and None also for data that cannot be decoded."""
    record = record_at(file.read, offset)
    return None if record is None or record[0].method not in METHODS else record


def _is_complete(file: OpenFile, entry: Entry) -> Generator[None, None, bool]:
    """
    Return whether an entry's data is complete: after an interrupted write any page of it may be missing.

    The data is not decoded, so that it takes no longer than reading the file. Only the records of earlier versions of
    this package have no checksum of their compressed data; these are deflated, by a factor of a thousand at most.
    """
    known = compressed_crc(entry)
    try:
        if known is not None:
            crc = 0
            for piece in CompressedData(file, entry):
                crc = zlib.crc32(piece, crc)
                yield
            return crc == known
        if entry.method != DEFLATED:
            return False
        for _ in Content(file, entry).pieces(0, entry.size):
            yield
    except StorageError:
        return False
    return True
