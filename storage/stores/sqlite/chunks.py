"""The chunks of large objects and their versions: SQL statements to be run on the connection's thread."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence

from storage.errors import StoreUnavailableError
from storage.stores.sqlite.schema import CHUNK, LEASE

__all__ = [
    "MAX_FREED_BYTES",
    "MOST_LEASES",
    "claim_expired",
    "delete_chunks",
    "extend_lease",
    "leases",
    "read_chunk",
    "store_chunks",
]

#: Versions that one check of the leases looks at: there are few, unless somebody else wrote them.
MOST_LEASES = 1000

#: Bytes that one transaction of `clear` or `delete_chunks` frees: it blocks other writers for so long (about 20 ms).
MAX_FREED_BYTES = 8 << 20


def store_chunks(db: sqlite3.Connection, store: str, version: int, first: int, pieces: Sequence[bytes]) -> None:
    """
    Write chunks of a version, the first with number *first*; the version is created with its chunk 0.

    Raises:
        StoreUnavailableError: the lease of the version has expired, as if its process had been killed.
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


def read_chunk(db: sqlite3.Connection, version: int, number: int, last: bool) -> tuple[object, bool]:
    """
    Return a chunk, and whether an object still refers to its version.

    The chunk is None if there is none, or if it should be the *last* one of the version and is not.
    """
    row = db.execute("SELECT data FROM chunks WHERE version = ? AND number = ?", (version, number)).fetchone()
    current = db.execute("SELECT 1 FROM versions WHERE id = ? AND expires IS NULL", (version,)).fetchone()
    if row and last and db.execute(_BEYOND, (version, number)).fetchone():
        row = None
    return row and row[0], current is not None


_BEYOND = "SELECT 1 FROM chunks WHERE version = ? AND number > ? LIMIT 1"


def leases(db: sqlite3.Connection) -> list[tuple[int, int]]:
    """Return (version, time of expiry) of versions that no object refers to: of the `MOST_LEASES` that expire first."""
    return db.execute(
        "SELECT id, expires FROM versions WHERE expires IS NOT NULL AND typeof(expires) = 'integer' "
        "ORDER BY expires LIMIT ?",
        (MOST_LEASES,),
    ).fetchall()


def extend_lease(db: sqlite3.Connection, version: int) -> bool:
    """Renew the lease of a version for `LEASE` seconds; return whether the version still exists."""
    expires = int(time.time()) + LEASE
    return db.execute("UPDATE versions SET expires = ? WHERE id = ? AND expires > 0", (expires, version)).rowcount == 1


def claim_expired(db: sqlite3.Connection, version: int, until: float) -> bool:
    """
    Claim a version for deletion, if its lease expires no later than *until*; return whether it did.

    Its expiry becomes 0; such a version is neither renewed nor published. So its chunks can be deleted over several
    transactions.
    """
    return db.execute("UPDATE versions SET expires = 0 WHERE id = ? AND expires <= ?", (version, until)).rowcount == 1


def delete_chunks(db: sqlite3.Connection, version: int) -> bool:
    """Delete some chunks of a version, and after the last of them the version; return whether there are more."""
    some = "SELECT number FROM chunks WHERE version = :version LIMIT :limit"
    limit = MAX_FREED_BYTES // CHUNK
    query = f"DELETE FROM chunks WHERE version = :version AND number IN ({some})"
    if db.execute(query, {"version": version, "limit": limit}).rowcount == limit:
        return True
    db.execute("DELETE FROM versions WHERE id = ?", (version,))
    return False
