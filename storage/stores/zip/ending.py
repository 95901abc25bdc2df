"""
The search for the end of an archive: which end record counts, in a file that other things precede or follow.

Offsets in an archive count from its own start. If they count from the start of the file, the end record is *in place*.
If the archive stands behind other bytes, such as another archive (``cat old.zip new.zip``) or a program that extracts
it, the end record is *shifted* by their number. Both are valid only directly after the directory that they describe.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from typing import NamedTuple

from storage.stores.zip.entry import LIMIT32
from storage.stores.zip.format import (
    CENTRAL,
    CENTRAL_SIGNATURE,
    END,
    END64,
    END64_SIGNATURE,
    END_SIGNATURE,
    LOCAL_SIGNATURE,
    LOCATOR,
    LOCATOR_SIGNATURE,
    End,
)

__all__ = ["HOLES", "Ends", "ends_before", "find_ends"]

#: Bytes of one read during the search, and end records that are looked at in one step.
_STEP, _MANY = 1 << 20, 1000

#: Bytes of holes that are skipped in one step.
HOLES = (1 << 34, 1 << 26, _STEP)

#: The beginning of an end record: the signature, and the numbers of the only part of the archive, or of zip64.
_CANDIDATE = re.compile(re.escape(END_SIGNATURE) + rb"(?:\0{4}|\xff{4})")

#: The bytes before an end record that belong to it: the zip64 end record in its usual form, and its locator.
_BEFORE = END64.size + LOCATOR.size

#: The furthest that an end record is before the end of its archive.
_LONGEST_END = END.size + 0xFFFF

_Read = Callable[[int, int], bytes]


class Ends(NamedTuple):
    """
    The ends that a file has.

    Attributes:
        in_place: the last end record in place, or None.
        shifted: the last shifted one after it, or None. It is the end of a later archive; or of one that is stored in
            an object whose record was not completed.
    """

    in_place: End | None
    shifted: End | None


def find_ends(read: _Read, size: int, is_hole: Callable[[int, int], bool]) -> Generator[None, None, Ends]:
    """
    Find the ends in a file of *size* bytes; ``read(size, offset)`` reads it, ``is_hole(start, stop)`` is `OpenFile`'s.

    The time is proportional to the file's size, whatever is in it; it yields after a short part of it.
    """
    shifted: End | None = None
    for end in ends_before(read, size, is_hole):
        if end is None:
            yield
        elif end.in_place:
            return Ends(end, shifted)
        elif shifted is None and _is_archive(read, end):
            if end.wrapped or _follows_archive(read, end.shift):
                return Ends(None, end)
            shifted = end
    return Ends(None, shifted)


def ends_before(read: _Read, size: int, is_hole: Callable[[int, int], bool], begin: int = 0) -> Iterator[End | None]:
    """Yield what may be end records from *begin* to *size*, from the last to the first, and None from time to time."""
    stop, seen = size, 0
    while stop > begin:
        yield None
        hole = next((start for step in HOLES if is_hole(start := max(stop - step, begin), stop)), None)
        start = max(stop - _STEP, begin) if hole is None else hole
        if hole is None:
            first = max(start - _BEFORE, 0)
            window = read(stop - first + END.size, first)
            found = _CANDIDATE.finditer(window, start - first, stop - first + 7)
            for at in reversed([match.start() for match in found]):
                seen += 1
                if not seen % _MANY:
                    yield None
                if end := _end_at(read, window, at, first, size):
                    yield end
        stop = start


def _end_at(read: _Read, window: bytes, at: int, first: int, size: int) -> End | None:
    """Return the end record in the window at *at*, where its signature is, or None if its numbers contradict."""
    if len(window) - at < END.size:
        return None
    _, _, _, _, length, directory_size, start, comment_size = END.unpack_from(window, at)
    position = first + at
    stop = position + END.size + comment_size
    if stop > size:
        return None
    directory_stop = position
    announced = window[max(at - LOCATOR.size, 0) : at]
    if len(announced) == LOCATOR.size and announced.startswith(LOCATOR_SIGNATURE):
        offset = LOCATOR.unpack(announced)[2]
        for directory_stop in (offset, position - _BEFORE):
            end64 = read(END64.size, directory_stop) if 0 <= directory_stop < position else b""
            if len(end64) == END64.size and end64.startswith(END64_SIGNATURE):
                _, rest, _, _, _, _, _, length, directory_size, start = END64.unpack(end64)
                if directory_stop + 12 + rest + LOCATOR.size == position:
                    break
        else:
            return None
        if directory_stop - directory_size - start != directory_stop - offset:
            return None
    shift = directory_stop - directory_size - start
    if shift < 0:
        return None
    return End(directory_stop - directory_size, directory_size, length, stop, position + END.size, shift)


def _is_archive(read: _Read, end: End) -> bool:
    """Return whether a shifted end record has its directory before it, and the entries where that says."""
    if not end.size:
        return end.start == end.shift
    header = read(CENTRAL.size, end.start)
    if len(header) < CENTRAL.size or not header.startswith(CENTRAL_SIGNATURE):
        return False
    offset = CENTRAL.unpack(header)[-1]
    return end.wrapped or offset == LIMIT32 or read(4, offset + end.shift) == LOCAL_SIGNATURE


def _follows_archive(read: _Read, start: int) -> bool:
    """Return whether one archive after the other fills the file up to *start*, and no more than a hundred of them."""
    for _ in range(100):
        if not start:
            return True
        first = max(start - _LONGEST_END - _BEFORE, 0)
        window = read(start - first, first)
        before = None
        at = window.rfind(END_SIGNATURE)
        for _ in range(_MANY):
            if at < 0:
                break
            before = _end_at(read, window, at, first, start)
            if before is not None and before.stop == start and (before.in_place or _is_archive(read, before)):
                break
            before, at = None, window.rfind(END_SIGNATURE, 0, at + 3)
        if before is None:
            return False
        start = before.shift
    return False
