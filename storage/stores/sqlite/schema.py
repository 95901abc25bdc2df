"""The tables of a `SqliteStore`, which docs/stores/sqlite.md explains, and how a connection is prepared."""

from __future__ import annotations

import sqlite3
import time

from storage.errors import CorruptObjectError, StorageError

__all__ = ["CHUNK", "GRACE", "LEASE", "prepare", "prepare_reader"]

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
_APPLICATION = 0x53544F52

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

PRAGMA application_id = {_APPLICATION};
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


def prepare(db: sqlite3.Connection, path: str, busy_timeout: float) -> None:
    """
    Prepare a new connection for writing: the write-ahead log, durable commits, the tables.

    Raises:
        CorruptObjectError: the file is a database of another program.
        StorageError: it was made by a later release, or its file system has no shared memory.
        sqlite3.Error: any other failure.
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
    """Prepare a new connection that only reads; `prepare` must have been run on the file."""
    db.execute("PRAGMA query_only = ON")


def _is_ours(db: sqlite3.Connection, path: str) -> bool:
    """Return whether the database has our tables; False if it has no tables at all."""
    # Read the tables first: if another process is creating them, it has set the application id before we read that.
    tables = db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    application = db.execute("PRAGMA application_id").fetchone()[0]
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if application == _APPLICATION:
        if version != _VERSION:
            advice = "upgrade stackstore" if version > _VERSION else "open it with the release that made it"
            raise StorageError(
                f"{path} has tables of version {version}, this release supports version {_VERSION}: {advice}"
            )
        return True
    if application or tables:
        raise CorruptObjectError(f"{path} is a database of another program: use another file for the store")
    return False


def _retry_while_busy(db: sqlite3.Connection, statement: str, busy_timeout: float) -> None:
    """Retry a statement while the database is locked: SQLite does not wait when two connections switch to the log."""
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
    """Split a script into statements; `executescript` would commit the transaction that they belong to."""
    statements, begun = [], ""
    for line in script.splitlines(keepends=True):
        begun += line
        if sqlite3.complete_statement(begun):
            statements.append(begun)
            begun = ""
    return statements
