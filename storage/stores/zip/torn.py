"""
`is_torn_record`: what a killed write or a power failure leaves of a record of this store, before any of its data.

Such a part is the beginning of a local header, directly after a record or a directory of the archive; zeros may follow,
where the file was made longer and the rest not written. A whole header proves itself by its checksum. The beginning of
one must be as this store writes it, as far as it goes: flags, method, and the mark in the extra field, which no other
program writes. A part that has more than that, or other bytes after it, may be somebody else's.
"""

from __future__ import annotations

import struct
from collections.abc import Generator

from storage._core.data import CHUNK
from storage.stores.zip.decoders import METHODS
from storage.stores.zip.ending import HOLES
from storage.stores.zip.entry import CODING_FLAGS, MAGICS, PRIVATE, UTF8, VERSIONS
from storage.stores.zip.file import OpenFile
from storage.stores.zip.format import LOCAL, LOCAL_SIGNATURE, ZIP64_FIELD

__all__ = ["is_torn_record", "is_zero"]

_LONGEST = LOCAL.size + 2 * 0xFFFF

#: The fewest bytes of the extra fields of our records: our own field, as earlier versions wrote it, and the time.
_LEAST_EXTRA = 37 + 9


def is_torn_record(file: OpenFile, start: int, stop: int) -> Generator[None, None, bool]:
    """Return whether a part of the file is the beginning of the header of one of our records, and zeros after it."""
    head = file.read(min(_LONGEST, stop - start), start)
    if not head.startswith(LOCAL_SIGNATURE[:2]) or not LOCAL_SIGNATURE.startswith(head[:4].rstrip(b"\0")):
        return False
    fixed = LOCAL.unpack(head[: LOCAL.size].ljust(LOCAL.size, b"\0"))
    _, needed, flags, method, _, _, _, _, _, name_size, extra_size = fixed
    length = LOCAL.size + name_size + extra_size
    written = head[:length].rstrip(b"\0")  # it may have ended in zeros, which follow then in any case
    if needed not in (0, *VERSIONS) or flags & ~(CODING_FLAGS | UTF8) or method not in METHODS:
        return False
    if len(written) > LOCAL.size:
        if not name_size or extra_size < _LEAST_EXTRA:
            return False
        field = written[LOCAL.size + name_size :].removeprefix(ZIP64_FIELD)
        field = field[16:] if head[LOCAL.size + name_size :].startswith(ZIP64_FIELD) else field
        known = struct.pack("<H", PRIVATE)
        if not known.startswith(field[:2]) or not any(magic.startswith(field[4:8]) for magic in MAGICS):
            return False
    return (yield from is_zero(file, start + length, stop))


def is_zero(file: OpenFile, start: int, stop: int) -> Generator[None, None, bool]:
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
