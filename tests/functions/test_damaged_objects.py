"""Damaged objects among those that `copy_store` and `sync_stores` copy: passed over, reported, and nothing is lost."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from contents import contents

from storage import (
    BulkError,
    ChecksumStore,
    CorruptObjectError,
    DictStore,
    ObjectStore,
    SqliteStore,
    copy_store,
    sync_stores,
)

OBJECTS = {key: key.encode() * 3 for key in "abcd"}


@pytest.fixture
async def damaged() -> ChecksumStore:
    """Return a store of four objects; the bytes of "b" do not match their checksum, "c" is too short to have one."""
    base = DictStore()
    store = ChecksumStore(base)
    for key, data in OBJECTS.items():
        await store.put(key, data)
    await base.put("b", b"x" + (await base.get("b"))[1:])
    await base.put("c", b"short")
    return store


async def test_copy_passes_damaged_objects_over(damaged: ChecksumStore) -> None:
    """All others are copied, and the error at the end has each damaged one with its reason."""
    target = DictStore()

    with pytest.raises(BulkError) as raised:
        await copy_store(damaged, target)

    assert {"b": CorruptObjectError, "c": CorruptObjectError} == {
        key: type(error) for key, error in raised.value.results.items()
    }
    assert {"a": b"aaa", "d": b"ddd"} == await contents(target)


async def test_sync_deletes_no_copy_of_a_damaged_object(damaged: ChecksumStore) -> None:
    """The listing of the source leaves out "c", and the target has perhaps the last good copy of it."""
    target = DictStore()
    for key in "bcz":
        await target.put(key, b"the copy")

    with pytest.raises(BulkError) as raised:
        await sync_stores(damaged, target, delete=True)

    assert {"b", "c"} == set(raised.value.results)
    assert {"a": b"aaa", "b": b"the copy", "c": b"the copy", "d": b"ddd"} == await contents(target)


@pytest.mark.parametrize("compare", ["checksum", "etag"])
async def test_sync_mends_damaged_objects_of_the_target(damaged: ChecksumStore, compare: str) -> None:
    """Where the source is right, it replaces what is wrong; then there is nothing to report."""
    source = DictStore()
    for key, data in OBJECTS.items():
        await source.put(key, data)

    await sync_stores(source, damaged, compare=compare)  # type: ignore[arg-type]

    assert OBJECTS == await contents(damaged)


async def test_what_stays_damaged_in_the_target_is_reported(damaged: ChecksumStore) -> None:
    """An object that only the target has is not copied, but its damage is no secret."""
    with pytest.raises(BulkError) as raised:
        await sync_stores(DictStore(), damaged, compare="size")

    assert ["c"] == list(raised.value.results)


async def test_pages_of_small_objects_pass_damaged_ones_over(tmp_path: Path) -> None:
    """Rows of a database are copied by the page."""
    path = tmp_path / "o.sqlite"
    async with SqliteStore(path) as source:
        for key, data in OBJECTS.items():
            await source.put(key, data)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE objects SET attributes = '{' WHERE key = CAST('b' AS BLOB)")
    db.close()

    target: ObjectStore = DictStore()
    async with SqliteStore(path) as source:
        with pytest.raises(BulkError) as raised:
            await copy_store(source, target)

    assert ["b"] == list(raised.value.results)
    assert {"a", "c", "d"} == set(await contents(target))


async def test_sync_deletes_nothing_while_the_source_does_not_list_all(tmp_path: Path) -> None:
    """The key of a row in the source is damaged: nobody knows whose it is, and which copy would be the last one."""
    path, target = tmp_path / "objects.sqlite", DictStore()
    async with SqliteStore(path) as source:
        await source.put_many(OBJECTS)
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA ignore_check_constraints = 1")
        db.execute("UPDATE objects SET key = 'b' WHERE key = CAST('b' AS BLOB)")  # as text: no key of ours
    db.close()
    await target.put_many({"b": b"the copy", "z": b"not in the source"})

    async with SqliteStore(path) as source:
        with pytest.raises(BulkError):
            await sync_stores(source, target, delete=True)

    assert {"a", "b", "c", "d", "z"} == set(await contents(target))
