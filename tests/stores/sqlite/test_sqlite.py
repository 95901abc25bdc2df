"""What is special about SqliteStore: its transactions, its chunks, its errors, and the loop it belongs to."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from storage import (
    ByteRange,
    CorruptObjectError,
    InvalidKeyError,
    KeyExistsError,
    PreconditionFailedError,
    SqliteStore,
    StorageError,
    StoreClosedError,
    StoreFullError,
    StoreUnavailableError,
)
from storage.stores.sqlite import chunks, large_objects, statements
from storage.stores.sqlite.connection import STATEMENTS
from storage.stores.sqlite.group_commit import JOBS
from storage.stores.sqlite.schema import CHUNK, LEASE

#: An object of this many bytes has three chunks, and one more in a stream is written in two transactions.
LARGE = 2 * CHUNK + 5


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "objects.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore(path) as store:
        yield store


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the leases more often than a test has seconds."""
    monkeypatch.setattr(large_objects, "TICK", 0.02)


def sql(path: Path, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
    """Run a statement as another program would, and return its rows."""
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement, parameters).fetchall()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the write lock, as a slow writer in another process would."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


async def traced(store: SqliteStore, work: Callable[[], Any]) -> list[str]:
    """Return the statements that SQLite ran for the store meanwhile."""
    session = store._opened()
    statements: list[str] = []
    for connection in (session.reader, session._connection):
        await connection.run(sqlite3.Connection.set_trace_callback, statements.append)
    await work()
    for connection in (session.reader, session._connection):
        await connection.run(sqlite3.Connection.set_trace_callback, None)
    return statements


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition that comes true in a second or so."""
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def blocks(count: int, after: Callable[[int], None] = lambda number: None) -> AsyncIterator[bytes]:
    """Yield pieces of 1 MiB, each of its own number; *after* is called when a piece was taken."""
    for number in range(count):
        yield bytes([number % 256]) * CHUNK
        after(number)


# -- group commit and coalesced reads --------------------------------------------------------------------------------


async def test_puts_of_many_tasks_share_one_transaction(store: SqliteStore) -> None:
    """What arrives together is committed together: one sync of the disk for all."""

    async def puts() -> None:
        await asyncio.gather(*(store.put(f"k{number}", b"v") for number in range(64)))

    statements = await traced(store, puts)

    assert 1 == statements.count("COMMIT")
    assert 64 == len([key async for key in store.keys()])


async def test_gets_of_many_tasks_share_one_query(store: SqliteStore) -> None:
    """What is asked together is looked up together, and a key that two ask for answers both."""
    await store.put_many({f"k{number}": b"%d" % number for number in range(32)})
    found: list[bytes] = []

    async def gets() -> None:
        found.extend(await asyncio.gather(*(store.get(f"k{number % 32}") for number in range(64))))

    statements = await traced(store, gets)

    assert 1 == len(statements)
    assert [b"%d" % (number % 32) for number in range(64)] == found


async def test_conditions_are_judged_in_order_within_a_transaction(store: SqliteStore) -> None:
    """Each write sees those before it in the same batch, and one that is refused does not harm its neighbours."""
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
    """When the database has no room for one of three, the other two are put, and the one gets the error."""
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
    """A put behind a transaction that waits for a lock has not begun: cancelled, it leaves at once and never lands."""
    with locked(path):
        first = asyncio.create_task(store.put("first", b"v"))
        await asyncio.sleep(0.05)
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
    """A put whose transaction has begun is over, and its object there, when the cancellation comes out."""
    if alone:  # the second of two in a row goes without a batch
        await store.put("before", b"v")
    with locked(path):
        put = asyncio.create_task(store.put("k", b"v"))
        await asyncio.sleep(0.05)
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
    """Who writes alone pays for no transaction around it, whatever the condition, also when that does not hold."""
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
    """A condition that fails is told, and nothing is written, be it the only write or one of a transaction."""
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
    """Swaps, deletes, copies and renames go with the puts that come with them."""
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
    """Of many tasks that put again and again, none goes on before another connection can see its object."""

    async def puts(name: str) -> None:
        for number in range(20):
            await store.put(name, b"%d" % number)
            assert [(b"%d" % number,)] == await asyncio.to_thread(
                sql, path, "SELECT data FROM objects WHERE key = CAST(? AS BLOB)", name
            )

    await asyncio.gather(*(puts(f"task {number}") for number in range(8)))


async def test_readers_do_not_wait_for_the_writer(store: SqliteStore) -> None:
    """While a transaction of this very store is under way, every kind of read answers, with what was before."""
    await store.put("k", b"old")
    writing, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def stall(db: sqlite3.Connection) -> None:
        statements.delete(db, "k", None, "")
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
    """While the log is being copied into the database, which an old reader holds up, reads answer."""
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
    """However many keys are asked for together, SQLite sees few different queries, which the connection keeps."""
    statements._finding.cache_clear()

    for count in range(1, JOBS + 1):
        await asyncio.gather(*(store.exists(f"k{number}") for number in range(count)))

    assert statements._finding.cache_info().currsize * 4 < STATEMENTS


async def test_bulk_calls_take_few_transactions(store: SqliteStore) -> None:
    """Hundreds of items go in one step, and come out in one; a stream among them has its turn, and the later wins."""

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
    found: list[str] = []

    async def children() -> None:
        found.extend([child async for child in store.children()])

    statements = await traced(store, children)

    assert ["a/", "b/", "c"] == found
    assert len(statements) <= 4


async def test_keys_are_read_from_the_index_alone(store: SqliteStore, path: Path) -> None:
    """A listing comes in pages, each one query, which neither sorts nor touches an object."""
    await store.put_many({f"{number:05}": b"" for number in range(2500)})
    found: list[str] = []

    async def listing() -> None:
        found.extend([key async for key in store.keys("0", start_after="00001")])

    statements = await traced(store, listing)

    assert [f"{number:05}" for number in range(2, 2500)] == found
    assert 4 == len(statements)
    for statement in statements:
        ((*_, plan),) = sql(path, f"EXPLAIN QUERY PLAN {statement}")
        assert plan.startswith("SEARCH objects USING COVERING INDEX")


# -- large objects ---------------------------------------------------------------------------------------------------


async def test_streams_go_in_and_out_in_bounded_memory(store: SqliteStore) -> None:
    """An object of 64 MiB needs less than 16 MiB of it, in either direction."""
    tracemalloc.start()
    try:
        await store.put("k", blocks(64))
        size = 0
        async with store.open("k") as reader:
            async for piece in reader:
                assert piece == bytes([size // CHUNK % 256]) * len(piece)
                size += len(piece)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert 64 * CHUNK == size
    assert peak < 16 * CHUNK


async def test_slow_stream_keeps_no_other_writer_out(store: SqliteStore, path: Path) -> None:
    """While a stream is under way another process can take the write lock at any moment, without waiting for it."""

    def write(number: int) -> None:
        with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            other.execute("ROLLBACK")

    await store.put("k", blocks(12, after=write))

    assert 12 * CHUNK == (await store.head("k")).size
    assert [(12,)] == sql(path, "SELECT count(*) FROM chunks")


async def test_version_that_is_read_stays(store: SqliteStore, path: Path, quick: None) -> None:
    """A reader goes on with the version that it opened, though another store replaces it and time passes."""
    await store.put("k", blocks(3))

    async with store.open("k") as reader:
        first = await reader.read(10)
        async with SqliteStore(path) as other:
            await other.put("k", b"new")
        await until(lambda: sql(path, "SELECT 1 FROM versions WHERE expires > ?", time.time() + LEASE / 2))
        rest = await reader.read()

    assert b"".join([piece async for piece in blocks(3)]) == first + rest
    assert b"new" == await store.get("k")


async def test_chunks_that_nobody_reads_any_more_are_reclaimed(store: SqliteStore, path: Path, quick: None) -> None:
    """When a replaced object's time is over, the space is given back to the database, unless a copy has it too."""
    await store.put("k", blocks(12))
    await store.copy("k", "copy")
    await store.put("k", b"small")
    assert [(None,)] == sql(path, "SELECT expires FROM versions")
    await store.delete("copy")

    sql(path, "UPDATE versions SET expires = 1")
    await until(lambda: not sql(path, "SELECT 1 FROM versions"))

    assert [(0,)] == sql(path, "SELECT count(*) FROM chunks")


async def test_reader_whose_version_was_reclaimed_says_so(store: SqliteStore, path: Path) -> None:
    """A read of what is gone for good, or damaged, ends in an error, never in other bytes."""
    await store.put("gone", b"x" * LARGE)
    await store.put("damaged", b"x" * LARGE)

    async with store.open("gone") as gone, store.open("damaged") as damaged:
        await store.delete("gone")
        sql(path, "DELETE FROM chunks WHERE number = 1")
        sql(path, "DELETE FROM versions WHERE expires IS NOT NULL")

        with pytest.raises(StoreUnavailableError, match="read it again"):
            await gone.read()
        with pytest.raises(CorruptObjectError, match="chunk 1"):
            await damaged.read()


async def test_orphans_are_reclaimed_when_their_time_is_over(path: Path, quick: None) -> None:
    """On opening, chunks of a killed writer go; those whose writer was heard of lately stay."""
    async with SqliteStore(path):
        pass
    now = int(time.time())
    for version, expires in ((1, now - 1), (2, now + LEASE)):
        sql(path, "INSERT INTO versions (id, expires) VALUES (?, ?)", version, expires)
        for number in range(20):
            sql(path, "INSERT INTO chunks (version, number, data) VALUES (?, ?, x'00')", version, number)

    async with SqliteStore(path) as store:
        await until(lambda: [(2,)] == sql(path, "SELECT id FROM versions"))

        assert [(2, 20)] == sql(path, "SELECT version, count(*) FROM chunks GROUP BY version")
        assert [] == [key async for key in store.keys()]


@pytest.mark.parametrize("last", [6, 8], ids=["amid", "at the end"])
async def test_writer_whose_chunks_were_reclaimed_notices(store: SqliteStore, path: Path, last: int) -> None:
    """A put that was taken for dead publishes nothing, be it at its last chunk."""

    def reclaim(number: int) -> None:
        if number == last:
            chunks.claim(other, sql(path, "SELECT id FROM versions WHERE expires > 0")[0][0], time.time() + LEASE)

    with (
        closing(sqlite3.connect(path, isolation_level=None)) as other,
        pytest.raises(StoreUnavailableError, match="put it again"),
    ):
        await store.put("k", blocks(9, after=reclaim))

    assert [] == [key async for key in store.keys()]


async def test_upload_that_fails_is_reclaimed_at_once(store: SqliteStore, path: Path, quick: None) -> None:
    """The chunks of a put whose producer failed do not wait for their lease."""

    def fail(number: int) -> None:
        if number == 9:
            raise OSError("mine")

    with pytest.raises(OSError, match="mine"):
        await store.put("k", blocks(20, after=fail))
    assert [(8,)] == sql(path, "SELECT count(*) FROM chunks")
    await until(lambda: not sql(path, "SELECT 1 FROM versions"))

    assert [(0,)] == sql(path, "SELECT count(*) FROM chunks")


async def test_upload_that_stands_still_keeps_its_lease(store: SqliteStore, path: Path, quick: None) -> None:
    """While a producer takes its time, its chunks are kept."""
    waiting, go_on = asyncio.Event(), asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        async for piece in blocks(9):
            yield piece
        waiting.set()
        await go_on.wait()

    put = asyncio.create_task(store.put("k", pieces()))
    await waiting.wait()
    sql(path, "UPDATE versions SET expires = ?", int(time.time()) + 1)
    await until(lambda: sql(path, "SELECT 1 FROM versions WHERE expires > ?", time.time() + LEASE / 2))
    go_on.set()
    await put

    assert 9 * CHUNK == (await store.head("k")).size


async def test_rename_of_a_large_object_keeps_it_whole(store: SqliteStore, path: Path) -> None:
    """Its chunks stay where they are; those of the object in its place lose theirs."""
    await store.put("a", b"a" * LARGE)
    await store.put("b", b"b" * LARGE)

    etag = await store.rename("a", "b")

    assert (b"a" * LARGE, etag) == (await store.get("b"), (await store.head("b")).etag)
    assert [("b",)] == sql(path, "SELECT CAST(key AS TEXT) FROM objects")
    assert [(1,)] == sql(path, "SELECT count(*) FROM versions WHERE expires IS NOT NULL")


# -- the database ----------------------------------------------------------------------------------------------------


async def test_put_is_durable(store: SqliteStore) -> None:
    """The log is synced with every commit."""
    pragmas = ("journal_mode", "synchronous")

    def read(db: sqlite3.Connection) -> list[object]:
        return [db.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas]

    assert ["wal", 2] == await store._opened()._connection.run(read)


async def test_other_programs_can_delete(store: SqliteStore, path: Path) -> None:
    """The triggers see to the chunks, whoever deletes the row."""
    await store.put("large", b"x" * LARGE)

    sql(path, "DELETE FROM objects WHERE key = CAST('large' AS BLOB)")

    assert not await store.exists("large")
    assert [(1,)] == sql(path, "SELECT count(*) FROM versions WHERE expires IS NOT NULL")


@pytest.mark.parametrize(
    "prefix", ["a", "a\x7f", "é", "\uffff", "a\U0010ffff", "\U0010ffff", "a\x00", "\ud800"], ids=ascii
)
async def test_prefix_selects_what_starts_with_it(store: SqliteStore, prefix: str) -> None:
    """A range of the index holds just the keys of a prefix, also behind the last code point."""
    keys = ["a", "a\x00", "a\x00b", "a\x7f\x7f", "a\U0010ffff\U0010ffff", "b", "é", "éa", "ê", "\uffff", "\U0010ffff"]
    await store.put_many(dict.fromkeys(keys, b""))

    assert [key for key in sorted(keys) if key.startswith(prefix)] == [key async for key in store.keys(prefix)]


async def test_busy_database_is_waited_for(store: SqliteStore, path: Path) -> None:
    """A lock that is given back in time is only a delay."""
    with locked(path):
        put = asyncio.create_task(store.put("k", b"v"))
        await asyncio.sleep(0.1)
        assert not put.done()
    await put

    assert b"v" == await store.get("k")


async def test_busy_database_is_unavailable_in_the_end(path: Path) -> None:
    """The error says how long was waited, for each of those who waited, and can be retried; reads go on."""
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
        (lambda path: sql(path, "CREATE TABLE users (name)"), CorruptObjectError, "a file of its own"),
        (lambda path: sql(path, "PRAGMA user_version = 99"), StorageError, "upgrade"),
        (lambda path: (path.unlink(), path.parent.rmdir()), StorageError, "directory"),
    ],
    ids=["text", "another program's", "a later release's", "no directory"],
)
async def test_file_that_is_not_ours_is_refused(
    tmp_path: Path, make: Callable[[Path], object], error: type[StorageError], text: str
) -> None:
    """What is there stays as it is, and the error says what is wrong."""
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
    """Each store in memory is its own, and empty whenever it is opened."""
    async with SqliteStore(":memory:") as store, SqliteStore(":memory:") as other:
        await store.put("k", b"x" * LARGE)
        assert b"x" * LARGE == await store.get("k")
        assert not await other.exists("k")
        assert not store.capabilities.multi_process

    async with store:
        assert [] == [key async for key in store.keys()]


async def test_many_may_make_the_database_at_once(path: Path) -> None:
    """Of those who find no file each finds a store in it a moment later, whoever made it."""
    stores = [SqliteStore(path) for _ in range(12)]
    await asyncio.gather(*(store.__aenter__() for store in stores))

    await asyncio.gather(*(store.put(f"k{number}", b"v") for number, store in enumerate(stores)))

    assert 12 == len([key async for key in stores[0].keys()])
    for store in stores:
        await store.aclose()


# -- life cycle ------------------------------------------------------------------------------------------------------


async def test_closed_store_names_the_fix(path: Path) -> None:
    """Before entering and after leaving every call says to use the store inside `async with`; entering again works."""
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
    """Under a second loop an open store refuses to work; it can be closed there, and opened again."""
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
    """However early or late it comes: no thread is left, and the store can be entered."""
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
