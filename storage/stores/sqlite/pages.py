"""`read_page`: the rows of a part of a listing, in bounded memory, whatever is in them."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

from storage.errors import CorruptObjectError
from storage.stores.sqlite.chunks import MAX_FREED_BYTES
from storage.stores.sqlite.schema import LONGEST_KEY
from storage.stores.sqlite.statements import one_state

__all__ = ["SHORT", "clear_page", "read_page", "values_up_to"]

#: Bytes of the longest value in a row of a page that is read at once: so 1,000 rows have 40 MB at most. What stores
#: write is hardly ever longer; a page with a longer value is read row by row.
SHORT = 4096

#: Bytes of the longest key and attributes in a listing, and a little more, for the bounds of a page.
LONGEST_LISTED = LONGEST_KEY + 1024

#: Bytes after which a page that is read row by row ends.
PAGE_BYTES = 4 << 20

#: Bytes of the longest value of SQLite, unless it was compiled in another way; to delete a key, it reads it.
_LONGEST_VALUE = 1_000_000_000

_RANGE = "FROM objects WHERE key >= ? AND key < ? ORDER BY key LIMIT ?"


def read_page(db: sqlite3.Connection, columns: str, lower: bytes, upper: bytes, limit: int) -> list[tuple[Any, ...]]:
    """
    Return the first rows of a range of keys; the first of the *columns* is the key, as the index of keys has it.

    They are no more than *limit*, and fewer where these have more than `PAGE_BYTES`, but at least one if there is one.

    A row with a value over `LONGEST_LISTED` has None in place of all values but the key; so have, in the same page, one
    that is missing or has another key. A key over that is cut, so that it is no UTF-8 any more; no key of an object
    lies between it and the whole one.

    Raises:
        CorruptObjectError: a key that is too long is not where the index has it.
    """
    with values_up_to(db, SHORT), suppress(sqlite3.DataError):
        return db.execute(f"SELECT {columns} {_RANGE}", (lower, upper, limit)).fetchall()
    rows: list[tuple[Any, ...]] = []
    size = 0
    nothing = (None,) * (len(db.execute(f"SELECT {columns} FROM objects LIMIT 0").description) - 1)
    with values_up_to(db, LONGEST_LISTED), one_state(db), closing(_keys(db, lower, upper, limit)) as keys:
        for number, key in keys:
            rows.append((_row_of(db, columns, number, key) if nothing else None) or (key, *nothing))
            size += sum(len(value) for value in rows[-1] if isinstance(value, bytes | str))
            if size > PAGE_BYTES:
                break
    return rows


def _keys(db: sqlite3.Connection, lower: bytes, upper: bytes, limit: int) -> Generator[tuple[int, bytes], None, None]:
    """
    Yield the ids and keys of a range, up to one that is too long, which is cut.

    They are those of the index, because only it says which key comes next: that in a damaged row may be any other.
    """
    with suppress(sqlite3.DataError), closing(db.cursor()) as cursor:
        for number, key in cursor.execute(f"SELECT id, key {_RANGE}", (lower, upper, limit)):
            yield number, key
            lower = _after(key)
        return
    with suppress(sqlite3.DataError):  # the module `sqlite3` reads ahead, and has lost the row before the long key
        while found := db.execute(f"SELECT id, key {_RANGE}", (lower, upper, 1)).fetchone():
            yield found
            lower = _after(found[1])
        return
    yield _with_cut_key(db, lower, upper)


def _after(key: object) -> bytes:
    if isinstance(key, bytes):
        return key + b"\0"
    raise CorruptObjectError("the index of keys is damaged: it has a key that is no BLOB. Restore a backup")


def _row_of(db: sqlite3.Connection, columns: str, number: int, key: object) -> tuple[Any, ...] | None:
    """Return the row with an id, or None if it has not this key, or a value that is too long, or is not there."""
    with suppress(sqlite3.DataError):
        row: tuple[Any, ...] | None = db.execute(f"SELECT {columns} FROM objects WHERE id = ?", (number,)).fetchone()
        return row if row is not None and row[0] == key else None
    return None


def _with_cut_key(db: sqlite3.Connection, lower: bytes, upper: bytes) -> tuple[int, bytes]:
    """Return the id and the beginning of the first key of a range, which is too long, and a byte that is in no key."""
    with suppress(sqlite3.OperationalError):  # of a row that is not there, or whose key is a number
        for (number,) in db.execute(f"SELECT id {_RANGE}", (lower, upper, 1)):
            with db.blobopen("objects", "key", number, readonly=True) as blob:
                begin = blob.read(LONGEST_KEY)
            # The blob is that of the row. If the index has another key, the listing would go on at a wrong place.
            around = max(lower, begin), begin + b"\xff", 1
            if (number,) == db.execute(f"SELECT id {_RANGE}", around).fetchone():
                return number, begin + b"\xff"
    raise CorruptObjectError("the index of keys is damaged: a long key is not that of its row. Restore a backup")


def clear_page(db: sqlite3.Connection, lower: bytes, upper: bytes, limit: int) -> bytes | None:
    """Delete the first objects of a range of keys and return where the rest begins, or None if none is left."""
    freed, last = 0, None
    for key, size in read_page(db, "key, coalesce(length(data), 0)", lower, upper, limit):
        freed += size or 0
        last = _after(key)
        if freed >= MAX_FREED_BYTES:
            break
    if last is not None:
        with values_up_to(db, _LONGEST_VALUE):
            db.execute("DELETE FROM objects WHERE key >= ? AND key < ?", (lower, last))
    return last


@contextmanager
def values_up_to(db: sqlite3.Connection, length: int) -> Iterator[None]:
    """Let SQLite raise `sqlite3.DataError` for a value of more bytes than *length*, before it reads that."""
    before = db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, length)
    try:
        yield
    finally:
        db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, before)
