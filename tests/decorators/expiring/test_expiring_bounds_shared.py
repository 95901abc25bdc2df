"""Bounds of a store that several processes fill: they hold for all of them together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from doubles import ScriptedStore
from expiring_tools import held

from storage import CachingStore, DictStore, ExpiringStore, FilesystemStore, ObjectStore, SqliteStore
from storage.decorators.expiring.pace import FIRST, LEAST, MOST, Pace

#: What each stack keeps within the bounds, given how a process opens the directory they share.
KINDS: dict[str, Callable[[ObjectStore, ObjectStore], ObjectStore]] = {
    "cache": lambda main, shared: CachingStore(main, shared, max_bytes=100_000),
    "cache of so many": lambda main, shared: CachingStore(main, shared, max_count=80),
    "expiring store": lambda main, shared: ExpiringStore(shared, max_bytes=100_000),
}


@pytest.mark.parametrize("make", KINDS.values(), ids=list(KINDS))
async def test_bound_holds_for_eight_processes_together(tmp_path: Path, make: Callable[..., ObjectStore]) -> None:
    """Each opens the directory by itself, and knows of the others only what is there. Nothing is over 1.2 bounds."""
    main = DictStore()
    await main.put_many({f"o{number}": b"x" * 1000 for number in range(400)})
    stores = [make(main, FilesystemStore(tmp_path)) for _ in range(8)]
    look, most, largest = FilesystemStore(tmp_path), 0, 0

    async def fill(store: ObjectStore, number: int) -> None:
        key = f"o{number % 400}"
        if isinstance(store, CachingStore):
            await store.get(key)
        else:
            await store.put(key, b"x" * 1000)

    for turn in range(36):
        await asyncio.gather(*(fill(store, number * 50 + turn) for number, store in enumerate(stores)))
        count, size = await held(look)
        most, largest = max(most, count), max(largest, size)

    assert 50 < most <= 120
    assert largest <= 120_000


async def test_process_alone_counts_seldom(tmp_path: Path) -> None:
    """A count lists the whole store."""
    shared = ScriptedStore(FilesystemStore(tmp_path))
    store = ExpiringStore(shared, max_count=50)
    for number in range(400):
        await store.put(f"k{number % 200}", b"v")
    assert (50, 50) == await held(store)
    assert shared.count("scan") - 1 <= 18


async def test_store_of_one_process_is_counted_once() -> None:
    """And so is one whose listing asks for each object singly."""
    shared = ScriptedStore(DictStore())
    store = ExpiringStore(shared, max_count=10)
    for number in range(100):
        await store.put(f"k{number}", b"v")
    assert 1 == shared.count("scan")


@pytest.mark.parametrize("make", [FilesystemStore, lambda path: SqliteStore(path / "objects.db")])
async def test_what_others_delete_makes_room(tmp_path: Path, make: Callable[[Path], ObjectStore]) -> None:
    """Their objects are counted as used when they were put: the oldest of this process go first."""
    async with make(tmp_path) as shared:
        store, other = ExpiringStore(shared, max_count=64), ExpiringStore(shared, max_count=64)
        await store.put_many({f"a{number:02}": b"" for number in range(40)})
        await other.put_many({f"b{number:02}": b"" for number in range(20)})
        for number in range(20):
            await store.put(f"c{number:02}", b"")
        keys = [key async for key in shared.keys()]
        assert 64 == len(keys)
        assert {f"b{number:02}" for number in range(20)} | {f"c{number:02}" for number in range(20)} < set(keys)

        await shared.delete_many([key for key in keys if key.startswith("b")])
        store._bounds._pace.step = 0  # type: ignore[union-attr]  # the next put counts
        for number in range(20):
            await store.put(f"d{number:02}", b"")
        assert 64 == len([key async for key in shared.keys()])


async def test_put_during_a_count_is_kept(tmp_path: Path) -> None:
    """What is put, replaced or deleted while the store is listed stays counted as it is."""
    shared = ScriptedStore(FilesystemStore(tmp_path))
    store = ExpiringStore(shared, max_bytes=640)
    await store.put_many({"a": b"x" * 100, "b": b"x" * 100, "gone": b"x" * 100})
    store._bounds._pace.step = 0  # type: ignore[union-attr]
    listed = shared.hold("scan", after=True)
    counting = asyncio.create_task(store.put("c", b"x" * 100))
    await listed.reached()
    await store.put("d", b"x" * 100)
    await store.put("a", b"x" * 50)
    await store.delete("gone")
    listed.open()
    await counting

    entries = {key: entry.size for key, entry in store._bounds._entries.items()}
    assert {"a": 50, "b": 100, "c": 100, "d": 100} == entries
    assert 350 == store._bounds._bytes


async def test_count_that_fails_fails_no_put(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and made again with a later put."""
    shared = ScriptedStore(FilesystemStore(tmp_path))
    store = ExpiringStore(shared, max_count=10)
    await store.put("a", b"v")
    store._bounds._pace.step = 0  # type: ignore[union-attr]
    shared.fail("scan")
    await store.put("b", b"v")
    assert any(
        "may be over its bounds" in record.message for record in caplog.records if record.levelno >= logging.INFO
    )
    shared.heal()
    await FilesystemStore(tmp_path).put("theirs", b"v")
    await store.put("c", b"v")
    assert {"a", "b", "c", "theirs"} == set(store._bounds._entries)


def test_pace_follows_the_others() -> None:
    """The share after which a process counts is smaller the more the others put, and doubles while it is alone."""
    pace = Pace()
    assert [False, True] == [pace.add(FIRST / 2), pace.add(FIRST / 2)]
    pace.counted(7 * FIRST)
    assert 0.15 / 8 == pytest.approx(pace.step)
    pace.add(0.001)
    pace.counted(10.0)
    assert LEAST == pace.step
    for _ in range(20):
        pace.add(pace.step)
        pace.counted(0.0)
    assert (MOST, 0.0) == (pace.step, pace.grown)


async def test_recount_counts_no_object_that_is_being_deleted(tmp_path: Path) -> None:
    """Counted as another process's, it would drive out an object that has to stay."""
    for number in range(30):
        base = FilesystemStore(tmp_path / str(number))
        await ExpiringStore(base, max_count=3).put_many({f"k{each}": b"123" for each in range(10)})

        assert 3 == len([key async for key in base.keys()])
