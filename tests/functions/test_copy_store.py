"""`copy_store`: what is copied, skipped and counted, and what stops it; for pages see `test_copy_pages`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from contents import contents
from examples import MinimalStore

from storage import (
    ByteRange,
    Data,
    DictStore,
    GzipStore,
    ObjectReader,
    ObjectStore,
    PrefixStore,
    Progress,
    StoreFullError,
    copy_store,
)
from storage._concurrency.stepping import step


class GaugedStore(DictStore):
    """Counts the objects that are open concurrently, and keeps the size of the largest piece read."""

    def __init__(self) -> None:
        super().__init__()
        self.open_now = self.most_open = self.largest_read = 0

    @asynccontextmanager
    async def open(self, key: str, *, byte_range: ByteRange | None = None) -> AsyncIterator[ObjectReader]:
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        try:
            await anyio.lowlevel.checkpoint()
            async with super().open(key, byte_range=byte_range) as reader:
                yield _GaugedReader(reader, self)
        finally:
            self.open_now -= 1


class _GaugedReader(ObjectReader):
    def __init__(self, reader: ObjectReader, store: GaugedStore) -> None:
        super().__init__(reader.info)
        self._reader = reader
        self._store = store

    async def read(self, size: int = -1, /) -> bytes:
        piece = await self._reader.read(size)
        self._store.largest_read = max(self._store.largest_read, len(piece))
        return piece


async def filled(store: ObjectStore, count: int = 40) -> dict[str, bytes]:
    """Put *count* small objects and return what was put."""
    objects = {f"{number:03}": b"%d" % number * number for number in range(count)}
    await store.put_many(objects)
    return objects


async def test_copy_brings_every_object_and_counts() -> None:
    """The result has the number of objects and bytes."""
    source, target = DictStore(), DictStore()
    objects = await filled(source)

    assert Progress(40, sum(map(len, objects.values())), 0, "039") == await copy_store(source, target)
    assert objects == await contents(target)


@pytest.mark.parametrize("reverse", [False, True])
async def test_copy_works_with_a_minimal_user_store(reverse: bool) -> None:
    """A store with five methods without options works as a source and as a target."""
    source, target = (DictStore(), MinimalStore()) if reverse else (MinimalStore(), DictStore())
    objects = await filled(source)

    assert 40 == (await copy_store(source, target)).objects
    assert objects == await contents(target)


async def test_copy_goes_through_stacks() -> None:
    """Through a stack, the counted bytes are those of the decoded data."""
    source, target = DictStore(), GzipStore(PrefixStore(DictStore(), "a/"))
    objects = await filled(source)

    assert sum(map(len, objects.values())) == (await copy_store(source, target)).bytes
    assert objects == await contents(target)


async def test_overwrite_is_the_third_parameter() -> None:
    """`overwrite` can be given by position; objects in the target are replaced unless it is False."""
    source, target = DictStore(), DictStore()
    await source.put("a", b"new")
    await target.put("a", b"old")

    assert Progress(0, 0, 1, "a") == await copy_store(source, target, False)
    assert b"old" == await target.get("a")
    assert Progress(1, 3, 0, "a") == await copy_store(source, target, True)
    assert b"new" == await target.get("a")


async def test_what_is_skipped_is_not_read() -> None:
    """A skipped object is not read, also if the target has no conditional put."""
    source, target = GaugedStore(), MinimalStore()
    await source.put("a", b"new")
    target.objects["a"] = b"old"

    assert 1 == (await copy_store(source, target, overwrite=False)).skipped
    assert 0 == source.most_open
    assert {"a": b"old"} == target.objects


async def test_what_is_made_in_the_target_meanwhile_is_not_overwritten() -> None:
    """An object that is created in the target after the check is not overwritten."""

    class Late(DictStore):
        async def exists(self, key: str) -> bool:
            return False

    source, target = DictStore(), Late()
    await source.put("a", b"new")
    await target.put("a", b"old")

    assert 1 == (await copy_store(source, target, overwrite=False)).skipped
    assert b"old" == await target.get("a")


async def test_what_goes_from_the_source_meanwhile_is_skipped() -> None:
    """An object that is deleted after it was listed is skipped."""

    class Listing(DictStore):
        async def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
            yield "gone"
            yield "here"

    source, target = Listing(), DictStore()
    await source.put("here", b"1")

    assert Progress(1, 1, 1, "here") == await copy_store(source, target)


async def test_prefix_and_start_after_choose_the_keys() -> None:
    """`prefix` and `start_after` select keys, which stay unchanged."""
    source, target = DictStore(), DictStore()
    await source.put_many(dict.fromkeys(["a/1", "a/2", "a/3", "b/1"], b""))

    await copy_store(source, target, prefix="a/", start_after="a/1")

    assert ["a/2", "a/3"] == [key async for key in target.keys()]


async def test_attributes_go_along_where_the_target_keeps_some() -> None:
    """Attributes are copied; a target without attributes gets only the bytes."""
    source, target, minimal = DictStore(), DictStore(), MinimalStore()
    await source.put("a", b"1", attributes={"content-type": "text/plain"})

    await copy_store(source, target)
    await copy_store(source, minimal)

    assert {"content-type": "text/plain"} == (await target.head("a")).attributes
    assert {"a": b"1"} == minimal.objects


async def test_large_objects_are_streamed() -> None:
    """An object of 5 MiB is read in pieces."""
    source, target = GaugedStore(), DictStore()
    large = bytes(5 << 20)
    await source.put("large", large)

    await copy_store(source, target)

    assert 1 << 20 == source.largest_read
    assert large == await target.get("large")


async def test_concurrency_is_bounded() -> None:
    """At most *concurrency* objects are open at the same time."""
    source = GaugedStore()
    await filled(source)

    await copy_store(source, DictStore(), concurrency=3)

    assert 3 == source.most_open


async def test_progress_never_goes_back() -> None:
    """A key is reported only when all objects before it are done, in whatever order they end."""
    source, seen, others_done = GaugedStore(), list[Progress](), anyio.Event()

    class Uneven(DictStore):
        async def put(self, key: str, data: Data, **options: Any) -> str:
            if key == "005":
                await others_done.wait()
            return await super().put(key, data, **options)

    def told(progress: Progress) -> None:
        seen.append(progress)
        if progress.objects == 39:
            others_done.set()

    objects = await filled(source)

    last = await copy_store(source, Uneven(), progress=told)

    assert list(range(1, 41)) == [progress.objects for progress in seen]
    assert sorted(progress.key for progress in seen) == [progress.key for progress in seen]
    assert "004" == seen[-2].key
    assert last == seen[-1]
    assert list(objects)[-1] == last.key


async def test_the_first_error_stops_the_copy_and_passes_as_it_is() -> None:
    """The error has the key of the object, and the copy can continue from the last progress's key."""
    source, seen = DictStore(), list[Progress]()
    objects = await filled(source)

    class Full(DictStore):
        room = True

        async def put(self, key: str, data: Data, **options: Any) -> str:
            if key == "020" and not self.room:
                raise StoreFullError("no room", key=key)
            return await super().put(key, data, **options)

    target = Full()
    target.room = False
    with pytest.raises(StoreFullError) as caught:
        await copy_store(source, target, progress=seen.append)
    target.room = True
    await copy_store(source, target, start_after=seen[-1].key)

    assert "020" == caught.value.key
    assert "019" == max(progress.key for progress in seen)
    assert objects == await contents(target)


async def test_what_the_progress_callback_raises_passes() -> None:
    """A callback may stop the copy with an exception of its own."""
    source = DictStore()
    await filled(source)

    def stop(progress: Progress) -> None:
        if progress.objects == 5:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        await copy_store(source, DictStore(), progress=stop)


async def test_concurrency_below_one_is_refused() -> None:
    """A concurrency of 0 is a ValueError."""
    with pytest.raises(ValueError, match="at least 1"):
        await copy_store(DictStore(), DictStore(), concurrency=0)


def test_copy_never_suspends_when_stepped() -> None:
    """A copy between local stores never suspends, so that it needs no event loop."""
    source, target = DictStore(), GzipStore(DictStore())
    objects = step(filled(source))

    assert 40 == step(copy_store(source, target)).objects
    assert objects == step(contents(target))
