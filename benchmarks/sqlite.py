"""Objects in a SQLite database: on the disk before a put returns (``synchronous=FULL``, write-ahead log)."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing

import aiosqlite

import storage.sync
from benchmarks.call_styles import awaited_store, sync_store
from benchmarks.contenders import Calls, Place, contender
from storage import SqliteStore

__all__ = ["PUT", "SETTINGS", "TABLE"]

SETTINGS = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
TABLE = "CREATE TABLE objects (key TEXT PRIMARY KEY, data BLOB) WITHOUT ROWID;"
GET = "SELECT data FROM objects WHERE key = ?"
HEAD = "SELECT length(data) FROM objects WHERE key = ?"
PUT = "INSERT OR REPLACE INTO objects VALUES (?, ?)"
KEYS = "SELECT key FROM objects ORDER BY key"
DELETE = "DELETE FROM objects WHERE key = ?"


@contender("sqlite", "SqliteStore", ours=True)
async def sqlite_store(place: Place) -> AsyncIterator[Calls]:
    async with SqliteStore(f"{place.directory}/objects.sqlite") as store:
        yield awaited_store(store)


@contender("sqlite", "aiosqlite", less="no etags and times")
async def by_aiosqlite(place: Place) -> AsyncIterator[Calls]:
    """Every put is a statement of its own, which commits."""
    async with aiosqlite.connect(f"{place.directory}/objects.sqlite", isolation_level=None) as db:
        await db.executescript(SETTINGS + TABLE)
        yield _awaited(db, own=True)


@contender(
    "sqlite", "aiosqlite, shared commits", less="no etags and times; a task's rollback loses what others have put"
)
async def by_shared_aiosqlite(place: Place) -> AsyncIterator[Calls]:
    """Python's implicit transactions: each task commits whatever all of them have put so far."""
    async with aiosqlite.connect(f"{place.directory}/objects.sqlite") as db:
        await db.executescript(SETTINGS + TABLE)
        yield _awaited(db, own=False)


def _awaited(db: aiosqlite.Connection, *, own: bool) -> Calls:
    async def get(key: str) -> bytes:
        async with db.execute(GET, (key,)) as cursor:
            row = await cursor.fetchone()
            assert row is not None
            return bytes(row[0])

    async def head(key: str) -> object:
        return await db.execute_fetchall(HEAD, (key,))

    async def put(key: str, data: bytes) -> None:
        await db.execute(PUT, (key, data))
        if not own:
            await db.commit()

    async def keys() -> list[str]:
        return [row[0] for row in await db.execute_fetchall(KEYS)]

    async def get_many(keys: list[str]) -> object:
        return await db.execute_fetchall(f"SELECT key, data FROM objects WHERE key IN ({_marks(keys)})", keys)

    async def put_many(objects: dict[str, bytes]) -> None:
        await db.execute("BEGIN")
        await db.executemany(PUT, list(objects.items()))
        await db.execute("COMMIT")

    async def delete_many(keys: list[str]) -> None:
        await db.execute(f"DELETE FROM objects WHERE key IN ({_marks(keys)})", keys)
        if not own:
            await db.commit()

    return Calls(get=get, put=put, head=head, keys=keys, get_many=get_many, put_many=put_many, delete_many=delete_many)


def _marks(keys: list[str]) -> str:
    return ",".join("?" * len(keys))


@contender(
    "sqlite", "diskcache in threads", needs="diskcache", less="no etags; objects over 32 KiB are files, not synced"
)
async def diskcache_in_threads(place: Place) -> AsyncIterator[Calls]:
    from diskcache import Cache

    with Cache(place.directory, sqlite_synchronous=2) as cache:
        yield Calls(
            get=lambda key: asyncio.to_thread(cache.get, key),
            put=lambda key, data: asyncio.to_thread(cache.set, key, data),
            keys=lambda: asyncio.to_thread(list, cache),
            delete=lambda key: asyncio.to_thread(cache.delete, key),
        )


@contender("sqlite", "sqlite3", less="it blocks the loop; no etags and times", limit=True)
async def by_sqlite3(place: Place) -> AsyncIterator[Calls]:
    with closing(_connected(place)) as db:
        calls = _plain(db)

        async def get(key: str) -> object:
            return calls.get(key)

        async def put(key: str, data: bytes) -> None:
            calls.put(key, data)

        async def head(key: str) -> object:
            return db.execute(HEAD, (key,)).fetchone()

        async def keys() -> list[str]:
            return [row[0] for row in db.execute(KEYS)]

        async def put_many(objects: dict[str, bytes]) -> None:
            _put_many(db, objects)

        yield Calls(get=get, put=put, head=head, keys=keys, put_many=put_many)


@contender("sqlite", "sync.SqliteStore", ours=True)
def sync_sqlite_store(place: Place) -> Iterator[Calls]:
    with storage.sync.SqliteStore(f"{place.directory}/objects.sqlite") as store:
        yield sync_store(store)


@contender("sqlite", "diskcache", needs="diskcache", less="no etags; objects over 32 KiB are files, not synced")
def by_diskcache(place: Place) -> Iterator[Calls]:
    from diskcache import Cache

    with Cache(place.directory, sqlite_synchronous=2) as cache:
        yield Calls(get=cache.get, put=cache.set, keys=lambda: list(cache), delete=cache.delete)


@contender("sqlite", "sqlite3", less="no etags and times", limit=True)
def sync_sqlite3(place: Place) -> Iterator[Calls]:
    with closing(_connected(place)) as db:
        yield _plain(db)


def _connected(place: Place) -> sqlite3.Connection:
    db = sqlite3.connect(f"{place.directory}/objects.sqlite", isolation_level=None, check_same_thread=False)
    db.executescript(SETTINGS + TABLE)
    return db


def _plain(db: sqlite3.Connection) -> Calls:
    return Calls(
        get=lambda key: db.execute(GET, (key,)).fetchone()[0],
        put=lambda key, data: db.execute(PUT, (key, data)),
        head=lambda key: db.execute(HEAD, (key,)).fetchone(),
        keys=lambda: [row[0] for row in db.execute(KEYS)],
        delete=lambda key: db.execute(DELETE, (key,)),
        put_many=lambda objects: _put_many(db, objects),
    )


def _put_many(db: sqlite3.Connection, objects: dict[str, bytes]) -> None:
    db.execute("BEGIN")
    db.executemany(PUT, objects.items())
    db.execute("COMMIT")
