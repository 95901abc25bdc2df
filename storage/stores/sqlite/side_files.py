"""
`refuse_side_files`: what stands where SQLite has its log, before SQLite opens it.

SQLite takes any file of the names ``-wal``, ``-shm`` and ``-journal`` for its own: it overwrites and deletes it, waits
for ever for a named pipe, and writes through a hard link into another file.
"""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress

from storage._core.descriptors import Descriptor
from storage.errors import StorageError

__all__ = ["SIDE_FILES", "refuse_contents", "refuse_side_files", "refuse_without_database"]

#: The ends of the names of the files that SQLite keeps beside a database.
SIDE_FILES = ("-wal", "-shm", "-journal")

# How they begin, of https://sqlite.org/fileformat2.html ("the rollback journal", "the WAL file") and
# https://sqlite.org/walformat.html ("the WAL-index"); after a crash zeros may be in place of it.
_BEGINNINGS = {
    "-wal": (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83"),
    "-shm": ((3_007_000).to_bytes(4, sys.byteorder),),
    "-journal": (b"\xd9\xd5\x05\xf9",),
}
_ZEROS = bytes(4)

#: Where the header of a journal says how many pages the database had before; and the longest header.
_PAGES_BEFORE, _LONGEST_HEADER = slice(16, 20), 1 << 16

_ADVICE = "Move it away, or name another file for the database"


def refuse_side_files(real: str, store: str) -> dict[str, os.stat_result]:
    """
    Raise unless each of the files beside a database is missing, or a regular file of one name; return those there.

    Args:
        real: the file of the database, without symbolic links: SQLite names the files beside it so.
        store: for the error.

    Raises:
        StorageError: one is something else.
    """
    there: dict[str, os.stat_result] = {}
    for end in SIDE_FILES:
        with suppress(OSError, ValueError):  # missing, or SQLite says why it cannot open it
            there[end] = os.lstat(real + end)
    for end, found in there.items():
        if not stat.S_ISREG(found.st_mode):
            raise StorageError(f"{real + end} is no regular file, but SQLite would use it. {_ADVICE}", store=store)
        if found.st_nlink > 1:
            raise StorageError(
                f"{real + end} has {found.st_nlink} names (hard links), and SQLite would overwrite what they share. "
                "Copy the database and the files beside it (cp) while nobody uses them, and open the copy",
                store=store,
            )
    return there


def refuse_without_database(real: str, there: dict[str, os.stat_result], store: str) -> None:
    """
    Raise if there are files with content beside a database that is missing or empty: SQLite would delete them.

    Args:
        real: as for `refuse_side_files`.
        there: what that returned, *before* the database was found missing or empty.
        store: for the error.

    Raises:
        StorageError: there are, and not those of another process that is just creating the database.
    """
    for end, found in there.items():
        if found.st_size and not (end == "-journal" and _is_of_creation(real + end)):
            raise StorageError(
                f"{real} is missing or empty, but {real + end} is there ({found.st_size:,} bytes): it may be the log "
                "of a database that was moved away, with what was written last. Move the database back to it; or "
                f"move {os.path.basename(real + end)} away for a new database",
                store=store,
            )


def refuse_contents(real: str, there: dict[str, os.stat_result], store: str) -> None:
    """
    Raise if one of the files beside a database is not SQLite's.

    This process must not have them open: closing a descriptor of a file drops the locks of the process.

    Raises:
        StorageError: it begins in another way.
    """
    for end, found in there.items():
        beginning = _beginning(real + end, len(_ZEROS)) if found.st_size else b""
        if len(beginning) == len(_ZEROS) and beginning not in (*_BEGINNINGS[end], _ZEROS):
            raise StorageError(
                f"{real + end} is not a file of SQLite, which would overwrite or delete it. {_ADVICE}", store=store
            )


def _is_of_creation(journal: str) -> bool:
    """Return whether this is the journal of a database that was empty before: it has no pages, which could be lost."""
    header = _beginning(journal, _LONGEST_HEADER + 1)
    return (
        len(header) <= _LONGEST_HEADER
        and header[:4] in (b"", *_BEGINNINGS["-journal"], _ZEROS)
        and not any(header[_PAGES_BEFORE])
        and not any(header[28:])
    )


def _beginning(path: str, length: int) -> bytes:
    """Return the beginning of a file, or nothing if it cannot be read, as when it has just been deleted."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        with Descriptor.open(path, flags) as descriptor:
            return os.read(descriptor, length)
    except OSError:
        return b""
