"""`SqliteStore`: its database, its errors, and its event loop."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlite_tools import LARGE, locked, sql, until

from storage import CorruptObjectError, SqliteStore, StorageError, StoreClosedError, StoreUnavailableError

# -- the database ----------------------------------------------------------------------------------------------------


async def test_put_is_durable(store: SqliteStore) -> None:
    """The log is synced with every commit."""
    pragmas = ("journal_mode", "synchronous")

    def read(db: sqlite3.Connection) -> list[object]:
        return [db.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas]

    assert ["wal", 2] == await store._opened()._connection.run(read)


async def test_other_programs_can_delete(store: SqliteStore, path: Path) -> None:
    """The triggers release the chunks, whichever program deletes the row."""
    await store.put("large", b"x" * LARGE)

    sql(path, "DELETE FROM objects WHERE key = CAST('large' AS BLOB)")

    assert not await store.exists("large")
    assert [(1,)] == sql(path, "SELECT count(*) FROM versions WHERE expires IS NOT NULL")


@pytest.mark.parametrize(
    "prefix", ["a", "a\x7f", "é", "\uffff", "a\U0010ffff", "\U0010ffff", "a\x00", "\ud800"], ids=ascii
)
async def test_prefix_selects_what_starts_with_it(store: SqliteStore, prefix: str) -> None:
    """The range of the index contains only the keys of the prefix, also after the last code point."""
    keys = ["a", "a\x00", "a\x00b", "a\x7f\x7f", "a\U0010ffff\U0010ffff", "b", "é", "éa", "ê", "\uffff", "\U0010ffff"]
    await store.put_many(dict.fromkeys(keys, b""))

    assert [key for key in sorted(keys) if key.startswith(prefix)] == [key async for key in store.keys(prefix)]


async def test_busy_database_is_waited_for(store: SqliteStore, path: Path) -> None:
    """A lock that is released in time only causes a delay."""
    with locked(path):
        put = asyncio.create_task(store.put("k", b"v"))
        await asyncio.sleep(0.1)
        assert not put.done()
    await put

    assert b"v" == await store.get("k")


async def test_busy_database_is_unavailable_in_the_end(path: Path) -> None:
    """Each waiting call gets a retryable error with the time it waited; reads go on."""
    async with SqliteStore(path, busy_timeout=0.1) as store:
        await store.put("k", b"v")
        with locked(path):
            results = await asyncio.gather(store.put("k", b"w"), store.delete("k"), return_exceptions=True)
            assert b"v" == await store.get("k")

        assert [StoreUnavailableError] * 2 == [type(result) for result in results]
        assert results[0] is not results[1]
        assert "waiting 0.1 s (busy_timeout)" in str(results[0])
        await store.put("k", b"w")
        assert b"w" == await store.get("k")


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda path: path.write_bytes(b"This is no database." * 100), CorruptObjectError, "not an SQLite database"),
        (lambda path: sql(path, "CREATE TABLE users (name)"), CorruptObjectError, "use another file for the store"),
        (lambda path: sql(path, "PRAGMA user_version = 99"), StorageError, "upgrade"),
        (lambda path: (path.unlink(), path.parent.rmdir()), StorageError, "directory"),
    ],
    ids=["text", "another program's", "a later release's", "no directory"],
)
async def test_file_that_is_not_ours_is_refused(
    tmp_path: Path, make: Callable[[Path], object], error: type[StorageError], text: str
) -> None:
    """The file is not changed, and the error says what is wrong."""
    path = tmp_path / "d" / "objects.db"
    path.parent.mkdir()
    if error is StorageError:
        async with SqliteStore(path):
            pass
    make(path)
    before = path.read_bytes() if path.exists() else None

    with pytest.raises(error, match=text) as caught:
        async with SqliteStore(path):
            pass

    assert error is type(caught.value)
    assert before == (path.read_bytes() if path.exists() else None)


async def test_memory_is_forgotten_on_closing() -> None:
    """Each store in memory has its own data, and is empty when it is opened."""
    async with SqliteStore(":memory:") as store, SqliteStore(":memory:") as other:
        await store.put("k", b"x" * LARGE)
        assert b"x" * LARGE == await store.get("k")
        assert not await other.exists("k")
        assert not store.capabilities.multi_process

    async with store:
        assert [] == [key async for key in store.keys()]


async def test_many_may_make_the_database_at_once(path: Path) -> None:
    """Several stores that find no file all open the same new database, whichever creates it."""
    stores = [SqliteStore(path) for _ in range(12)]
    await asyncio.gather(*(store.__aenter__() for store in stores))

    await asyncio.gather(*(store.put(f"k{number}", b"v") for number, store in enumerate(stores)))

    assert 12 == len([key async for key in stores[0].keys()])
    for store in stores:
        await store.aclose()


# -- life cycle ------------------------------------------------------------------------------------------------------


async def test_closed_store_names_the_fix(path: Path) -> None:
    """Before entering and after leaving, the error of every call names `async with`; the store can be entered again."""
    store = SqliteStore(path)
    with pytest.raises(StoreClosedError, match="async with store"):
        await store.get("k")

    async with store:
        await store.put("k", b"v")
    with pytest.raises(StoreClosedError, match="async with store"):
        await store.put("k", b"w")

    async with store:
        assert b"v" == await store.get("k")


def test_store_belongs_to_one_loop(path: Path) -> None:
    """Under another loop an open store raises errors; it can be closed there, and opened again."""
    store = SqliteStore(path)

    async def under_another() -> None:
        with pytest.raises(StoreClosedError, match="another event loop"):
            await store.get("k")
        await store.aclose()
        async with store:
            assert b"v" == await store.get("k")

    async def left_open() -> None:
        await store.__aenter__()
        await store.put("k", b"v")

    asyncio.run(left_open())
    asyncio.run(under_another())


async def test_cancelled_opening_leaves_nothing_behind(path: Path) -> None:
    """Whenever the cancellation comes, no thread is left, and the store can be entered again."""
    before = set(threading.enumerate())
    store = SqliteStore(path)

    for delay in (0, 0, 0.0005, 0.001, 0.002, 0.004):
        opening = asyncio.create_task(store.__aenter__())
        await asyncio.sleep(delay)
        opening.cancel()
        try:
            await opening
        except asyncio.CancelledError:
            assert store._session is None
        else:
            await store.aclose()
    await until(lambda: set(threading.enumerate()) <= before)

    async with store:
        await store.put("k", b"v")
