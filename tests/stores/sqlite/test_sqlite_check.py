"""Damage that SQLite does not see: listings that would be short, and `SqliteStore.check`."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlite_tools import LARGE, sql

from storage import CorruptObjectError, Finding, SqliteStore, StorageError
from storage.stores.sqlite import index_check

PAGE = 16384


@pytest.fixture
async def database(path: Path) -> Path:
    """A database with an index of several pages."""
    async with SqliteStore(path) as store:
        await store.put_many({f"{number:050}": b"" for number in range(3000)})
    return path


def pages_of_index(path: Path) -> tuple[int, list[int]]:
    """Return the first page of the index of keys, and its leaves."""
    ((root,),) = sql(path, "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_objects_1'")
    page = path.read_bytes()[(root - 1) * PAGE : root * PAGE]
    cells = int.from_bytes(page[3:5])
    places = [int.from_bytes(page[12 + 2 * each : 14 + 2 * each]) for each in range(cells)]
    return root, [int.from_bytes(page[place : place + 4]) for place in places] + [int.from_bytes(page[8:12])]


def damaged(path: Path, number: int, change: Callable[[bytes], bytes]) -> None:
    """Overwrite a page."""
    with open(path, "r+b") as file:
        file.seek((number - 1) * PAGE)
        page = file.read(PAGE)
        file.seek((number - 1) * PAGE)
        file.write(change(page))


def swap(path: Path, one: int, other: int) -> None:
    """Let two pages change places: there are as many entries as before, of the same rows."""
    content = path.read_bytes()
    for target, source in ((one, other), (other, one)):
        damaged(path, target, lambda _, source=source: content[(source - 1) * PAGE : source * PAGE])  # type: ignore[misc]


DAMAGES = ["root is a leaf", "a leaf twice", "an earlier leaf twice", "zeros", "ones", "fewer entries", "no entries"]


@pytest.mark.parametrize("damage", DAMAGES)
async def test_index_that_lost_objects_is_no_short_listing(database: Path, damage: str) -> None:
    """Whatever page is damaged, a listing has all keys, or is an error before its first key."""
    root, leaves = pages_of_index(database)
    content = database.read_bytes()

    def page(number: int) -> Callable[[bytes], bytes]:
        return lambda _: content[(number - 1) * PAGE : number * PAGE]

    changes: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
        "root is a leaf": (root, page(leaves[1])),
        "a leaf twice": (leaves[2], page(leaves[5])),
        "an earlier leaf twice": (leaves[5], page(leaves[2])),
        "zeros": (leaves[2], lambda page: bytes(PAGE)),
        "ones": (leaves[2], lambda page: b"\xff" * PAGE),
        "fewer entries": (leaves[2], lambda page: page[:3] + b"\0\x05" + page[5:]),
        "no entries": (leaves[2], lambda page: page[:3] + b"\0\0" + page[5:]),
    }
    damaged(database, *changes[damage])

    async with SqliteStore(database) as store:
        for listing in (store.keys(), store.scan(), store.keys("0"), store.children()):
            with pytest.raises(CorruptObjectError):
                await anext(listing)
        found = [finding async for finding in store.check()]

    assert any(finding.severity == "error" for finding in found)


@pytest.mark.parametrize(("one", "other"), [(2, 3), (2, 6), (6, 2)])
@pytest.mark.parametrize("large", [False, True])
async def test_index_whose_pages_changed_places_is_no_short_listing(
    database: Path, one: int, other: int, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a whole listing nor one of a prefix in such a page ends without an error, also while it is compared."""
    _, leaves = pages_of_index(database)
    swap(database, leaves[one], leaves[other])
    never = asyncio.Event()

    async def compare(self: index_check.IndexCheck) -> None:
        await never.wait()

    if large:  # the comparison goes on for longer than the listing of a prefix
        monkeypatch.setattr(index_check, "FEW_PAGES", 0)
        monkeypatch.setattr(index_check, "LONGEST_WAIT", 0.0)
        monkeypatch.setattr(index_check.IndexCheck, "_compare", compare)
    async with SqliteStore(database) as store:
        missing = [number for number in range(0, 3000, 20) if not await store.exists(f"{number:050}")]
        assert missing
        for number in (missing[0], missing[len(missing) // 2], missing[-1]):
            for cut in (50, 48):
                prefix = f"{number:050}"[:cut]
                for listing in (store.keys(prefix), store.scan(prefix), store.children(prefix, "/")):
                    with pytest.raises(CorruptObjectError, match="index of keys"):
                        await listed(listing)
        if not large:
            for listing in (store.keys(), store.scan(), store.children()):
                with pytest.raises(CorruptObjectError, match="index of keys"):
                    await anext(listing)


async def listed(listing: AsyncIterator[Any]) -> list[Any]:
    """Return what a listing gives."""
    return [each async for each in listing]


async def test_index_with_the_key_of_another_row_is_no_listing(path: Path) -> None:
    """A page as it was before a rename has as many entries, of the same rows, in order."""
    async with SqliteStore(path) as store:
        await store.put_many(dict.fromkeys("abc", b"v"))
    root, _ = pages_of_index(path)
    stale = path.read_bytes()[(root - 1) * PAGE : root * PAGE]
    async with SqliteStore(path) as store:
        await store.rename("b", "bb")
    damaged(path, root, lambda _: stale)

    async with SqliteStore(path) as store:
        with pytest.raises(CorruptObjectError, match="index of keys"):
            await listed(store.keys("b"))


async def test_every_listing_is_told_of_a_comparison_that_failed(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only the one that began it."""
    _, leaves = pages_of_index(database)
    swap(database, leaves[2], leaves[6])
    monkeypatch.setattr(index_check, "FEW_PAGES", 0)
    async with SqliteStore(database) as store:
        results = await asyncio.gather(*(listed(store.keys()) for _ in range(3)), return_exceptions=True)

    assert [CorruptObjectError] * 3 == [type(result) for result in results]


async def test_long_comparison_keeps_no_call_waiting(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a large database it goes on beside a listing, whose end waits for it."""
    _, leaves = pages_of_index(database)
    damaged(database, leaves[2], lambda page: page[:3] + b"\0\x05" + page[5:])
    monkeypatch.setattr(index_check, "FEW_PAGES", 0)
    monkeypatch.setattr(index_check, "LONGEST_WAIT", 0.0)
    go_on = asyncio.Event()
    real = index_check.IndexCheck._compare

    async def compare(self: index_check.IndexCheck) -> None:
        await go_on.wait()
        await real(self)

    monkeypatch.setattr(index_check.IndexCheck, "_compare", compare)
    async with SqliteStore(database) as store:
        listing = store.keys()
        await anext(listing)
        asyncio.get_running_loop().call_later(0.01, go_on.set)
        with pytest.raises(CorruptObjectError, match="index of keys"):
            async for _ in listing:
                pass

    go_on.clear()
    async with SqliteStore(database) as store:
        await anext(store.keys())  # and a store that is closed does not wait for it


async def test_check_of_a_sound_store_finds_nothing(store: SqliteStore) -> None:
    """Not while it is written, and not when nothing is in it."""
    assert [] == [finding async for finding in store.check()]
    await store.put_many({f"k{number}": b"v" for number in range(1200)})
    await store.put("large", b"x" * LARGE)
    await store.put("full", b"x" * (2 << 20))
    await store.copy("large", "copy")
    await store.put("gone", b"x" * LARGE)
    await store.delete("gone")

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(6):
            yield b"x" * (1 << 20)
        assert [] == [finding async for finding in store.check()]

    await store.put("stream", pieces())

    assert [] == [finding async for finding in store.check()]


async def test_check_works_in_memory() -> None:
    """There it uses the only connection."""
    async with SqliteStore(":memory:") as store:
        await store.put("large", b"x" * LARGE)
        assert [] == [finding async for finding in store.check()]


@pytest.mark.parametrize(
    ("script", "key", "severity", "mendable", "text"),
    [
        ("UPDATE objects SET attributes = '[1]' WHERE key = x'6b'", "k", "error", False, "attributes"),
        ("UPDATE objects SET size = 7 WHERE key = x'6b'", "k", "error", False, "size says 7"),
        ("UPDATE objects SET modified = 'x' WHERE key = x'6b'", "k", "error", False, "time"),
        ("UPDATE objects SET key = 'k' WHERE key = x'6b'", "k", "error", False, "no BLOB"),
        ("UPDATE objects SET key = x'6bff' WHERE key = x'6b'", r"k\xff", "error", False, "no UTF-8"),
        ("DELETE FROM chunks WHERE number = 1", "large", "error", False, "2 chunks"),
        ("INSERT INTO chunks SELECT version, 9, x'00' FROM chunks LIMIT 1", "large", "error", False, "4 chunks"),
        ("UPDATE versions SET expires = 1", "large", "error", False, "will be deleted"),
        ("INSERT INTO versions VALUES (5, NULL)", None, "warning", True, "no object has the chunks of version 5"),
        ("INSERT INTO versions VALUES (5, 'x')", None, "warning", True, "version 5 never expires"),
        ("INSERT INTO chunks VALUES (6, 0, x'00')", None, "warning", True, "version that is not there: 6"),
        ("CREATE TABLE mine (x)", None, "info", False, "table 'mine' does not belong to a store"),
    ],
)
async def test_check_finds(path: Path, script: str, key: str | None, severity: str, mendable: bool, text: str) -> None:
    """Each kind of damage is one finding, with its key if it is about an object."""
    async with SqliteStore(path) as store:
        await store.put("k", b"v")
        await store.put("large", b"x" * LARGE)
        await store._opened().leases.stop()
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("PRAGMA ignore_check_constraints = ON")
            other.execute(script)

        found = [each async for each in store.check() if "CHECK constraint" not in each.what]

    (finding,) = found
    assert (key, severity, mendable) == (finding.key, finding.severity, finding.mendable)
    assert text in finding.what
    assert Finding(finding.what, key, finding.severity, mendable) == finding


async def test_damage_anywhere_is_our_error_or_right(path: Path) -> None:
    """Each page in turn overwritten by each other one of a small database: no other error, and no short listing."""
    async with SqliteStore(path) as store:
        await store.put_many({f"{number:0200}": b"v" for number in range(150)})
    content = path.read_bytes()
    pages = len(content) // PAGE
    expected = [f"{number:0200}" for number in range(150)]

    async def listed() -> Any:
        async with SqliteStore(path) as store:
            return [key async for key in store.keys()]

    for target in range(2, pages + 1):
        for source in range(1, pages + 1):
            other = content[(source - 1) * PAGE : source * PAGE]
            path.write_bytes(content[: (target - 1) * PAGE] + other + content[target * PAGE :])
            try:
                assert expected == await listed()
            except StorageError as error:
                assert isinstance(error, CorruptObjectError)  # noqa: PT017 - either is right
