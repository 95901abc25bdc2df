"""Databases that somebody else made or damaged: each call ends in our error, and nothing of others is touched."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlite_tools import locked, sql

from storage import (
    CorruptObjectError,
    SqliteStore,
    StorageError,
    StoreUnavailableError,
)
from storage.stores.sqlite import connection as connection_module

# -- the schema ------------------------------------------------------------------------------------------------------

ENDLESS_VIEW = """
DROP TABLE objects;
CREATE VIEW objects AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)
SELECT x AS id, CAST('a' AS BLOB) AS key, 'e' AS etag, 4 AS size, 0 AS modified, '{}' AS attributes, NULL AS version,
x'00' AS data FROM c;
"""


@pytest.mark.parametrize(
    "change",
    [
        ENDLESS_VIEW,
        "CREATE TRIGGER t AFTER INSERT ON objects BEGIN DELETE FROM objects; END;",
        "CREATE TRIGGER t AFTER DELETE ON Versions BEGIN DELETE FROM objects; END;",
        "CREATE INDEX i ON objects (length(data));",
        "DROP TRIGGER objects_deleted;",
        "DROP TRIGGER objects_deleted; CREATE TRIGGER objects_deleted AFTER DELETE ON objects BEGIN SELECT 1; END;",
        "ALTER TABLE objects ADD COLUMN more;",
        "DROP TABLE chunks;",
        "DROP TABLE versions; CREATE TABLE versions (id, expires);",
    ],
)
async def test_tables_that_are_not_ours_are_refused(path: Path, change: str) -> None:
    """Whatever the schema has in place of our tables is an error on opening, and nothing of it runs."""
    async with SqliteStore(path) as store:
        await store.put("k", b"v")
    with closing(sqlite3.connect(path)) as other:
        other.executescript(change)

    with pytest.raises(CorruptObjectError, match="not those of a store"):
        await SqliteStore(path).__aenter__()


async def test_tables_of_others_are_left_alone(path: Path) -> None:
    """A table, a view or statistics beside ours are neither used nor refused."""
    async with SqliteStore(path) as store:
        await store.put("k", b"v")
    with closing(sqlite3.connect(path)) as other:
        other.executescript("CREATE TABLE mine (x); CREATE INDEX i ON mine (x); CREATE VIEW v AS SELECT 1; ANALYZE;")

    async with SqliteStore(path) as store:
        assert b"v" == await store.get("k")
        await store.clear()

    assert [] == sql(path, "SELECT * FROM mine")


async def foreign(path: Path, script: str) -> dict[str, bytes]:
    """Make a database of another program, kill that program, and return all files."""
    other = sqlite3.connect(path, isolation_level=None)
    other.executescript(script)
    files = {each.name: each.read_bytes() for each in path.parent.iterdir()}
    other.close()
    for each in path.parent.iterdir():
        each.unlink()
    for name, content in files.items():
        (path.parent / name).write_bytes(content)
    return files


@pytest.mark.parametrize(
    "script",
    [
        "CREATE TABLE users (name)",
        "PRAGMA journal_mode = WAL; CREATE TABLE users (name); PRAGMA wal_checkpoint; INSERT INTO users VALUES (1)",
        "PRAGMA application_id = 77",
        "PRAGMA user_version = 5",
        "BEGIN; CREATE TABLE users (name); INSERT INTO users VALUES (1); COMMIT",
    ],
)
async def test_database_of_another_program_is_not_touched(tmp_path: Path, script: str) -> None:
    """Not a byte of it changes, nor of its log, and no file appears beside it."""
    path = tmp_path / "theirs.db"
    before = await foreign(path, script)

    with pytest.raises(CorruptObjectError, match="another program"):
        await SqliteStore(path).__aenter__()

    assert before == {each.name: each.read_bytes() for each in tmp_path.iterdir()}


async def test_empty_file_becomes_a_database(path: Path) -> None:
    """A file of 0 bytes, as tempfile makes it, is nobody's."""
    path.touch()

    async with SqliteStore(path) as store:
        await store.put("k", b"v")


async def test_file_with_two_names_is_refused(path: Path, tmp_path: Path) -> None:
    """Each name would have its own log."""
    async with SqliteStore(path):
        pass
    os.link(path, tmp_path / "second")

    with pytest.raises(StorageError, match="2 names"):
        await SqliteStore(path).__aenter__()


async def test_pipe_is_refused_at_once(tmp_path: Path) -> None:
    """What is no regular file is not opened, which could wait for ever."""
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(StorageError, match="no regular file"):
        await SqliteStore(tmp_path / "pipe").__aenter__()


# -- statements without end ------------------------------------------------------------------------------------------


def endless(db: sqlite3.Connection, *_: Any) -> Any:
    """Run a statement that never ends, as a damaged file may cause one."""
    query = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"
    return db.execute(query).fetchone()


@pytest.mark.parametrize("which", ["page", "lookup", "write"])
async def test_cancelled_call_interrupts_its_statement(
    store: SqliteStore, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that is cancelled ends, and the others of its batch are run without it."""
    monkeypatch.setattr(connection_module, "PATIENCE", 0.05)
    await store.put("k", b"v")
    session = store._opened()
    beside: asyncio.Task[Any]
    hanging: asyncio.Task[Any]
    if which == "page":
        hanging = asyncio.create_task(session.reader.run(endless))
    elif which == "write":
        hanging = asyncio.create_task(session.writer.run(partial(endless)))
        beside = asyncio.create_task(store.put("k", b"w"))
    else:
        real = session.infos._execute
        session.infos._execute = lambda db, names: endless(db) if b"bad" in names else real(db, names)
        hanging = asyncio.create_task(store.exists("bad"))
        beside = asyncio.create_task(store.exists("k"))
    await asyncio.sleep(0.05)

    hanging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(hanging, 10)

    assert which == "page" or await asyncio.wait_for(beside, 10)
    assert (b"w" if which == "write" else b"v") == await asyncio.wait_for(store.get("k"), 10)


async def test_opening_that_waits_for_a_lock_can_be_cancelled(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program may hold the database exclusively for ever, and the store may have a long busy_timeout."""
    monkeypatch.setattr(connection_module, "PATIENCE", 0.05)
    async with SqliteStore(path):
        pass
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        opening = asyncio.create_task(SqliteStore(path, busy_timeout=1000).__aenter__())
        await asyncio.sleep(0.1)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(opening, 10)
        with pytest.raises(StoreUnavailableError, match="busy_timeout"):
            await SqliteStore(path, busy_timeout=0.05).__aenter__()


async def test_write_that_waits_for_a_lock_can_be_cancelled(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever busy_timeout says; nothing was written then."""
    monkeypatch.setattr(connection_module, "PATIENCE", 0.05)
    async with SqliteStore(path, busy_timeout=1000) as store:
        with locked(path):
            put = asyncio.create_task(store.put("k", b"v"))
            await asyncio.sleep(0.1)
            put.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(put, 10)
        assert not await store.exists("k")
