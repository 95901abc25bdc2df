"""The tables of a `SqliteStore`, which docs/stores/sqlite.md explains, and how a connection is prepared."""

from __future__ import annotations

import functools
import sqlite3
import sys
from contextlib import closing
from typing import Any

from storage.errors import CorruptObjectError, StorageError

__all__ = [
    "APPLICATION",
    "CHUNK",
    "GRACE",
    "LEASE",
    "LONGEST_KEY",
    "LONGEST_ROW",
    "foreign_objects",
    "prepare",
    "prepare_reader",
]

#: Bytes in a row of `chunks`, except the last row of a version, and the largest object in a row of `objects`. It is
#: part of the file's format: offsets are computed with it. It is large enough to make the overhead of a row small, and
#: small enough for a range or a step of a stream to read few bytes in vain.
CHUNK = 1 << 20

#: Seconds that unpublished chunks are kept after the last renewal by their writer, which renews after half of this
#: time. So an event loop may stall for half of it before its upload counts as that of a killed process.
LEASE = 30

#: Seconds that the chunks of a replaced or deleted object are kept, so that its readers, in any process, can renew
#: them. It is short, because the space stays occupied, but long compared with the second after which readers renew
#: (`CHECK_INTERVAL`).
GRACE = 5

#: "STOR" in the header of the file: the database belongs to a SqliteStore.
APPLICATION = 0x53544F52

#: Bytes of the longest key.
LONGEST_KEY = 1 << 20

#: Bytes of the longest row, for SQLite to refuse longer ones: a key, as many bytes of attributes, a chunk, and little
#: else. A row that somebody else made may have 1 GB, and be read by a single get.
LONGEST_ROW = 4 << 20

#: Increased when the tables change.
_VERSION = 1

_TABLES = f"""
CREATE TABLE objects (
    id         INTEGER PRIMARY KEY,
    key        BLOB NOT NULL UNIQUE CHECK (typeof(key) = 'blob'),
    etag       TEXT NOT NULL,
    size       INTEGER NOT NULL,
    modified   INTEGER NOT NULL,
    attributes TEXT NOT NULL,
    version    INTEGER REFERENCES versions (id),
    data       BLOB CHECK (typeof(data) IN ('blob', 'null')),
    CHECK ((version IS NULL) <> (data IS NULL))
);
CREATE INDEX objects_by_version ON objects (version) WHERE version IS NOT NULL;

CREATE TABLE versions (
    id      INTEGER PRIMARY KEY,
    expires INTEGER
);
CREATE INDEX versions_by_expiry ON versions (expires) WHERE expires IS NOT NULL;

CREATE TABLE chunks (
    version INTEGER NOT NULL REFERENCES versions (id),
    number  INTEGER NOT NULL,
    data    BLOB NOT NULL CHECK (typeof(data) = 'blob'),
    PRIMARY KEY (version, number)
);

CREATE TRIGGER objects_replaced AFTER UPDATE OF version ON objects
WHEN old.version IS NOT NULL AND old.version IS NOT new.version
BEGIN
    UPDATE versions SET expires = strftime('%s', 'now') + {GRACE}
    WHERE id = old.version AND NOT EXISTS (SELECT 1 FROM objects WHERE version = old.version);
END;
CREATE TRIGGER objects_deleted AFTER DELETE ON objects
WHEN old.version IS NOT NULL
BEGIN
    UPDATE versions SET expires = strftime('%s', 'now') + {GRACE}
    WHERE id = old.version AND NOT EXISTS (SELECT 1 FROM objects WHERE version = old.version);
END;

PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {_VERSION};
"""

#: Bytes in a page of a new database. Measured against SQLite's default of 4 KiB: chunks are written and freed twice as
#: fast, small objects no slower.
_PAGE = 16384

# FULL: a commit is on the disk, not only in the system's cache, when it returns; on macOS this needs fullfsync, too.
# The size limit truncates the write-ahead log after a large write has made it grow.
_PRAGMAS = """
PRAGMA synchronous = FULL;
PRAGMA fullfsync = ON;
PRAGMA journal_size_limit = 67108864;
"""


#: What SQLite itself refuses. No statement of ours has more.
_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: LONGEST_ROW,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 100,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 10,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 1000,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 10,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
}


def prepare(db: sqlite3.Connection, path: str, store: str) -> None:
    """
    Prepare a new connection for writing: the write-ahead log, durable commits, the tables.

    Raises:
        CorruptObjectError: the file is a database of another program, or its tables are not those of a store.
        StorageError: it was made by a later release, or its file system has no shared memory.
        sqlite3.Error: any other failure.
    """
    _restrict(db)
    ready = _is_ours(db, path, store)
    if not ready:
        db.execute(f"PRAGMA page_size = {_PAGE}")
    db.execute("PRAGMA journal_mode = WAL")
    mode = db.execute("PRAGMA journal_mode").fetchone()[0]
    if mode not in ("wal", "memory"):
        raise StorageError(
            f"{path} is on a file system without support for a write-ahead log ({mode}): use a local disk",
            store=store,
        )
    db.executescript(_PRAGMAS)
    if ready:
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        if not _is_ours(db, path, store):
            for statement in _statements(_TABLES):
                db.execute(statement)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def prepare_reader(db: sqlite3.Connection) -> None:
    """Prepare a new connection that only reads; `prepare` must have been run on the file."""
    _restrict(db)
    db.execute("PRAGMA query_only = ON")


def _restrict(db: sqlite3.Connection) -> None:
    """Let SQLite trust nothing in the file, which may come from somebody hostile."""
    for limit, value in _LIMITS.items():
        db.setlimit(limit, value)
    if sys.version_info >= (3, 12):
        db.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)
        db.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_VIEW, False)
    db.execute("PRAGMA trusted_schema = OFF")  # no functions with side effects in expressions of the schema
    db.execute("PRAGMA cell_size_check = ON")  # finds damaged pages sooner
    db.execute("PRAGMA mmap_size = 0")  # a file that is cut short is an error, not a signal


def foreign_objects(db: sqlite3.Connection, store: str) -> list[tuple[str, str]]:
    """
    Return (type, name) of what is in the schema, and is not of a store: tables, views and what belongs to them.

    They are let be: nothing of a store uses them.

    Raises:
        CorruptObjectError: one of our names is something else, is missing, or has an index or a trigger too many.
    """
    found = db.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
    ours = _our_schema()
    tables = {table for _, _, table, _ in ours}
    named = [row for row in found if _is_name_of(row, tables)]
    if set(named) != ours or len(named) != len(ours):
        missing = sorted(row[1] for row in ours - set(named))
        wrong = sorted(str(row[1])[:100] for row in set(named) - ours)
        raise CorruptObjectError(
            "the tables of the database are not those of a store: "
            + "; ".join(
                [f"{', '.join(wrong)} should not be there, or not so"] * bool(wrong)
                + [f"{', '.join(missing)} should be there"] * bool(missing)
            )
            + ". Drop what was added, or restore a backup",
            store=store,
        )
    return [(str(kind), str(name)) for kind, name, *_ in found if (kind, name) not in {row[:2] for row in named}]


def _is_name_of(row: tuple[Any, ...], tables: set[str]) -> bool:
    """Return whether a row of the schema is one of our tables, or belongs to one; names ignore the case of ASCII."""
    return any(isinstance(name, str) and name.lower() in tables for name in row[1:3]) or row[1] in {
        name for _, name, _, _ in _our_schema()
    }


@functools.cache
def _our_schema() -> frozenset[tuple[str, str, str, str | None]]:
    """Return (type, name, table, text) of all that `_TABLES` makes, as SQLite keeps it."""
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(_TABLES)
        return frozenset(db.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"))


def _is_ours(db: sqlite3.Connection, path: str, store: str) -> bool:
    """Return whether the database has our tables; False if it has no tables at all."""
    # Read the tables first: if another process is creating them, it has set the application id before we read that.
    tables = db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    application = db.execute("PRAGMA application_id").fetchone()[0]
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if application == APPLICATION:
        if version != _VERSION:
            advice = "upgrade stackstore" if version > _VERSION else "open it with the release that made it"
            raise StorageError(
                f"{path} has tables of version {version}, this release supports version {_VERSION}: {advice}",
                store=store,
            )
        foreign_objects(db, store)
        return True
    if application or tables:
        raise CorruptObjectError(
            f"{path} is a database of another program: use another file for the store", store=store
        )
    return False


def _statements(script: str) -> list[str]:
    """Split a script into statements; `executescript` would commit the transaction that they belong to."""
    statements, begun = [], ""
    for line in script.splitlines(keepends=True):
        begun += line
        if sqlite3.complete_statement(begun):
            statements.append(begun)
            begun = ""
    return statements
