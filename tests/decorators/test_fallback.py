"""A store before an archive: where objects are read and written, and what is refused."""

from __future__ import annotations

from typing import Any, cast

import pytest
from contents import contents
from doubles import ScriptedStore, scripted

import storage.sync
from storage import (
    ByteRange,
    ConfigError,
    DictStore,
    FallbackStore,
    JsonStore,
    KeyExistsError,
    KeyNotFoundError,
    PreconditionFailedError,
    PrefixStore,
    RangeNotSatisfiableError,
    ReadonlyStore,
    SqliteStore,
    StoreUnavailableError,
    UnsupportedOperationError,
    WriteonlyStore,
    update,
)


@pytest.fixture
async def children() -> list[ScriptedStore]:
    """A new store, and an archive with objects ``both`` and ``old``."""
    new, archive = scripted(2)
    await archive.put("both", b"archived", attributes={"of": "archive"})
    await archive.put("old", b"archived", attributes={"of": "archive"})
    await new.put("both", b"new")
    await new.put("new", b"new")
    archive.calls.clear()
    return [new, archive]


@pytest.fixture
def store(children: list[ScriptedStore]) -> FallbackStore:
    return FallbackStore(children)


async def test_objects_are_read_from_the_first_child_that_has_them(store: FallbackStore) -> None:
    """With every method that reads."""
    expected = {"both": b"new", "new": b"new", "old": b"archived"}

    assert expected == {key: await store.get(key) for key in expected}
    assert expected == await store.get_many(expected)
    for key, data in expected.items():
        assert len(data) == (await store.head(key)).size
        assert await store.exists(key)
        async with store.open(key) as reader:
            assert data == await reader.read()
    assert {"of": "archive"} == (await store.head("old")).attributes


async def test_listing_is_that_of_all_children_together(store: FallbackStore) -> None:
    """In order, each key once, described as it is read."""
    await store.put("dir/a", b"1")
    await cast(Any, store.stores[1]).put("dir/b", b"2")

    assert ["both", "dir/a", "dir/b", "new", "old"] == [key async for key in store.keys()]
    assert [("both", 3), ("dir/a", 1), ("dir/b", 1), ("new", 3), ("old", 8)] == [
        (info.key, info.size) async for info in store.scan()
    ]
    assert ["both", "dir/", "new", "old"] == [name async for name in store.children()]


async def test_missing_everywhere_is_missing(store: FallbackStore) -> None:
    """All children were read."""
    assert not await store.exists("never")
    with pytest.raises(KeyNotFoundError) as caught:
        await store.get("never")

    assert "never" == caught.value.key


async def test_failing_child_is_passed_over_where_another_has_the_object(
    store: FallbackStore, children: list[ScriptedStore]
) -> None:
    """If no child has it, the failing one may: the error is not that of a missing key."""
    children[0].fail()

    assert b"archived" == await store.get("both")
    assert {"old": b"archived"} == await store.get_many(["old"])
    for reading in (store.get("new"), store.head("new"), store.exists("new")):
        with pytest.raises(StoreUnavailableError):
            await reading
    with pytest.raises(StoreUnavailableError):
        _ = [key async for key in store.keys()]


async def test_range_behind_the_end_is_not_looked_for_elsewhere(store: FallbackStore) -> None:
    """The bytes of another version would be wrong."""
    with pytest.raises(RangeNotSatisfiableError):
        await store.get("both", byte_range=ByteRange(5))


async def test_writes_go_to_the_first_child_only(store: FallbackStore, children: list[ScriptedStore]) -> None:
    """The archive stays as it is; what is written hides what it has."""
    new, archive = children
    before = await contents(archive.base)

    await store.put("old", b"replaced")
    await store.put_many({"a": b"1", "b": b"2"})
    await store.copy("both", "copied")
    await store.rename("copied", "moved")
    await store.delete("new")

    assert before == await contents(archive.base)
    assert {"a": b"1", "b": b"2", "both": b"new", "moved": b"new", "old": b"replaced"} == await contents(new.base)
    assert b"replaced" == await store.get("old")


async def test_copy_brings_an_archived_object_into_the_first_child(
    store: FallbackStore, children: list[ScriptedStore]
) -> None:
    """With its attributes; and a copy to a key of the archive hides what is there."""
    etag = await store.copy("old", "both")

    assert b"archived" == await children[0].base.get("both")
    assert etag == (await store.head("both")).etag
    assert {"of": "archive"} == (await store.head("both")).attributes


@pytest.mark.parametrize("key", ["old", "both"])
async def test_what_the_archive_has_cannot_be_deleted_or_renamed(store: FallbackStore, key: str) -> None:
    """It would still be found in the archive; nothing is changed."""
    for work in (store.delete(key), store.rename(key, "other")):
        with pytest.raises(UnsupportedOperationError, match=r"in children\[1\], which is never written to"):
            await work
    results = await store.delete_many([key, "new"], raise_errors=False)

    assert [UnsupportedOperationError, type(None)] == [type(results[key]), type(results["new"])]
    assert ["both", "old"] == [key async for key in store.keys()]


async def test_conditions_see_all_children(store: FallbackStore) -> None:
    """An object of the archive exists for `if_absent`, and can be replaced with `if_match`."""
    for work in (
        store.put("old", b"x", if_absent=True),
        store.put("new", b"x", if_absent=True),
        store.copy("new", "old", if_absent=True),
        store.rename("new", "old", if_absent=True),
    ):
        with pytest.raises(KeyExistsError):
            await work
    etag = (await store.head("old")).etag
    with pytest.raises(PreconditionFailedError):
        await store.put("old", b"x", if_match="nonsense")
    with pytest.raises(PreconditionFailedError):
        await store.put("both", b"x", if_match=etag)

    await store.put("old", b"swapped", if_match=etag)
    with pytest.raises(PreconditionFailedError):
        await store.put("old", b"again", if_match=etag)

    assert b"swapped" == await store.get("old")
    await store.put("fresh", b"v", if_absent=True)


async def test_update_works_on_what_is_in_the_archive(store: FallbackStore, children: list[ScriptedStore]) -> None:
    """The new version is in the first child, the archive keeps its own."""
    assert b"ARCHIVED" == await update(store, "old", lambda data: (data or b"").upper())

    assert [b"ARCHIVED", b"archived"] == [await child.base.get("old") for child in children]


async def test_values_come_from_all_children_too() -> None:
    """Children may store values; only a copy from one to another is not supported."""
    new, archive = JsonStore(DictStore()), JsonStore(DictStore())
    await archive.put("k", {"a": 1})
    store = FallbackStore([new, archive])

    assert {"a": 1} == await store.get("k")
    with pytest.raises(UnsupportedOperationError, match="use get and put"):
        await store.copy("k", "l")
    await store.put("k", {"a": 2})
    await store.copy("k", "l")
    assert {"a": 2} == await store.get("l")


async def test_values_that_are_missing_are_missing_to_copy() -> None:
    """Copying an object that no child has is KeyNotFoundError."""
    store = FallbackStore([JsonStore(DictStore()), JsonStore(DictStore())])

    with pytest.raises(KeyNotFoundError):
        await store.copy("missing", "copy")


def test_fallback_that_cannot_be_right_is_refused() -> None:
    """When it is built."""
    store = DictStore()
    with pytest.raises(ConfigError, match=r"children\[1\].*cannot be read"):
        FallbackStore([store, WriteonlyStore(DictStore())])
    with pytest.raises(ConfigError, match="the same store twice"):
        FallbackStore([store, store])
    with pytest.raises(ConfigError, match="at least one child"):
        FallbackStore([])


def test_capabilities_are_those_of_what_is_asked() -> None:
    """For writing those of the first child, for reading those of all."""
    read_only = FallbackStore([ReadonlyStore(DictStore()), DictStore()])
    mixed = FallbackStore([DictStore(), SqliteStore(":memory:")])

    assert not read_only.capabilities.writable
    assert FallbackStore([DictStore(), PrefixStore(DictStore(), "a/")]).capabilities.steppable
    assert not mixed.capabilities.steppable


def test_synchronous_fallback(tmp_path: Any) -> None:
    """In storage.sync, stepped if all children can be."""
    archive = storage.sync.FilesystemStore(tmp_path)
    archive.put("old", b"archived")
    store = storage.sync.FallbackStore([storage.sync.DictStore(), archive])

    store.put("new", iter([b"n", b"ew"]))

    assert [b"archived", b"new"] == [store.get("old"), store.get("new")]
    assert ["new", "old"] == list(store.keys())
    assert store.capabilities.steppable
