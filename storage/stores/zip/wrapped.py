"""
Archives over 4 GiB of a writer that does not know zip64, as macOS' Archive Utility: all numbers are modulo 2**32.

What was taken off is found again: the entries follow each other without gaps, and each has its signature and its name
where it begins.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

from storage.errors import CorruptObjectError
from storage.stores.zip.entry import LIMIT32, STORED, Entry
from storage.stores.zip.format import DESCRIPTOR_SIGNATURE, LOCAL, local_header_size

__all__ = ["unwrapped"]

_WRAP = LIMIT32 + 1

#: Bytes between the data of an entry and the next entry: a descriptor, if any, with or without a signature.
_DESCRIPTORS = frozenset({0, 12, 16, 20, 24})

#: How many entries are looked at in one step.
_MANY = 100


def unwrapped(
    entries: Sequence[Entry], read: Callable[[int, int], bytes], stop: int
) -> Generator[None, None, list[Entry]]:
    """
    Return the entries with their true offsets and sizes; their data ends at *stop*, where the directory begins.

    The decoded size of compressed data is the smallest that is plausible; reading an object that is larger finds that
    out, and is an error.

    Raises:
        CorruptObjectError: the entries are not where their numbers modulo 2**32 say.
    """
    begins: list[tuple[int, int]] = []  # of each local header, and of the data after it
    position = 0
    for count, entry in enumerate(entries):
        if not count % _MANY:
            yield
        offset = entry.offset
        if offset < position:
            offset += -(-(position - offset) // _WRAP) * _WRAP
        size = None
        while offset < stop and (size := _header_size(entry, read, offset)) is None:  # a zip64 offset may be any number
            offset += _WRAP
            yield  # a sparse file may have two thousand million of these steps, for all entries together
        if size is None:
            raise CorruptObjectError("the archive's numbers are modulo 2**32, and lead to no entries")
        position = offset + size
        begins.append((offset, position))
    found = []
    for entry, (offset, begin), (following, _) in zip(entries, begins, [*begins[1:], (stop, stop)], strict=True):
        space = following - begin
        compressed_size = entry.compressed_size + max(space - entry.compressed_size, 0) // _WRAP * _WRAP
        rest = space - compressed_size
        if rest not in _DESCRIPTORS:
            raise CorruptObjectError("the archive's numbers are modulo 2**32, and its entries do not fill it")
        if rest in (16, 24) and read(4, begin + compressed_size) != DESCRIPTOR_SIGNATURE:
            raise CorruptObjectError("the archive's numbers are modulo 2**32, and an entry does not end there")
        size = compressed_size if entry.method == STORED else entry.size
        if size < compressed_size:  # no method makes data larger by more than a few bytes in a thousand
            size += max(0, compressed_size - compressed_size // 100 - 1000 - size + _WRAP - 1) // _WRAP * _WRAP
        found.append(entry._replace(offset=offset, compressed_size=compressed_size, size=size))
    return found


def _header_size(entry: Entry, read: Callable[[int, int], bytes], offset: int) -> int | None:
    """Return the size of the entry's local header at *offset*, or None if it is not there."""
    header = read(LOCAL.size + len(entry.name), offset)
    size = local_header_size(header)
    return size if size is not None and header[LOCAL.size :] == entry.name else None
