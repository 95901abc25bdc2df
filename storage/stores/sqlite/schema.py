"""The database of a `SqliteStore`: its tables, which docs/sqlite.md explains, and how a connection is made ready."""

from __future__ import annotations

import sqlite3
import time

from storage.errors import CorruptObjectError, StorageError

__all__ = ["CHUNK", "GRACE", "LEASE", "prepare", "prepare_reader"]

#: Bytes in a row of `chunks`, the last row of a version excepted, and the most that `objects` holds itself. It is part
#: of the file's format: offsets are computed with it. So large that a row costs little beside its bytes, and so small
#: that a range and a step of a stream read little that nobody asked for.
CHUNK = 1 << 20

#: Seconds that unpublished chunks are kept after their writer was last heard of. It renews at half time, so an event
#: loop may stall for half of this before its upload is taken for that of a killed process.
LEASE = 30

#: Seconds that the chunks of a replaced or deleted object stay, so that whoever reads them, in any process, can say so.
#: Short, because nobody else has the space meanwhile; long beside the second after which readers renew
#: (`CHECK_INTERVAL`).
GRACE = 5

#: "STOR" in the header of the file: this database is a SqliteStore's and nobody else's.
_APPLICATION = 0x53544F52

#: Counts up when the tables change.
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

PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_VERSION};
"""

#: Bytes in a page of a new database. Measured against SQLite's 4 KiB: chunks go in and are freed twice as fast, small
#: objects no slower.
_PAGE = 16384

# FULL: a commit is on the disk, not only in the system's cache, when it returns; macOS needs fullfsync for that too.
# The size limit gives the disk back what one large write made of the write-ahead log.
_PRAGMAS = """
PRAGMA synchronous = FULL;
PRAGMA fullfsync = ON;
PRAGMA journal_size_limit = 67108864;
"""


def prepare(db: sqlite3.Connection, path: str, busy_timeout: float) -> None:
    """
    Make a new writing connection ready: write-ahead log, durable commits, the tables.

    Raises:
        CorruptObjectError: the file is a database, but not a store's.
        StorageError: it is of a later release, or its file system has no shared memory.
        sqlite3.Error: likewise everything else.
    """
    ready = _is_ours(db, path)
    if not ready:
        db.execute(f"PRAGMA page_size = {_PAGE}")
    _retry_while_busy(db, "PRAGMA journal_mode = WAL", busy_timeout)
    mode = db.execute("PRAGMA journal_mode").fetchone()[0]
    if mode not in ("wal", "memory"):
        raise StorageError(
            f"{path} is on a file system without support for a write-ahead log ({mode}): use a local disk"
        )
    db.executescript(_PRAGMAS)
    if ready:
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        if not _is_ours(db, path):
            for statement in _statements(_TABLES):
                db.execute(statement)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def prepare_reader(db: sqlite3.Connection) -> None:
    """Make a new connection ready that only reads; the file has been prepared."""
    db.execute("PRAGMA query_only = ON")


def _is_ours(db: sqlite3.Connection, path: str) -> bool:
    """Return whether the tables are there; False for a database without any."""
    # The tables first: if another process makes them just now, it has signed them by the time that we look for that.
    tables = db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    application = db.execute("PRAGMA application_id").fetchone()[0]
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if application == _APPLICATION:
        if version != _VERSION:
            raise StorageError(
                f"{path} has tables of version {version}, this release supports version {_VERSION}: upgrade stackstore"
            )
        return True
    if application or tables:
        raise CorruptObjectError(f"{path} is a database of another program: use another file for the store")
    return False


def _retry_while_busy(db: sqlite3.Connection, statement: str, busy_timeout: float) -> None:
    """Run a statement again while the database is locked: SQLite itself does not wait when two switch to the log."""
    deadline = time.monotonic() + busy_timeout
    while True:
        try:
            db.execute(statement)
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
            time.sleep(0.01)


def _statements(script: str) -> list[str]:
    """Cut a script into statements; `executescript` would commit the transaction it is to be part of."""
    statements, begun = [], ""
    for line in script.splitlines(keepends=True):
        begun += line
        if sqlite3.complete_statement(begun):
            statements.append(begun)
            begun = ""
    return statements
