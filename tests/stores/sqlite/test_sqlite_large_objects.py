"""Large objects of `SqliteStore`: chunks, versions, leases."""

from __future__ import annotations

import asyncio
import sqlite3
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlite_tools import LARGE, sql, until

from storage import CorruptObjectError, SqliteStore, StoreUnavailableError
from storage.stores.sqlite import chunks, large_objects
from storage.stores.sqlite.schema import CHUNK, LEASE


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check the leases often enough for a short test."""
    monkeypatch.setattr(large_objects, "CHECK_INTERVAL", 0.02)


async def blocks(count: int, after: Callable[[int], None] = lambda number: None) -> AsyncIterator[bytes]:
    """Yield different pieces of 1 MiB; *after* is called after each piece was taken."""
    for number in range(count):
        yield bytes([number % 256]) * CHUNK
        after(number)


async def test_streams_go_in_and_out_in_bounded_memory(store: SqliteStore) -> None:
    """An object of 64 MiB needs less than 16 MiB of memory, to write and to read."""
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
    """During a streamed put another process can take the write lock at any time without waiting."""

    def write(number: int) -> None:
        with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            other.execute("ROLLBACK")

    await store.put("k", blocks(12, after=write))

    assert 12 * CHUNK == (await store.head("k")).size
    assert [(12,)] == sql(path, "SELECT count(*) FROM chunks")


async def test_version_that_is_read_stays(store: SqliteStore, path: Path, quick: None) -> None:
    """A reader goes on with its version after another store has replaced it, also after the grace period."""
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
    """After the grace period of a replaced object its space is freed, unless a copy uses the same version."""
    await store.put("k", blocks(12))
    await store.copy("k", "copy")
    await store.put("k", b"small")
    assert [(None,)] == sql(path, "SELECT expires FROM versions")
    await store.delete("copy")

    sql(path, "UPDATE versions SET expires = 1")
    await until(lambda: not sql(path, "SELECT 1 FROM versions"))

    assert [(0,)] == sql(path, "SELECT count(*) FROM chunks")


async def test_reader_whose_version_was_reclaimed_says_so(store: SqliteStore, path: Path) -> None:
    """A read of deleted or damaged chunks is an error, never wrong bytes."""
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
    """On opening, chunks with an expired lease are deleted; those with a current lease are kept."""
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
    """A put whose lease has expired publishes nothing, even at its last chunk."""

    def reclaim(number: int) -> None:
        if number == last:
            version = sql(path, "SELECT id FROM versions WHERE expires > 0")[0][0]
            chunks.claim_expired(other, version, time.time() + LEASE)

    with (
        closing(sqlite3.connect(path, isolation_level=None)) as other,
        pytest.raises(StoreUnavailableError, match="put it again"),
    ):
        await store.put("k", blocks(9, after=reclaim))

    assert [] == [key async for key in store.keys()]


async def test_upload_that_fails_is_reclaimed_at_once(store: SqliteStore, path: Path, quick: None) -> None:
    """The chunks of a failed put are deleted without waiting for their lease."""

    def fail(number: int) -> None:
        if number == 9:
            raise OSError("mine")

    with pytest.raises(OSError, match="mine"):
        await store.put("k", blocks(20, after=fail))
    assert [(8,)] == sql(path, "SELECT count(*) FROM chunks")
    await until(lambda: not sql(path, "SELECT 1 FROM versions"))

    assert [(0,)] == sql(path, "SELECT count(*) FROM chunks")


async def test_upload_that_stands_still_keeps_its_lease(store: SqliteStore, path: Path, quick: None) -> None:
    """The chunks of a slow producer are kept."""
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
    """Its chunks are not moved; the object that it replaces loses its chunks."""
    await store.put("a", b"a" * LARGE)
    await store.put("b", b"b" * LARGE)

    etag = await store.rename("a", "b")

    assert (b"a" * LARGE, etag) == (await store.get("b"), (await store.head("b")).etag)
    assert [("b",)] == sql(path, "SELECT CAST(key AS TEXT) FROM objects")
    assert [(1,)] == sql(path, "SELECT count(*) FROM versions WHERE expires IS NOT NULL")
