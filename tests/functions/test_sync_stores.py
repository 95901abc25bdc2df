"""`sync_stores`: the target holds the source's objects, and only different ones were copied."""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Literal, TypeAlias

import pytest
from contents import contents
from examples import MinimalStore

import storage.sync
from storage import (
    Change,
    DictStore,
    FilesystemStore,
    ObjectInfo,
    ObjectReader,
    ObjectStore,
    Progress,
    SqliteStore,
    StorageError,
    StoreDecorator,
    StoreUnavailableError,
    UnsupportedOperationError,
    sync_stores,
)

Compare = Literal["checksum", "etag", "size"]
Opened: TypeAlias = AbstractAsyncContextManager[ObjectReader]


async def filled(store: ObjectStore, objects: dict[str, bytes]) -> ObjectStore:
    await store.put_many(objects)
    return store


async def told(
    source: ObjectStore, target: ObjectStore, *, compare: Compare = "checksum", delete: bool = False
) -> list[tuple[str, str]]:
    """Run `sync_stores` and return the changes."""
    changes: list[Change] = []
    await sync_stores(source, target, compare=compare, on_change=changes.append, concurrency=1)
    return [(change.action, change.key) for change in changes]


@pytest.mark.parametrize("compare", ["checksum", "etag"])
async def test_what_is_missing_or_different_is_copied_and_nothing_else(compare: Compare, tmp_path: Path) -> None:
    """Missing and different objects are copied, also those of the same size; a second run does nothing."""
    source = await filled(DictStore(), {"a": b"1", "b": b"22", "c": b"333", "d": b""})
    async with SqliteStore(tmp_path / "target.db") as target:
        await sync_stores(await filled(DictStore(), {"a": b"1", "x": b"own"}), target)
        await sync_stores(source, target, compare=compare)
        await source.put("b", b"99")
        await source.put("e", b"new")

        assert [("replace", "b"), ("create", "e")] == await told(source, target, compare=compare)
        assert [] == await told(source, target, compare=compare)
        assert {"a": b"1", "b": b"99", "c": b"333", "d": b"", "e": b"new", "x": b"own"} == await contents(target)


async def test_delete_makes_the_target_the_same() -> None:
    """`delete` deletes only keys with the prefix; without `delete` nothing is deleted."""
    source = await filled(DictStore(), {"in/a": b"1"})
    target = await filled(DictStore(), {"in/a": b"1", "in/b": b"2", "out": b"3"})

    kept = await sync_stores(source, target, prefix="in/")
    assert (0, ["in/a", "in/b", "out"]) == (kept.deleted, [key async for key in target.keys()])

    reached = await sync_stores(source, target, delete=True, prefix="in/")
    assert Progress(skipped=1, deleted=1, key="in/b") == reached
    assert ["in/a", "out"] == [key async for key in target.keys()]


async def test_object_that_came_since_the_listing_is_not_deleted() -> None:
    """Before a delete the source is checked again: another writer may have put the object into both."""

    class Late(StoreDecorator):
        async def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
            async for info in super().scan(prefix, start_after=start_after):
                if info.key != "late":
                    yield info

    objects = {"a": b"1", "late": b"2"}
    source, target = await filled(DictStore(), objects), await filled(DictStore(), objects)
    await sync_stores(Late(source), target, delete=True)

    assert objects == await contents(target)


async def test_dry_run_tells_all_and_does_nothing() -> None:
    """A dry run reports the same numbers and changes as the real run after it."""
    source = await filled(DictStore(), {"a": b"1", "b": b"22"})
    target = await filled(DictStore(), {"b": b"33", "c": b"44"})
    before = await contents(target)
    dry: list[Change] = []
    reached = await sync_stores(source, target, delete=True, dry_run=True, on_change=dry.append)
    assert before == await contents(target)

    real: list[Change] = []
    assert reached == await sync_stores(source, target, delete=True, on_change=real.append)
    assert dry == real
    assert [
        Change("create", "a", 1, "not in the target"),
        Change("replace", "b", 2, "other bytes"),
        Change("delete", "c", 2, "not in the source"),
    ] == sorted(real, key=lambda change: change.key)
    assert await contents(source) == await contents(target)


async def test_etag_reads_nothing_that_did_not_change() -> None:
    """The etag is stored with the copy, and the next run reads no objects."""
    source = await filled(DictStore(), {"a": b"1", "b": b"2"})
    target = DictStore()
    await sync_stores(source, target, compare="etag")
    read: list[str] = []

    class Read(StoreDecorator):
        def open(self, key: str, *, byte_range: storage.ByteRange | None = None) -> Opened:
            read.append(key)
            return super().open(key, byte_range=byte_range)

        def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
            return self.base.scan(prefix, start_after=start_after)

    await source.put("b", b"3")
    await sync_stores(Read(source), target, compare="etag")

    assert ["b"] == read
    assert {"a": b"1", "b": b"3"} == await contents(target)


async def test_etag_notices_that_somebody_wrote_to_the_target() -> None:
    """Another writer's put clears the stored etag, so that the object is copied again."""
    source, target = await filled(DictStore(), {"a": b"1"}), DictStore()
    await sync_stores(source, target, compare="etag")
    await target.put("a", b"x")

    assert [("replace", "a")] == await told(source, target, compare="etag")
    assert b"1" == await target.get("a")


async def test_size_does_not_look_into_objects() -> None:
    """With ``compare='size'`` objects of the same size are taken as equal."""
    source = await filled(DictStore(), {"a": b"1", "b": b"22"})
    target = await filled(DictStore(), {"a": b"x", "b": b"2"})

    assert [("replace", "b")] == await told(source, target, compare="size")


async def test_attributes_that_changed_are_a_change() -> None:
    """Different attributes are a difference, except the etag that an earlier run stored."""
    source, target = DictStore(), DictStore()
    await source.put("a", b"1", attributes={"content-type": "text/plain"})
    await sync_stores(source, target, compare="etag")
    assert [] == await told(source, target)

    await source.put("a", b"1", attributes={"content-type": "text/html"})
    assert [("replace", "a")] == await told(source, target)
    assert {"content-type": "text/html"} == dict((await target.head("a")).attributes)


async def test_target_without_attributes() -> None:
    """Without attributes checksums work, and ``compare='etag'`` is an error."""
    source = DictStore()
    await source.put("a", b"1", attributes={"content-type": "text/plain"})
    target = MinimalStore()

    assert [("create", "a")] == await told(source, target)
    assert [] == await told(source, target)
    with pytest.raises(UnsupportedOperationError, match="attributes"):
        await sync_stores(source, target, compare="etag")


async def test_large_objects_are_compared_and_copied(tmp_path: Path) -> None:
    """A different byte far after the start is found."""
    content = bytes(range(256)) * (3 << 12)
    source = await filled(DictStore(), {"a": content})
    target = FilesystemStore(tmp_path)
    await target.put("a", content[:-1] + b"x")

    assert [("replace", "a")] == await told(source, target)
    assert content == await target.get("a")


async def test_sync_goes_on_where_it_stopped() -> None:
    """The first error is raised as it is, and all objects up to the last progress's key are done."""

    class Failing(StoreDecorator):
        def open(self, key: str, *, byte_range: storage.ByteRange | None = None) -> Opened:
            if key == "k50":
                raise StoreUnavailableError("gone for a moment", key=key)
            return super().open(key, byte_range=byte_range)

    source = await filled(DictStore(), {f"k{number:02}": b"%d" % number for number in range(99)})
    target = DictStore()
    seen: list[Progress] = []
    with pytest.raises(StorageError, match="k50"):
        await sync_stores(Failing(source), target, progress=seen.append, concurrency=4)
    assert set(await contents(target)) >= {key async for key in source.keys() if key <= seen[-1].key}

    reached = await sync_stores(source, target, start_after=seen[-1].key, compare="size")
    assert await contents(source) == await contents(target)
    assert 99 == reached.objects + reached.skipped + int(seen[-1].key[1:]) + 1


@pytest.mark.parametrize("wrong", [{"compare": "date"}, {"concurrency": 0}])
async def test_wrong_options_are_named(wrong: dict[str, object]) -> None:
    """An unknown value of `compare` is a ValueError."""
    with pytest.raises(ValueError, match=r"compare|concurrency"):
        await sync_stores(DictStore(), DictStore(), **wrong)  # type: ignore[arg-type]


class ManyStore(MinimalStore):
    """A store that lists any number of objects without holding them."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    async def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        for number in range(self.count):
            yield ObjectInfo(f"{number:08}", 1, "etag")


async def peak(work: Callable[[int], object], count: int) -> int:
    tracemalloc.start()
    try:
        await work(count)  # type: ignore[misc]
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
async def test_memory_does_not_grow_with_the_number_of_keys() -> None:
    """Twenty times as many keys take no more memory."""

    async def work(count: int) -> None:
        await sync_stores(ManyStore(count), ManyStore(count), compare="size", dry_run=True)

    await work(100)  # what is made at first use
    few, many = await peak(work, 1000), await peak(work, 20_000)

    assert many < 2 * few + 100_000


def test_sync_face_syncs_too() -> None:
    """Callbacks of the synchronous function run in the caller's thread."""
    source, target = storage.sync.DictStore(), storage.sync.SqliteStore(":memory:")
    changes: list[Change] = []
    source.put("a", b"1")
    with target:
        reached = storage.sync.sync_stores(source, target, delete=True, on_change=changes.append)

        assert b"1" == target.get("a")
    assert (1, [("create", "a")]) == (reached.objects, [(change.action, change.key) for change in changes])


async def test_version_that_was_put_since_the_listing_is_not_deleted() -> None:
    """It may be an object that the source gets next, or somebody else's."""
    source, base = DictStore(), DictStore()
    await base.put_many({"k": b"old", "l": b"old"})

    class Interrupted(StoreDecorator):
        async def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
            async for info in self.base.scan(prefix, start_after=start_after):
                if info.key == "k":
                    await self.base.put("k", b"new")
                yield info

    progress = await sync_stores(source, Interrupted(base), delete=True)
    assert (1, 1) == (progress.deleted, progress.skipped)
    assert [("k", b"new")] == [(key, await base.get(key)) async for key in base.keys()]
