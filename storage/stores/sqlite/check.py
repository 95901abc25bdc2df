"""What the check of a database finds: damage, rows that no store writes, chunks without an object, and the like."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any, TypeAlias

from storage._core.stored_attributes import decode_attributes
from storage._core.stored_descriptions import stored_info, stored_key
from storage.errors import CorruptObjectError, StorageError, StoreClosedError, StoreUnavailableError
from storage.stores.sqlite.connection import Connection
from storage.stores.sqlite.index_check import compare_index
from storage.stores.sqlite.pages import SHORT, values_up_to
from storage.stores.sqlite.rows import TOO_LONG
from storage.stores.sqlite.schema import CHUNK, LEASE, LONGEST_KEY, foreign_objects
from storage.stores.sqlite.statements import one_state
from storage.types import Finding

__all__ = ["findings"]

#: Rows that one step looks at: some milliseconds, after which other work of the connection goes on.
ROWS = 500

#: Findings of SQLite's own check of one table, at most.
MOST_DAMAGES = 100

#: A step looks at some rows after a place; it returns what it finds, and the place of the next step or None.
_Step: TypeAlias = Callable[[sqlite3.Connection, Any], tuple[list[Finding], Any]]


async def findings(connection: Connection, store: str) -> AsyncIterator[Finding]:
    """
    Yield what is wrong with a database, in bounded memory.

    Args:
        connection: one of its own. Each step reads one state of the database, and others write between two steps.
        store: the name of the store in errors.
    """
    damage: list[_Step] = [partial(_damage, table=table) for table in ("objects", "versions", "chunks")]
    steps: list[_Step] = [
        partial(_schema, store=store),
        *damage,
        partial(_index, store=store),
        partial(_objects, store=store),
    ]
    for step in [*steps, _versions, _chunks]:
        place: Any = None
        while True:
            try:
                found, place = await connection.run(_in_one_state, step, place)
            except (StoreClosedError, StoreUnavailableError):
                raise
            except StorageError as error:
                found, place = [Finding(error.message, error.key)], None
            for each in found:
                yield each
            if place is None:
                break


def _in_one_state(db: sqlite3.Connection, step: _Step, place: Any) -> tuple[list[Finding], Any]:
    """Run a step in a transaction, so that all its statements see the same rows."""
    with one_state(db):
        return step(db, place)


def _schema(db: sqlite3.Connection, place: None, store: str) -> tuple[list[Finding], None]:
    others = foreign_objects(db, store)
    return [
        Finding(f"the {kind} {name!r} does not belong to a store", severity="info")
        for kind, name in others
        if not name.startswith("sqlite_")
    ], None


def _damage(db: sqlite3.Connection, place: None, table: str) -> tuple[list[Finding], None]:
    rows = db.execute(f"PRAGMA integrity_check({table})").fetchmany(MOST_DAMAGES)
    return [Finding(f"the table {table} is damaged: {row[0]}") for row in rows if row[0] != "ok"], None


def _index(db: sqlite3.Connection, place: None, store: str) -> tuple[list[Finding], None]:
    compare_index(db, store)
    return [], None


def _objects(db: sqlite3.Connection, place: int | None, store: str) -> tuple[list[Finding], int | None]:
    """Look at objects in the order of the table, which needs no index."""
    columns = "id, key, etag, size, modified, attributes, version, typeof(data), length(data)"
    start = -(1 << 63) if place is None else place
    rest = "FROM objects NOT INDEXED WHERE id > ? ORDER BY id LIMIT ?"
    try:
        with values_up_to(db, SHORT):
            rows = db.execute(f"SELECT {columns} {rest}", (start, ROWS)).fetchall()
    except sqlite3.DataError:
        ids = db.execute(f"SELECT id {rest}", (start, ROWS)).fetchall()
        damaged = [finding for (number,) in ids for finding in _of_one(db, columns, number, store)]
        return damaged, ids[-1][0]
    found = [finding for row in rows for finding in _of_object(db, row, store)]
    return found, rows[-1][0] if rows else None


def _of_one(db: sqlite3.Connection, columns: str, number: int, store: str) -> Iterator[Finding]:
    """Look at one object of a page in which one cannot be read."""
    try:
        row = db.execute(f"SELECT {columns} FROM objects WHERE id = ?", (number,)).fetchone()
    except sqlite3.DataError:
        with db.blobopen("objects", "key", number, readonly=True) as blob:
            name = blob.read(LONGEST_KEY + 1)
        key = name.decode(errors="backslashreplace")
        yield Finding(TOO_LONG, key if len(name) <= LONGEST_KEY else key[:100])
    else:
        yield from _of_object(db, row, store)


def _of_object(db: sqlite3.Connection, row: tuple[Any, ...], store: str) -> Iterator[Finding]:
    _, name, etag, size, modified, attributes, version, kind, length = row
    shown = name if isinstance(name, bytes) else None
    try:
        if shown is None:
            raise CorruptObjectError(f"the key in the row is no BLOB: {name!r:.100}", key=str(name)[:100])
        key = stored_key(shown, store)
        if modified is None:
            raise CorruptObjectError("the stored time is missing", key=key)
        stored_info(key, size, etag, modified, attributes, store)
        decode_attributes(attributes, key=key, store=store)
    except CorruptObjectError as error:
        yield Finding(error.message, error.key)
        return
    if version is None:
        if kind != "blob" or length != size or length > CHUNK:
            yield Finding(f"the row has {length or 0:,} bytes ({kind}), its size says {size:,}", key)
        return
    if not isinstance(version, int) or kind != "null":
        yield Finding("the row has data and a version, or a version that is no number", key)
        return
    state = db.execute("SELECT expires FROM versions WHERE id = ?", (version,)).fetchone()
    if state is None or state[0] is not None:
        yield Finding("the version of the object is missing, or will be deleted", key)
    count, first, last, total, longest = db.execute(
        "SELECT count(*), min(number), max(number), sum(length(data)), max(length(data)) FROM chunks WHERE version = ?",
        (version,),
    ).fetchone()
    expected = -(-size // CHUNK)
    if (count, first, last, total) != (expected, 0, expected - 1, size) or longest > CHUNK:
        what = f"there are {count:,} chunks of {total or 0:,} bytes, and should be {expected:,} of {size:,}"
        yield Finding(what, key)


def _versions(db: sqlite3.Connection, place: int | None) -> tuple[list[Finding], int | None]:
    rows = db.execute(
        "SELECT id, expires, EXISTS (SELECT 1 FROM objects WHERE version = versions.id) FROM versions "
        "WHERE id > ? ORDER BY id LIMIT ?",
        (-(1 << 63) if place is None else place, ROWS),
    ).fetchall()
    found = []
    overdue = time.time() - 2 * LEASE
    for version, expires, used in rows:
        if used:
            continue  # the objects were looked at
        if expires is None:
            found.append(Finding(f"no object has the chunks of version {version}", severity="warning", mendable=True))
        elif not isinstance(expires, int):
            found.append(
                Finding(f"version {version} never expires: {expires!r:.40}", severity="warning", mendable=True)
            )
        elif expires < overdue:
            what = f"version {version} is left over from a write, and not deleted yet"
            found.append(Finding(what, severity="warning", mendable=True))
    return found, rows[-1][0] if rows else None


def _chunks(db: sqlite3.Connection, place: Any) -> tuple[list[Finding], Any]:
    """Look at the versions that chunks name; each is found by one search in the index."""
    found = []
    for _ in range(ROWS):
        after, values = ("", ()) if place is None else ("WHERE version > ?", (place,))
        place = db.execute(f"SELECT min(version) FROM chunks {after}", values).fetchone()[0]
        if place is None:
            break
        if db.execute("SELECT 1 FROM versions WHERE id = ?", (place,)).fetchone() is None:
            what = f"there are chunks of a version that is not there: {place!r:.50}"
            found.append(Finding(what, severity="warning", mendable=True))
    return found, place
