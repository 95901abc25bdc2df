"""Calls of `SqliteStore` that share a transaction or a query, and the cost of each."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from contextlib import closing
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from sqlite_tools import locked, sql, until

from storage import ByteRange, InvalidKeyError, KeyExistsError, PreconditionFailedError, SqliteStore, StoreFullError
from storage._core.conditions import Target
from storage.stores.sqlite import statements
from storage.stores.sqlite.connection import STATEMENTS
from storage.stores.sqlite.group_commit import MAX_REQUESTS
from storage.stores.sqlite.schema import CHUNK


async def traced(store: SqliteStore, work: Callable[[], Any]) -> list[str]:
    """Return the statements that SQLite ran for *work*, and none of the check of leases in the background."""
    session = store._opened()
    await session.leases.stop()
    statements: list[str] = []
    for connection in (session.reader, session._connection):
        await connection.run(sqlite3.Connection.set_trace_callback, statements.append)
    await work()
    for connection in (session.reader, session._connection):
        await connection.run(sqlite3.Connection.set_trace_callback, None)
    return statements


async def test_puts_of_many_tasks_share_one_transaction(store: SqliteStore) -> None:
    """Concurrent puts are committed together, with one sync of the disk."""

    async def puts() -> None:
        await asyncio.gather(*(store.put(f"k{number}", b"v") for number in range(64)))

    statements = await traced(store, puts)

    assert 1 == statements.count("COMMIT")
    assert 64 == len([key async for key in store.keys()])


async def test_gets_of_many_tasks_share_one_query(store: SqliteStore) -> None:
    """Concurrent gets share one query, also two gets of the same key."""
    await store.put_many({f"k{number}": b"%d" % number for number in range(32)})
    found: list[bytes] = []

    async def gets() -> None:
        found.extend(await asyncio.gather(*(store.get(f"k{number % 32}") for number in range(64))))

    statements = await traced(store, gets)

    assert 1 == len(statements)
    assert [b"%d" % (number % 32) for number in range(64)] == found


async def test_conditions_are_judged_in_order_within_a_transaction(store: SqliteStore) -> None:
    """Each write sees those before it in the same batch, and a failed condition does not affect the others."""
    results: list[object] = []

    async def writes() -> None:
        results.extend(
            await asyncio.gather(
                store.put("k", b"first", if_absent=True),
                store.put("k", b"second", if_absent=True),
                store.put("other", b"o"),
                store.delete("k"),
                store.put("k", b"third", if_absent=True),
                return_exceptions=True,
            )
        )

    statements = await traced(store, writes)

    assert 1 == statements.count("COMMIT")
    assert [str, KeyExistsError, str, type(None), str] == [type(result) for result in results]
    assert [b"third", b"o"] == [await store.get("k"), await store.get("other")]


async def test_item_that_fails_does_not_fail_its_neighbours(store: SqliteStore) -> None:
    """If the database has no space for one of three objects, the other two are put, and only that one fails."""
    connection = store._opened()._connection
    pages = await connection.run(lambda db: db.execute("PRAGMA page_count").fetchone()[0])
    await connection.run(lambda db: db.execute(f"PRAGMA max_page_count = {pages + 10}").fetchone())

    results = await asyncio.gather(
        store.put("a", b"small"), store.put("b", b"x" * CHUNK), store.put("c", b"small"), return_exceptions=True
    )

    assert [str, StoreFullError, str] == [type(result) for result in results]
    assert ["a", "c"] == [key async for key in store.keys()]
    assert isinstance(results[1], StoreFullError)
    assert isinstance(results[1].__cause__, sqlite3.OperationalError)


async def test_put_that_is_cancelled_in_the_queue_is_withdrawn(store: SqliteStore, path: Path) -> None:
    """A put that waits for another transaction has not begun: cancelled, it ends immediately, without effect."""
    with locked(path):
        first = asyncio.create_task(store.put("first", b"v"))
        await until(lambda: store._opened().writer._running)
        second = asyncio.create_task(store.put("second", b"v"))
        await asyncio.sleep(0.01)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        assert not first.done()
    await first

    assert ["first"] == [key async for key in store.keys()]


@pytest.mark.parametrize("alone", [False, True], ids=["in a batch", "alone"])
async def test_put_that_is_cancelled_in_flight_is_waited_for(store: SqliteStore, path: Path, alone: bool) -> None:
    """If a put is cancelled after its transaction has begun, its object is committed before the error is raised."""
    if alone:  # the second of two in a row goes without a batch
        await store.put("before", b"v")
    with locked(path):
        put = asyncio.create_task(store.put("k", b"v"))
        writer = store._opened().writer
        await until(lambda: writer._busy if alone else writer._running)
        next_one = asyncio.create_task(store.put("next", b"v"))
        await asyncio.sleep(0)
        put.cancel()
        put.cancel()
        await asyncio.sleep(0.05)
        assert not put.done()
    with pytest.raises(asyncio.CancelledError):
        await put

    assert [(b"v",)] == sql(path, "SELECT data FROM objects WHERE key = CAST('k' AS BLOB)")
    await next_one
    assert await store.exists("next")


async def test_lonely_write_is_one_statement(store: SqliteStore) -> None:
    """A single write has no transaction around it, with any condition, also with one that fails."""
    etag = await store.put("k", b"v")

    async def writes() -> None:
        swapped = await store.put("k", b"w", if_match=etag)
        await store.put("new", b"v", if_absent=True)
        await store.put("new", b"w")
        await store.delete("k", if_match=swapped)
        await store.delete("new")

    statements = await traced(store, writes)

    told = [text.split()[0] for text, _ in groupby(statements)]  # a trigger's look at the row repeats its statement
    assert ["UPDATE", "INSERT", "INSERT", "DELETE", "DELETE"] == told


async def test_conditions_hold_alone_and_in_company(store: SqliteStore) -> None:
    """A failed condition is an error and writes nothing, for a single write and within a transaction."""
    etag = await store.put("k", b"v")

    async def tried(together: bool) -> list[object]:
        calls: list[Awaitable[object]] = [
            store.put("k", b"wrong", if_absent=True),
            store.put("missing", b"wrong", if_match="x"),
            store.put("k", b"wrong", if_match="another"),
            store.delete("k", if_match="another"),
            store.delete("missing", if_match="x"),
        ]
        if together:
            return await asyncio.gather(*calls, return_exceptions=True)
        return [result for call in calls for result in await asyncio.gather(call, return_exceptions=True)]

    expected = [KeyExistsError, *[PreconditionFailedError] * 4]
    assert expected == [type(result) for result in await tried(together=True)]
    assert expected == [type(result) for result in await tried(together=False)]
    assert [("k", etag)] == [(info.key, info.etag) async for info in store.scan()]


async def test_every_kind_of_write_shares_the_transaction(store: SqliteStore) -> None:
    """Swaps, deletes, copies and renames share the transaction of concurrent puts."""
    etags = {key: await store.put(key, b"v") for key in ("swapped", "deleted", "gone", "copied", "renamed")}

    async def writes() -> None:
        await asyncio.gather(
            store.put("swapped", b"w", if_match=etags["swapped"]),
            store.put("created", b"v", if_absent=True),
            store.delete("deleted"),
            store.delete("gone", if_match=etags["gone"]),
            store.copy("copied", "copy"),
            store.rename("renamed", "new name"),
        )

    statements = await traced(store, writes)

    assert 1 == statements.count("COMMIT")
    assert ["copied", "copy", "created", "new name", "swapped"] == [key async for key in store.keys()]


async def test_put_returns_when_its_own_data_is_committed(store: SqliteStore, path: Path) -> None:
    """When many tasks put repeatedly, each put returns only after another connection can see its object."""

    async def puts(name: str) -> None:
        for number in range(20):
            await store.put(name, b"%d" % number)
            assert [(b"%d" % number,)] == await asyncio.to_thread(
                sql, path, "SELECT data FROM objects WHERE key = CAST(? AS BLOB)", name
            )

    await asyncio.gather(*(puts(f"task {number}") for number in range(8)))


async def test_readers_do_not_wait_for_the_writer(store: SqliteStore) -> None:
    """During a transaction of the same store, every kind of read returns the state before it."""
    await store.put("k", b"old")
    writing, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def stall(db: sqlite3.Connection) -> None:
        statements.delete(db, Target("k"))
        loop.call_soon_threadsafe(writing.set)
        assert go_on.wait(10)

    stalled = asyncio.create_task(store._opened().writer.run(partial(stall)))
    await writing.wait()
    try:
        assert b"old" == await store.get("k")
        assert b"ol" == await store.get("k", byte_range=ByteRange(0, 2))
        assert {"k": b"old"} == await store.get_many(["k"])
        assert 3 == (await store.head("k")).size
        assert ["k"] == [key async for key in store.keys()]
        assert not stalled.done()
    finally:
        go_on.set()
        await stalled

    assert not await store.exists("k")


async def test_readers_do_not_wait_for_a_checkpoint(store: SqliteStore, path: Path) -> None:
    """Reads do not wait while the log is copied into the database, which an old reader delays."""
    await store.put("k", b"v")
    connection = store._opened()._connection
    begun = threading.Event()
    await connection.run(lambda db: db.set_trace_callback(lambda text: begun.set()))

    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM objects").fetchone()
        await store.put("k", b"w")
        begun.clear()
        checkpoint = asyncio.create_task(
            connection.run(lambda db: db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone())
        )
        assert await asyncio.to_thread(begun.wait, 10)

        for _ in range(20):
            assert b"w" == await store.get("k")
        assert not checkpoint.done()
    await checkpoint


async def test_statements_are_compiled_once(store: SqliteStore) -> None:
    """For any number of keys SQLite gets only few different queries, which the connection caches."""
    statements._select_by_keys.cache_clear()

    for count in range(1, MAX_REQUESTS + 1):
        await asyncio.gather(*(store.exists(f"k{number}") for number in range(count)))

    assert statements._select_by_keys.cache_info().currsize * 4 < STATEMENTS


async def test_bulk_calls_take_few_transactions(store: SqliteStore) -> None:
    """Hundreds of items are put and read in one step; a stream among them keeps its place, and the later put wins."""

    async def calls() -> None:
        items: list[tuple[str, Any]] = [(f"k{number}", b"v") for number in range(500)]
        results = await store.put_many(
            [("twice", b"1"), *items, ("twice", [b"2"]), ("", b""), ("twice", b"3")], raise_errors=False
        )
        assert ["twice", *(key for key, _ in items), ""] == list(results)
        assert isinstance(results[""], InvalidKeyError)
        assert b"3" == await store.get("twice")
        assert dict.fromkeys(["k0", "k499", "twice"]) == await store.delete_many(["k0", "k499", "twice"])

    statements = await traced(store, calls)

    assert 3 == statements.count("COMMIT")  # the stream, short and alone, is one statement
    assert 498 == len([key async for key in store.keys()])


async def test_children_are_found_without_reading_what_lies_below_them(store: SqliteStore) -> None:
    """A sub-prefix of thousands of keys costs one page of them."""
    await store.put_many({f"{top}/{number}": b"" for top in "ab" for number in range(5000)} | {"c": b""})
    await anext(store.children())  # the first listing compares the index
    found: list[str] = []

    async def children() -> None:
        found.extend([child async for child in store.children()])

    statements = await traced(store, children)

    assert ["a/", "b/", "c"] == found
    assert len(statements) <= 4


async def test_keys_are_read_from_the_index_alone(store: SqliteStore, path: Path) -> None:
    """A listing reads pages, each with one query, which neither sorts nor reads an object."""
    await store.put_many({f"{number:05}": b"" for number in range(2500)})
    await anext(store.keys())  # the first listing compares the index
    found: list[str] = []

    async def listing() -> None:
        found.extend([key async for key in store.keys("0", start_after="00001")])

    statements = await traced(store, listing)

    assert [f"{number:05}" for number in range(2, 2500)] == found
    assert 4 == len(statements)
    for statement in statements:
        ((*_, plan),) = sql(path, f"EXPLAIN QUERY PLAN {statement}")
        assert plan.startswith("SEARCH objects USING COVERING INDEX")
