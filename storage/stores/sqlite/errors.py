"""The one place where errors of SQLite are mapped to ours, and where errors get their key."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Awaitable, Iterable
from copy import copy
from typing import Any, TypeVar

from storage.errors import (
    CorruptObjectError,
    PermissionDeniedError,
    StorageError,
    StoreFullError,
    StoreUnavailableError,
)

__all__ = [
    "copy_error",
    "error_of",
    "error_per_key",
    "from_os_error",
    "is_busy",
    "is_interrupt",
    "is_of_row",
    "is_undecodable",
    "naming_key",
]

T = TypeVar("T")
E = TypeVar("E", bound=Exception)

_KINDS: dict[int, tuple[type[StorageError], str]] = {
    sqlite3.SQLITE_BUSY: (StoreUnavailableError, "another connection has locked the database"),
    sqlite3.SQLITE_LOCKED: (StoreUnavailableError, "another connection has locked a table"),
    sqlite3.SQLITE_FULL: (StoreFullError, "the disk is full"),
    sqlite3.SQLITE_READONLY: (PermissionDeniedError, "the database is read-only"),
    sqlite3.SQLITE_PERM: (PermissionDeniedError, "no permission to use the database's file"),
    sqlite3.SQLITE_AUTH: (PermissionDeniedError, "no permission to use the database's file"),
    sqlite3.SQLITE_CANTOPEN: (PermissionDeniedError, "no permission to open the database's file or its directory"),
    sqlite3.SQLITE_CORRUPT: (CorruptObjectError, "the database is damaged"),
    sqlite3.SQLITE_TOOBIG: (CorruptObjectError, "a value in the database is larger than any that a store writes"),
    sqlite3.SQLITE_NOTADB: (CorruptObjectError, "the file is not an SQLite database"),
}


def error_of(error: BaseException, path: str, busy_timeout: float, store: str) -> BaseException:
    """Return our error for an error of SQLite, which becomes its cause, and any other error as it is."""
    if not isinstance(error, sqlite3.Error):
        return error
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # errors raised by Python's module itself have none
    kind, text = _KINDS.get(code, (StorageError, "SQLite failed"))
    if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_IOERR_FSYNC:
        text = "the disk failed to sync a file of the database, or its file system cannot: use a local disk"
    if kind is StoreUnavailableError:
        text += f", even after waiting {busy_timeout:g} s (busy_timeout)"
    if code == sqlite3.SQLITE_CANTOPEN and not os.path.isdir(os.path.dirname(os.path.abspath(path))):
        kind, text = StorageError, "the directory of the database does not exist: create it first"
    elif code == sqlite3.SQLITE_CANTOPEN and os.path.isdir(path):
        kind, text = StorageError, "the path is a directory: name a file in it"
    mapped = kind(f"{text} ({error})", store=store)
    mapped.__cause__ = error
    return mapped


def from_os_error(cause: OSError, store: str) -> StorageError:
    """Return the `StorageError` for an error of the operating system; the caller raises it ``from cause``."""
    kind: type[StorageError] = StorageError
    if isinstance(cause, PermissionError) or cause.errno == errno.EROFS:
        kind = PermissionDeniedError
    elif cause.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        kind = StoreFullError
    return kind(str(cause), store=store)


def is_busy(error: sqlite3.Error) -> bool:
    """Return whether an error of SQLite says that another connection holds a lock."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def is_interrupt(error: BaseException) -> bool:
    """Return whether a statement ended because it was interrupted."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_INTERRUPT


def is_undecodable(error: BaseException) -> bool:
    """Return whether Python's module could not decode a TEXT, which is not UTF-8."""
    return isinstance(error, sqlite3.OperationalError) and "decode to UTF-8" in str(error)


def is_of_row(error: BaseException) -> bool:
    """Return whether an error may be that of one row only, and other rows can be read."""
    return isinstance(error, sqlite3.Error) and not (is_busy(error) or is_interrupt(error) or is_undecodable(error))


async def naming_key(key: str, work: Awaitable[T]) -> T:
    """Return the result of *work*; errors without a key get *key*."""
    try:
        return await work
    except StorageError as error:
        if error.key is None:
            error.with_key(key)
        raise


def copy_error(error: E) -> E:
    """Return a copy of the error of a whole batch, so that each caller can set its own key."""
    another = copy(error)
    another.__cause__ = error.__cause__
    return another


def error_per_key(keys: Iterable[str], error: StorageError) -> dict[str, Any]:
    """Return a copy of the error of a whole batch for each of its keys, with that key."""
    return {key: copy_error(error).with_key(key) for key in keys}
