"""Databases that somebody else made or damaged: each call ends in our error, and nothing of others is touched."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlite_tools import LARGE, locked, sql, until

from storage import (
    ByteRange,
    CorruptObjectError,
    InvalidKeyError,
    ObjectInfo,
    SqliteStore,
    StorageError,
    StoreUnavailableError,
)
from storage._core.bulk import result_of
from storage.errors import IncompleteListingError
from storage.stores.sqlite import connection as connection_module
from storage.stores.sqlite.schema import LONGEST_KEY

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


# -- rows ------------------------------------------------------------------------------------------------------------

BAD_INFO = [
    "attributes = '{\"a\": '",
    "attributes = '[1]'",
    "attributes = '{\"a\": 1}'",
    "attributes = x'ff'",
    "attributes = '" + "[" * 100_000 + "'",
    "modified = 'yesterday'",
    "modified = 9223372036854775807",
    "modified = -9223372036854775807",
    "modified = 1.5",
    "size = -1",
    "size = 'large'",
    "size = 99",
    "etag = ''",
    "etag = x'ff'",
    "data = zeroblob(3)",
]


def change(path: Path, assignment: str, key: str = "k") -> None:
    """Change a row, whatever the table's conditions say."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA ignore_check_constraints = ON")
        other.execute(f"UPDATE objects SET {assignment} WHERE key = CAST(? AS BLOB)", (key,))


@pytest.mark.parametrize("assignment", BAD_INFO, ids=lambda text: text[:30])
async def test_damaged_row_is_an_error_that_names_the_key(path: Path, assignment: str) -> None:
    """Every call on its key is right or that error; all other objects are listed, and the end of the scan tells."""
    async with SqliteStore(path) as store:
        await store.put_many(dict.fromkeys("akz", b"data"))
        change(path, assignment)

        for call in (store.head("k"), store.get("k"), store.get("k", byte_range=ByteRange(1, 4)), read(store, "k")):
            result = await result_of(call)
            if not isinstance(result, bytes | ObjectInfo):
                assert isinstance(result, CorruptObjectError)
                assert ("k", repr(store)) == (result.key, result.store)
        assert ["a", "k", "z"] == [key async for key in store.keys()]
        scanned, error = await listed(store.scan())
        assert (["a", "z"] if error else ["a", "k", "z"]) == [info.key for info in scanned]
        assert error is None or ["k"] == list(error.errors)
        assert [CorruptObjectError] * assignment.startswith(("size", "data")) == [
            type(each) for each in (await store.get_many("akz")).values() if isinstance(each, StorageError)
        ]
        assert (await store._get_small("k"))[0] in (None, (b"data", {}))

        await store.put("k", b"new")
        assert b"new" == await store.get("k")


async def listed(listing: AsyncIterator[Any]) -> tuple[list[Any], IncompleteListingError | None]:
    """Return what a listing gives, and the error at its end."""
    found: list[Any] = []
    try:
        async for each in listing:
            found.append(each)  # noqa: PERF401 - what comes before the error is wanted
    except IncompleteListingError as error:
        return found, error
    return found, None


async def read(store: SqliteStore, key: str) -> bytes:
    """Read an object as a stream."""
    async with store.open(key) as reader:
        return await reader.read()


@pytest.mark.parametrize("key", ["CAST(x'6bff' AS BLOB)", "x''", "'text'", "5"])
async def test_key_that_is_none_is_told_at_the_end_of_a_listing(path: Path, key: str) -> None:
    """It hides no other, and is not listed itself."""
    async with SqliteStore(path) as store:
        await store.put_many(dict.fromkeys("akz", b"data"))
        change(path, f"key = {key}")

        for listing in (store.keys(), store.scan(), store.children())[: 3 if key[-1] == "'" and key[0] != "'" else 2]:
            found, error = await listed(listing)
            assert ["a", "z"] == [each.key if isinstance(each, ObjectInfo) else each for each in found]
            assert error is not None
            assert 1 == error.count


@pytest.mark.parametrize(
    "script",
    [
        "DELETE FROM chunks WHERE number = 1",
        "DELETE FROM chunks",
        "UPDATE chunks SET data = zeroblob(5) WHERE number = 1",
        "UPDATE chunks SET data = 'text' WHERE number = 1",
        "INSERT INTO chunks VALUES ((SELECT id FROM versions), 3, x'00')",
        "UPDATE chunks SET data = zeroblob(5000000) WHERE number = 2",
        "UPDATE objects SET version = 'none'",
        "UPDATE objects SET size = 9223372036854775807",
        "UPDATE objects SET size = 1500000",
    ],
)
async def test_chunks_that_do_not_agree_are_an_error(path: Path, script: str) -> None:
    """A large object whose chunks are missing, too many or of other sizes is never read as if it were whole."""
    async with SqliteStore(path) as store:
        await store.put("k", b"x" * LARGE)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("PRAGMA ignore_check_constraints = ON")
            other.execute(script)

        for call in (store.get("k"), read(store, "k")):
            with pytest.raises(CorruptObjectError) as caught:
                await call
            assert "k" == caught.value.key


async def test_row_of_many_megabytes_is_not_read(path: Path) -> None:
    """SQLite itself refuses to read what is longer than any row of ours."""
    async with SqliteStore(path) as store:
        await store.put("k", b"data")
        change(path, "data = zeroblob(5000000), size = 5000000")

        for call in (store.get("k"), read(store, "k"), store.get("k", byte_range=ByteRange(0, 4))):
            with pytest.raises(CorruptObjectError, match="larger than"):
                await call
        await store.clear()
        assert not await store.exists("k")


async def test_key_of_a_megabyte_is_the_longest(store: SqliteStore) -> None:
    """A longer one is refused by every method, and is no bound of a listing that finds others."""
    longest, longer = "k" * LONGEST_KEY, "k" * (LONGEST_KEY + 1)
    await store.put(longest, b"v")
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: store.put(longer, b""),
        lambda: store.get(longer),
        lambda: store.exists(longer),
        lambda: store.head(longer),
        lambda: store.delete(longer),
        lambda: store.copy(longest, longer),
    ]
    for call in calls:
        with pytest.raises(InvalidKeyError, match="bytes"):
            await call()

    huge = "k" * (8 << 20)
    assert [longest] == [key async for key in store.keys()]
    assert [] == [key async for key in store.keys(huge)]
    assert [] == [key async for key in store.keys(start_after=huge)]
    assert [longest] == [key async for key in store.keys(start_after="k" * (LONGEST_KEY - 1))]
    await store.clear(huge)
    assert await store.exists(longest)


async def test_leases_that_are_no_times_stop_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Expired versions are reclaimed, whatever stands beside them."""
    async with SqliteStore(path):
        pass
    sql(path, "INSERT INTO versions VALUES (1, 'never'), (2, x'00'), (3, 1.5), (4, 1)")

    async with SqliteStore(path):
        await until(lambda: [(1,), (2,), (3,)] == sql(path, "SELECT id FROM versions ORDER BY id"))


async def test_conditional_write_of_a_row_without_an_etag_ends(path: Path) -> None:
    """The object exists, whatever its row lacks."""
    async with SqliteStore(path) as store:
        await store.put("k", b"data")
        change(path, "etag = x''")

        swap, create, delete = (
            store.put("k", b"w", if_match=""),
            store.put("k", b"w", if_absent=True),
            store.delete("k", if_match=""),
        )
        for call in (swap, create, delete):
            with pytest.raises(StorageError):
                await asyncio.wait_for(call, 10)


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
