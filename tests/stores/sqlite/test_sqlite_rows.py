"""Rows that no store writes: each is an error of its own key, and hides no other."""

from __future__ import annotations

import asyncio
import sqlite3
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from contents import opened
from sqlite_tools import LARGE, sql, until

from storage import (
    ByteRange,
    CorruptObjectError,
    DictStore,
    InvalidKeyError,
    ObjectInfo,
    SqliteStore,
    StorageError,
    copy_store,
)
from storage._core.bulk import result_of
from storage.errors import IncompleteListingError
from storage.stores.sqlite.schema import LONGEST_KEY

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
    "etag = CAST(x'ff41' AS TEXT)",
    "attributes = CAST(x'ff41' AS TEXT)",
    "attributes = CAST(zeroblob(5000000) AS TEXT)",
    "data = CAST(x'fffefdfc' AS TEXT)",
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

        for call in (store.head("k"), store.get("k"), store.get("k", byte_range=ByteRange(1, 4)), opened(store, "k")):
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

        for call in (store.get("k"), opened(store, "k")):
            with pytest.raises(CorruptObjectError) as caught:
                await call
            assert "k" == caught.value.key


async def test_row_of_many_megabytes_is_not_read(path: Path) -> None:
    """SQLite itself refuses to read what is longer than any row of ours."""
    async with SqliteStore(path) as store:
        await store.put("k", b"data")
        change(path, "data = zeroblob(5000000), size = 5000000")

        for call in (store.get("k"), opened(store, "k"), store.get("k", byte_range=ByteRange(0, 4))):
            with pytest.raises(CorruptObjectError, match="larger than"):
                await call
        await store.clear()
        assert not await store.exists("k")


@pytest.mark.parametrize("assignment", ["data = zeroblob(5000000)", "etag = CAST(x'ff' AS TEXT)"])
async def test_damaged_row_fails_no_other_key_of_its_batch(path: Path, assignment: str) -> None:
    """Neither of calls that run at once, nor of bulk calls, nor of a copy of the store."""
    async with SqliteStore(path) as store, DictStore() as target:
        await store.put_many(dict.fromkeys("akz", b"data"))
        change(path, assignment)
        damaged = b"data" if assignment.startswith("etag") else None

        assert [b"data", damaged, b"data"] == [
            each if isinstance(each, bytes) else None
            for each in await asyncio.gather(*map(store.get, "akz"), return_exceptions=True)
        ]
        heads = await asyncio.gather(*map(store.head, "akz"), return_exceptions=True)
        assert ["a", "k" if damaged is None else None, "z"] == [
            each.key if isinstance(each, ObjectInfo) else None for each in heads
        ]
        assert [b"data", damaged, b"data"] == [
            each if isinstance(each, bytes) else None for each in (await store.get_many("akz")).values()
        ]
        assert [(b"data", {})] * 2 == [each for each in await store._get_small("az") if each]
        await result_of(copy_store(store, target))
        assert ["a", "z"] == [key async for key in target.keys() if key != "k"]


@pytest.mark.parametrize("key", ["a key", "a text"])
async def test_key_of_many_megabytes_hides_no_other(path: Path, key: str) -> None:
    """It is cut in the error at the end of a listing, and can be cleared."""
    async with SqliteStore(path) as store:
        await store.put_many(dict.fromkeys(["a", "k", "k2", "z"], b"data"))
        huge = "'k' || hex(zeroblob(2500000))"
        change(path, f"key = CAST({huge} AS BLOB)" if key == "a key" else f"key = {huge}")

        for listing in (store.keys(), store.scan()):
            found, error = await listed(listing)
            assert ["a", "k2", "z"] == [each.key if isinstance(each, ObjectInfo) else each for each in found]
            assert error is not None
            assert 1 == error.count
        assert b"data" == await store.get("k2")
        findings = [each async for each in store.check()]
        assert any(each.key and "k000" in each.key for each in findings)
        if key == "a key":
            found, error = await listed(store.children("k", "/"))
            assert ["k2"] == found
            assert error is not None
            await store.clear("k")
            assert ["a", "z"] == [key async for key in store.keys()]


def change_behind_the_index(path: Path, statement: str) -> None:
    """Run a statement on the table `shadow`: that of the objects, without its index, as damage changes it."""
    columns = "id INTEGER PRIMARY KEY, key, etag, size, modified, attributes, version, data"
    for script in (
        "INSERT INTO sqlite_master SELECT type, 'shadow', 'shadow', rootpage, "
        f"'CREATE TABLE shadow ({columns})' FROM sqlite_master WHERE name = 'objects'",
        statement,
        "DELETE FROM sqlite_master WHERE name = 'shadow'",
    ):
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("PRAGMA writable_schema = ON")
            other.execute(script)


@pytest.fixture
async def long_page(path: Path) -> Path:
    """Return the path of a database of 20 objects, of which one has long attributes: its page is read row by row."""
    async with SqliteStore(path) as store:
        for number in range(20):
            await store.put(f"k{number:02}", b"v", attributes={"a": "x" * 6000 * (number == 3)})
    return path


HUGE_KEYS = ["CAST('z' || hex(zeroblob(2500000)) AS BLOB)", "zeroblob(3000000)", "CAST(zeroblob(3000000) AS TEXT)"]


@pytest.mark.parametrize("key", [*HUGE_KEYS, "'text'", "CAST('z' AS BLOB)", "CAST('a' AS BLOB)"])
async def test_row_with_another_key_than_the_index_hides_no_other(long_page: Path, key: str) -> None:
    """A listing goes on at the key that the index says, and its end tells what is left out."""
    change_behind_the_index(long_page, f"UPDATE shadow SET key = {key} WHERE id = 9")
    every = [f"k{number:02}" for number in range(20)]

    async with SqliteStore(long_page) as store:
        store._opened().index_check._next = float("inf")  # which finds some of them before
        for prefix in ("", "k"):
            assert (every, None) == await listed(store.keys(prefix))
            assert (every, None) == await listed(store.children(prefix))
            found, error = await listed(store.scan(prefix))
            assert [each for each in every if each != "k08"] == [info.key for info in found]
            assert error is not None
            assert ["k08"] == list(error.errors)
            assert 1 == error.count


@pytest.mark.parametrize(
    "statement", [*(f"UPDATE shadow SET key = {key}" for key in ("5", "NULL", "2.5")), "DELETE FROM shadow"]
)
async def test_row_that_is_missing_or_has_no_key_is_told(long_page: Path, statement: str) -> None:
    """By the comparison of the index with the table; and where that was before the damage, at the end of a scan."""
    change_behind_the_index(long_page, f"{statement} WHERE id = 9")

    async with SqliteStore(long_page) as store:
        with pytest.raises(CorruptObjectError, match="index of keys is damaged"):
            await listed(store.scan())
        store._opened().index_check._failure = None
        store._opened().index_check._next = float("inf")
        found, error = await listed(store.scan())
        assert 19 == len(found)
        assert error is not None
        assert ["k08"] == list(error.errors)


@pytest.mark.parametrize(
    "statement", ["UPDATE shadow SET key = CAST('z' AS BLOB)", "UPDATE shadow SET key = 5", "DELETE FROM shadow"]
)
async def test_long_key_that_is_not_that_of_its_row_ends_a_listing(long_page: Path, statement: str) -> None:
    """Where the listing should go on is not known: it is an error, and no short listing."""
    change(long_page, "key = CAST('k08' || hex(zeroblob(2500000)) AS BLOB)", "k08")
    change_behind_the_index(long_page, f"{statement} WHERE id = 9")

    async with SqliteStore(long_page) as store:
        store._opened().index_check._next = float("inf")
        for listing in (store.keys(), store.scan(), store.scan("k")):
            with pytest.raises(CorruptObjectError, match="index of keys is damaged"):
                await listed(listing)


@pytest.mark.parametrize("which", ["keys", "scan", "children", "check"])
async def test_rows_of_a_megabyte_are_read_a_few_at_a_time(path: Path, which: str) -> None:
    """A page of a listing ends after some megabytes; attributes and etags that no store writes are not read at all."""
    async with SqliteStore(path) as store:
        key = "k" * 1_000_000 if which in ("keys", "children") else ""
        long, huge = '{"a":"' + "x" * 1_000_000 + '"}', "x" * 4_000_000
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN")
            row = "INSERT INTO objects VALUES (NULL, CAST(? || ? AS BLOB), ?, 0, 0, ?, NULL, x'')"
            for number in range(24):
                other.execute(row, (f"{number:03}", key, "e", long))
                if not key:
                    other.execute(row, (f"{number:03}-huge", "", "e" if number % 2 else huge, huge))
            other.execute("COMMIT")

        tracemalloc.start()
        try:
            found, error = await listed(counted(getattr(store, which)()))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

        assert list(range(24)) == found
        assert (24 if which == "scan" else 0) == (error.count if error else 0)
        assert peak < 20_000_000


async def counted(listing: AsyncIterator[Any]) -> AsyncIterator[int]:
    """Yield a number for each item of a listing, so that nobody keeps the items."""
    number = 0
    async for _ in listing:
        yield number
        number += 1


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
