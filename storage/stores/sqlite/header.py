"""`refuse_foreign`: finds out what a file is before SQLite opens it, which may write to it."""

from __future__ import annotations

import errno
import os
import stat

from storage.errors import CorruptObjectError, StorageError
from storage.stores.sqlite.database_files import descriptors_of
from storage.stores.sqlite.side_files import refuse_contents, refuse_side_files, refuse_without_database

__all__ = ["is_database", "refuse_foreign"]

# The header of a database, of https://sqlite.org/fileformat2.html#the_database_header, and the beginning of its first
# page: the table of all tables.
_MAGIC = b"SQLite format 3\0"
_USER_VERSION, _APPLICATION, _LENGTH = slice(60, 64), slice(68, 72), 105
_PAGE_TYPE, _CELLS = 100, slice(103, 105)
_LEAF = 13


def refuse_foreign(path: str, application: int, store: str) -> None:
    """
    Raise if the file at *path* is there, and is no database of ours and no empty one; it is not changed.

    The same for the files beside it, which SQLite would write to.

    Args:
        path: the file of the database, absolute.
        application: the number in the header of ours.
        store: for the error.

    Raises:
        CorruptObjectError: it is no SQLite database, or one of another program.
        StorageError: it is no regular file, or has several names; a file beside it is not SQLite's, or is the log of
            another database.
    """
    real = os.path.realpath(path)
    beside = refuse_side_files(real, store)  # first: another process may be creating the database
    try:
        found = os.stat(path)
    except FileNotFoundError:
        if os.path.islink(path) and not os.path.isdir(os.path.dirname(real)):
            raise StorageError(
                f"{path} is a symbolic link to {real}, whose directory does not exist: create that, or remove the link",
                store=store,
            ) from None
        refuse_without_database(real, beside, store)
        return
    except (OSError, ValueError) as cause:
        if isinstance(cause, OSError) and cause.errno == errno.ELOOP:
            raise StorageError(
                f"{path} is a loop of symbolic links, and leads to no file: remove it, or name another file",
                store=store,
            ) from cause
        return  # SQLite says why it cannot open it
    if stat.S_ISDIR(found.st_mode):
        raise StorageError(f"{path} is a directory: name a file in it", store=store)
    if not stat.S_ISREG(found.st_mode):
        raise StorageError(f"{path} is no regular file: name another one for the database", store=store)
    if found.st_nlink > 1:
        raise StorageError(
            f"{path} has {found.st_nlink} names (hard links): a database that is used under two names is damaged, "
            "because each has a log of its own. Open a copy instead: cp the file, and its -wal if there is one, while "
            "nobody uses it; or remove the other names",
            store=store,
        )
    if not found.st_size:
        refuse_without_database(real, beside, store)
    files = [found, *beside.values()]
    if descriptors_of(tuple((file.st_dev, file.st_ino) for file in files)):
        return  # somebody here has it open: closing another descriptor would drop the locks
    refuse_contents(real, beside, store)
    if not found.st_size:
        return
    try:
        with open(path, "rb", buffering=0) as opened:
            header = opened.read(_LENGTH)
    except OSError:
        return
    if header[: len(_MAGIC)] != _MAGIC[: len(header)] or len(header) < _LENGTH:
        raise CorruptObjectError(f"{path} is not an SQLite database: use another file for the store", store=store)
    theirs = int.from_bytes(header[_APPLICATION])
    if theirs == application:
        return
    tables = header[_PAGE_TYPE] != _LEAF or any(header[_CELLS])
    if theirs or tables or any(header[_USER_VERSION]):
        raise CorruptObjectError(
            f"{path} is a database of another program: use another file for the store", store=store
        )


def is_database(header: bytes, application: int) -> bool:
    """Return whether a file that begins with these bytes is a database of ours."""
    return header.startswith(_MAGIC) and int.from_bytes(header[_APPLICATION]) == application
