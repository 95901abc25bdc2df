"""The chunks of large objects and the versions they belong to: statements to be run on the connection's thread."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence

from storage.errors import StoreUnavailableError
from storage.stores.sqlite.schema import CHUNK, LEASE

__all__ = ["MAX_FREED_BYTES", "claim_expired", "delete_chunks", "extend_lease", "leases", "read_chunk", "store_chunks"]

#: Bytes that one transaction of `clear` or `delete_chunks` frees: how long it keeps other writers out (some 20 ms).
MAX_FREED_BYTES = 8 << 20


def store_chunks(db: sqlite3.Connection, store: str, version: int, first: int, pieces: Sequence[bytes]) -> None:
    """
    Write chunks of a version from number *first* on, and make the version with its chunk 0.

    Raises:
        StoreUnavailableError: the version was taken for that of a killed process.
    """
    expires = int(time.time()) + LEASE
    if first == 0:
        db.execute("INSERT INTO versions (id, expires) VALUES (?, ?)", (version, expires))
    elif not extend_lease(db, version):
        raise StoreUnavailableError(
            f"the upload made no progress for over {LEASE} s, so its data was deleted: put it again",
            store=store,
        )
    rows = ((version, number, piece) for number, piece in enumerate(pieces, first))
    db.executemany("INSERT INTO chunks (version, number, data) VALUES (?, ?, ?)", rows)


def read_chunk(db: sqlite3.Connection, version: int, number: int) -> tuple[bytes | None, bool]:
    """Return a chunk, or None, and whether its version is still that of an object."""
    row = db.execute("SELECT data FROM chunks WHERE version = ? AND number = ?", (version, number)).fetchone()
    current = db.execute("SELECT 1 FROM versions WHERE id = ? AND expires IS NULL", (version,)).fetchone()
    return row and row[0], current is not None


def leases(db: sqlite3.Connection) -> list[tuple[int, int]]:
    """Return (version, second in which it expires) of every version that no object has."""
    return db.execute("SELECT id, expires FROM versions WHERE expires IS NOT NULL").fetchall()


def extend_lease(db: sqlite3.Connection, version: int) -> bool:
    """Keep a version that no object has for another `LEASE`; say whether it was still there to keep."""
    expires = int(time.time()) + LEASE
    return db.execute("UPDATE versions SET expires = ? WHERE id = ? AND expires > 0", (expires, version)).rowcount == 1


def claim_expired(db: sqlite3.Connection, version: int, until: float) -> bool:
    """
    Take a version away from whoever had it, if it expires no later than *until*; say whether it does.

    It is marked by a 0, which nobody extends or publishes: only then may its chunks go, over several transactions.
    """
    return db.execute("UPDATE versions SET expires = 0 WHERE id = ? AND expires <= ?", (version, until)).rowcount == 1


def delete_chunks(db: sqlite3.Connection, version: int) -> bool:
    """Delete some chunks of a version, with the last of them the version; say whether there are more."""
    some = "SELECT number FROM chunks WHERE version = :version LIMIT :limit"
    limit = MAX_FREED_BYTES // CHUNK
    query = f"DELETE FROM chunks WHERE version = :version AND number IN ({some})"
    if db.execute(query, {"version": version, "limit": limit}).rowcount == limit:
        return True
    db.execute("DELETE FROM versions WHERE id = ?", (version,))
    return False
