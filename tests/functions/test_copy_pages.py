"""`copy_store` with pages of small objects: the results are those of single copies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from examples import MinimalStore

from storage import (
    Attributes,
    ByteRange,
    Data,
    DictStore,
    FilesystemStore,
    GzipStore,
    ObjectStore,
    PrefixStore,
    Progress,
    SqliteStore,
    StorageError,
    StoreFullError,
    copy_store,
)
from storage._concurrency.stepping import step
from storage._core.data import CHUNK, SMALL
from storage.functions.copy_store import PAGE

#: Sizes on both sides of every way in which an object may go.
SIZES = (0, 1, SMALL, SMALL + 1, CHUNK, CHUNK + 1)

KINDS: dict[str, Callable[[Path], ObjectStore]] = {
    "dict": lambda path: DictStore(),
    "files": FilesystemStore,
    "sqlite": lambda path: SqliteStore(f"{path}.db"),
    "decorated": lambda path: PrefixStore(GzipStore(DictStore(), level=0), "below/"),
    "minimal": lambda path: MinimalStore(),
}


async def described(store: ObjectStore) -> dict[str, tuple[bytes, Attributes]]:
    """Return all objects of a store and their attributes, read one by one."""
    return {key: (await store.get(key), (await store.head(key)).attributes) async for key in store.keys()}


@pytest.mark.slow
@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize("source", KINDS)
async def test_every_object_arrives(source: str, target: str, tmp_path: Path) -> None:
    """With more than a page of small objects, and some large ones, bytes, attributes and counts are right."""
    kinds = KINDS[source](tmp_path / "source"), KINDS[target](tmp_path / "target")
    async with AsyncExitStack() as entered:
        ours, theirs = [await entered.enter_async_context(kind) for kind in kinds]
        await ours.put_many({f"{number:04}": b"%d" % number for number in range(2 * PAGE)})
        for size in SIZES:
            await ours.put(f"{size % 7}{size:08}", bytes([size % 251]) * size)
        if ours.capabilities.attributes:
            await ours.put("0007", b"7", attributes={"content-type": "text/plain", "note": "é"})
        seen = list[Progress]()

        last = await copy_store(ours, theirs, progress=seen.append)

        expected = await described(ours)
        found = await described(theirs)
        if not theirs.capabilities.attributes:
            expected = {key: (data, {}) for key, (data, _) in expected.items()}
        assert expected == found
    assert len(expected) == last.objects == len(seen)
    assert sum(len(data) for data, _ in expected.values()) == last.bytes
    assert sorted(progress.key for progress in seen) == [progress.key for progress in seen]
    assert last == seen[-1]


async def test_overrides_are_not_bypassed(tmp_path: Path) -> None:
    """A class that overrides `get` or `put` handles each object."""

    class Louder(DictStore):
        async def get(self, key: str, *, byte_range: ByteRange | None = None) -> bytes:
            return (await super().get(key, byte_range=byte_range)).upper()

    class Longer(SqliteStore):
        async def put(self, key: str, data: Data, **options: Any) -> str:
            assert isinstance(data, bytes)
            return await super().put(key, data + b"!", **options)

    source = Louder()
    await source.put_many({"a": b"a", "b": b"b"})
    async with Longer(tmp_path / "target.db") as target:
        await copy_store(source, target)

        assert {"a": (b"A!", {}), "b": (b"B!", {})} == await described(target)


async def test_what_fails_in_a_page_fails_alone(tmp_path: Path) -> None:
    """If one object does not fit, the error has its key, and the other objects are copied and counted."""
    source = DictStore()
    await source.put_many({"a": b"1", "b": b"x" * SMALL, "c": b"2"})
    seen = list[Progress]()
    async with SqliteStore(tmp_path / "target.db") as target:
        connection = target._opened()._connection
        pages = await connection.run(lambda db: db.execute("PRAGMA page_count").fetchone()[0])
        await connection.run(lambda db: db.execute(f"PRAGMA max_page_count = {pages + 1}").fetchone())

        with pytest.raises(StoreFullError):
            await copy_store(source, target, progress=seen.append)

        assert ["a", "c"] == [key async for key in target.keys()]
    assert [(1, "a"), (2, "a")] == [(progress.objects, progress.key) for progress in seen]


async def test_what_goes_meanwhile_is_skipped(tmp_path: Path) -> None:
    """A key that is deleted after it was listed is skipped."""

    class Forgetful(DictStore):
        async def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
            for key in ("a", "b", "c"):
                yield key

    source, target = Forgetful(), DictStore()
    await source.put_many({"a": b"1", "c": b"3"})

    assert Progress(objects=2, bytes=2, skipped=1, key="c") == await copy_store(source, target)
    assert {"a": (b"1", {}), "c": (b"3", {})} == await described(target)


class Paged(DictStore):
    """Reports when pages are read and written, and writes when it is allowed to."""

    def __init__(self) -> None:
        super().__init__()
        self.read = self.written = 0
        self.changed = asyncio.Condition()
        self.may_write = asyncio.Event()

    async def _get_small(self, keys: Sequence[str]) -> list[tuple[bytes, Attributes] | None]:
        found = await super()._get_small(keys)
        async with self.changed:
            self.read += 1
            self.changed.notify_all()
        return found

    async def _put_small(self, items: Sequence[tuple[str, bytes, Attributes | None]]) -> list[str | StorageError]:
        await self.may_write.wait()
        self.written += 1
        return await super()._put_small(items)


async def test_pages_are_read_while_others_are_written() -> None:
    """Pages are read while others are written, and at most three pages are in memory."""
    source, target = Paged(), Paged()
    await source.put_many({f"{number:05}": b"" for number in range(10 * PAGE)})

    copying = asyncio.create_task(copy_store(source, target))
    async with source.changed:
        await source.changed.wait_for(lambda: source.read == 3)
    for _ in range(100):
        await asyncio.sleep(0)
    assert (3, 0) == (source.read, target.written)
    target.may_write.set()

    assert 10 * PAGE == (await copying).objects
    assert (10, 10) == (source.read, target.written)


async def test_cancelled_copy_is_over() -> None:
    """After a cancellation nothing more is copied, and no task remains."""
    source, target = Paged(), Paged()
    await source.put_many({f"{number:05}": b"" for number in range(10 * PAGE)})
    before = asyncio.all_tasks()

    copying = asyncio.create_task(copy_store(source, target))
    async with source.changed:
        await source.changed.wait_for(lambda: source.read == 3)
    copying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await copying

    assert before == asyncio.all_tasks()
    assert (3, 0) == (source.read, target.written)


async def test_puts_of_all_pages_together_are_bounded() -> None:
    """If the target takes objects one by one, the puts of all pages together stay within *concurrency*."""

    class Counting(DictStore):
        now = most = 0

        async def put(self, key: str, data: Data, **options: Any) -> str:
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(0)
            self.now -= 1
            return await super().put(key, data, **options)

    source, target = DictStore(), Counting()
    await source.put_many({f"{number:05}": b"" for number in range(4 * PAGE)})

    await copy_store(source, target, concurrency=5)

    assert 5 == target.most


def test_pages_can_be_stepped(tmp_path: Path) -> None:
    """A copy between local stores works without an event loop."""
    source, target = DictStore(), FilesystemStore(tmp_path)
    step(source.put_many({f"{number:05}": b"v" for number in range(2 * PAGE)}))

    step(copy_store(source, target))

    assert step(described(source)) == step(described(target))
    assert 2 * PAGE == step(copy_store(target, DictStore())).objects
