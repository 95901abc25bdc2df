"""
The SQL statements of a `SqliteStore`: plain functions of a connection, to be run on its thread.

Functions that write run inside a transaction (`group_commit.commit`), and raise before they have written anything.
"""

from __future__ import annotations

import functools
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from storage._core.conditions import Target
from storage._core.data import SMALL
from storage._core.stored_attributes import decode_attributes, encode_attributes
from storage._core.stored_descriptions import stored_etag
from storage.errors import CorruptObjectError, KeyNotFoundError
from storage.stores.sqlite.chunks import store_chunks
from storage.stores.sqlite.errors import is_of_row
from storage.stores.sqlite.schema import CHUNK, LONGEST_KEY
from storage.types import Attributes, ByteRange

__all__ = [
    "INFO_COLUMNS",
    "SINGLE_STATEMENTS",
    "copy",
    "delete",
    "delete_many",
    "find_by_key",
    "find_small",
    "key_bounds",
    "one_state",
    "put",
    "put_large",
    "put_many",
    "read_range",
    "read_row",
    "rename",
    "successor",
]

#: The columns of a description, but for the key.
INFO_COLUMNS = "etag, size, modified, attributes"

_INSERT = """
INSERT INTO objects (key, etag, size, modified, attributes, version, data) VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_COPY = """
INSERT INTO objects (key, etag, size, modified, attributes, version, data)
SELECT ?, ?, size, ?, attributes, version, data FROM objects WHERE key = ?
"""
_OR_REPLACE = """
ON CONFLICT (key) DO UPDATE SET etag = excluded.etag, size = excluded.size, modified = excluded.modified,
    attributes = excluded.attributes, version = excluded.version, data = excluded.data
"""

#: Attempts of a conditional write, whose object others may change in the microseconds between two statements. In a
#: damaged database they might never end.
_ATTEMPTS = 1000

# The texts of all statements are constants, so that each connection compiles them once.
_PUT = _INSERT + _OR_REPLACE
_CREATE = _INSERT + "ON CONFLICT (key) DO NOTHING"
_SWAP = """
UPDATE objects SET etag = ?, size = ?, modified = ?, attributes = ?, version = ?, data = ? WHERE key = ? AND etag = ?
"""
_COPY_OVER = _COPY + _OR_REPLACE


#: The bytes of an etag: Python's module raises an error without a key for a TEXT that is not UTF-8.
_ETAG = "SELECT CASE typeof(etag) WHEN 'text' THEN CAST(etag AS BLOB) END FROM objects WHERE key = ?"


@contextmanager
def one_state(db: sqlite3.Connection) -> Iterator[None]:
    """Let all reads in the block see one state of the database."""
    if db.in_transaction:
        yield
        return
    db.execute("BEGIN")
    try:
        yield
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


# -- one object ------------------------------------------------------------------------------------------------------


def put(db: sqlite3.Connection, target: Target, data: bytes) -> str:
    """Write an object that fits into a row and return its etag."""
    return _write(db, target, len(data), None, data)


def put_large(
    db: sqlite3.Connection, target: Target, version: int, first: int, last_pieces: Sequence[bytes], size: int
) -> str:
    """Write the last chunks of a version, publish it as the object and return its etag."""
    _enforce(db, target)
    store_chunks(db, target.store, version, first, last_pieces)
    db.execute("UPDATE versions SET expires = NULL WHERE id = ?", (version,))
    return _write(db, target, size, version, None)


def delete(db: sqlite3.Connection, target: Target) -> None:
    """Delete an object."""
    name, etag = target.key.encode(), target.conditions.if_match
    if etag is None:
        db.execute("DELETE FROM objects WHERE key = ?", (name,))
        return
    for _ in range(_ATTEMPTS):
        if db.execute("DELETE FROM objects WHERE key = ? AND etag = ?", (name, etag)).rowcount:
            return
        _enforce(db, target)  # raises, unless the object has just become that version again
    raise _contradiction(target)


def copy(db: sqlite3.Connection, source: str, target: Target) -> str:
    """Copy an object and return the etag of the copy; both share the chunks of a large object."""
    _etag_of(db, source, target.store)
    _enforce(db, target)
    etag = _new_etag()
    db.execute(_COPY_OVER, (target.key.encode(), etag, time.time_ns(), source.encode()))
    return etag


def rename(db: sqlite3.Connection, source: str, target: Target) -> str:
    """Rename an object and return its etag, which stays the same."""
    etag = _etag_of(db, source, target.store)
    _enforce(db, target)
    if source != target.key:
        db.execute("DELETE FROM objects WHERE key = ?", (target.key.encode(),))
        db.execute("UPDATE objects SET key = ? WHERE key = ?", (target.key.encode(), source.encode()))
    return etag


def read_range(db: sqlite3.Connection, name: bytes, byte_range: ByteRange) -> tuple[Any, ...] | None:
    """Return (version, size, bytes of the range) of an object, or None; the bytes are None when it has a version."""
    # The data in a row is no longer than a chunk, and substr() takes no numbers over 31 bits. max(x, NULL) is NULL.
    beyond = CHUNK + 1
    start = min(byte_range.start, beyond)
    if byte_range.last is None:
        last, length = None, (beyond if byte_range.stop is None else min(byte_range.stop, beyond) - start)
    else:
        last = length = min(byte_range.last, beyond)
    query = "SELECT version, size, substr(data, coalesce(max(size - ?, 0), ?) + 1, ?) FROM objects WHERE key = ?"
    row: tuple[Any, ...] | None = db.execute(query, (last, start, length, name)).fetchone()
    return row


def _enforce(db: sqlite3.Connection, target: Target) -> None:
    """Raise unless the conditions of a write hold for the current object."""
    if target.conditions:
        row = db.execute(_ETAG, (target.key.encode(),)).fetchone()
        etag = None if row is None else (row[0] or b"").decode(errors="replace")  # a damaged object exists, too
        target.conditions.enforce(target.key, etag, target.store)


def _etag_of(db: sqlite3.Connection, key: str, store: str) -> str:
    row = db.execute(_ETAG, (key.encode(),)).fetchone()
    if row is None:
        raise KeyNotFoundError(key, store=store)
    return stored_etag(row[0], key=key, store=store)


def _write(db: sqlite3.Connection, target: Target, size: int, version: int | None, data: bytes | None) -> str:
    """Write the row of an object in one statement, if the conditions hold, and return its etag."""
    key, attributes, (if_absent, if_match), store = target
    name, etag = key.encode(), _new_etag()
    row = (etag, size, time.time_ns(), _as_json(attributes, key, store), version, data)
    if if_match is None and not if_absent:
        db.execute(_PUT, (name, *row))
        return etag
    for _ in range(_ATTEMPTS):
        statement, values = (_CREATE, (name, *row)) if if_match is None else (_SWAP, (*row, name, if_match))
        if db.execute(statement, values).rowcount:
            return etag
        _enforce(db, target)  # raises, unless the object has just become that version again, or has been deleted
    raise _contradiction(target)


def _contradiction(target: Target) -> CorruptObjectError:
    return CorruptObjectError(
        "the condition holds, but not for the row of the object: the database is damaged. See check()",
        key=target.key,
        store=target.store,
    )


def _as_json(attributes: Attributes | None, key: str, store: object) -> str:
    """Return attributes as they are stored."""
    return encode_attributes(attributes, key=key, store=store) or "{}"


def _new_etag() -> str:
    """Return a new unique etag: 64 random bits, which need no counter in the database."""
    return secrets.token_hex(8)


#: Functions that run a single statement, which needs no transaction around it.
SINGLE_STATEMENTS = frozenset({put, delete})


# -- many objects ----------------------------------------------------------------------------------------------------


def put_many(db: sqlite3.Connection, items: Sequence[tuple[str, bytes, Attributes]], store: str) -> list[str]:
    """Write objects, given as (key, bytes, attributes), that fit into rows, and return their etags."""
    now = time.time_ns()
    etags = [_new_etag() for _ in items]
    db.executemany(
        _PUT,
        (
            (key.encode(), etag, len(data), now, _as_json(attributes, key, store), None, data)
            for etag, (key, data, attributes) in zip(etags, items, strict=True)
        ),
    )
    return etags


def delete_many(db: sqlite3.Connection, keys: Sequence[str]) -> None:
    """Delete objects."""
    db.executemany("DELETE FROM objects WHERE key = ?", [(key.encode(),) for key in keys])


def find_by_key(columns: str) -> Callable[[sqlite3.Connection, Sequence[bytes]], list[Any]]:
    """
    Return a function that looks up encoded keys in one query: for each, its row (key, *columns*) or None.

    If that fails because of one row, each key is looked up by itself, and that one has the error in place of its row.
    """

    def answer(db: sqlite3.Connection, names: Sequence[bytes]) -> list[Any]:
        try:
            found = _find_rows(db, columns, names)
        except sqlite3.Error as error:
            if not is_of_row(error):
                raise
            return [error] if len(names) == 1 else [each for name in names for each in answer(db, [name])]
        return [found.get(name) for name in names]

    return answer


def _find_rows(db: sqlite3.Connection, columns: str, names: Sequence[bytes]) -> dict[bytes, tuple[Any, ...]]:
    """Return the rows (key, *columns*) of the objects with these encoded keys, by key."""
    more = -len(names) % _KEY_COUNT_STEP if len(names) > _KEY_COUNT_STEP else 0
    found = db.execute(_select_by_keys(columns, len(names) + more), [*names, *(names[0] for _ in range(more))])
    return {row[0]: row for row in found}


def find_small(db: sqlite3.Connection, names: Sequence[bytes]) -> list[tuple[bytes, Attributes] | None]:
    """Return (bytes, attributes) for each of these encoded keys, and None where there is no small object, or damage."""
    found = _find_data_of_small(db, names)
    return [_small(*row[1:]) if isinstance(row, tuple) else None for row in found]


_find_data_of_small = find_by_key(f"CASE WHEN size <= {SMALL} THEN data END, size, attributes")


def _small(data: object, size: object, text: object) -> tuple[bytes, Attributes] | None:
    if not isinstance(data, bytes) or len(data) != size:
        return None
    try:
        return data, decode_attributes(text)
    except CorruptObjectError:
        return None  # the read of the single object says what is wrong


#: The number of keys in a query is rounded up to a multiple of this, by repeating a key, so that there are few queries.
_KEY_COUNT_STEP = 8


@functools.cache
def _select_by_keys(columns: str, count: int) -> str:
    """Return the query for *count* keys."""
    return f"SELECT key, {columns} FROM objects WHERE key IN ({','.join('?' * count)})"


def key_bounds(prefix: str, start_after: str = "") -> tuple[bytes, bytes]:
    """Return the half-open range of the encoded keys that start with *prefix* and sort after *start_after*."""
    # Text that UTF-8 cannot encode is in no key, but has its place in their order.
    # What is longer than any key is cut, so that SQLite takes it: no key lies between.
    first = prefix.encode("utf-8", "surrogatepass")[: LONGEST_KEY + 1]
    after = start_after.encode("utf-8", "surrogatepass")[: LONGEST_KEY + 1]
    return max(first, after + b"\0" if after else b""), successor(first)


def successor(prefix: bytes) -> bytes:
    """Return the first bytes after all UTF-8 that starts with *prefix*; the last byte of UTF-8 can be increased."""
    return prefix[:-1] + bytes([prefix[-1] + 1]) if prefix else b"\xff"


def read_row(db: sqlite3.Connection, columns: str, name: bytes) -> tuple[Any, ...] | None:
    """Return these columns of the object with an encoded key, or None."""
    row: tuple[Any, ...] | None = db.execute(f"SELECT {columns} FROM objects WHERE key = ?", (name,)).fetchone()
    return row
