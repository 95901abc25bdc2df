"""What a cache returns, what it stores and what it deletes."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from contents import opened
from doubles import ScriptedStore
from examples import MinimalStore

import storage.sync
from storage import (
    ByteRange,
    CacheStats,
    CachingStore,
    ConfigError,
    DictStore,
    ExpiringStore,
    FilesystemStore,
    GzipStore,
    JsonStore,
    ObjectInfo,
    ObjectReader,
    ObjectStore,
    PrefixStore,
    RangeNotSatisfiableError,
    ReadonlyStore,
    RedisStore,
    SqliteStore,
    StackWarning,
    StoreDecorator,
    TieredStore,
    WriteonlyStore,
)
from storage._core.traits import Trait
from storage.decorators.caching.entry import Entry


@pytest.fixture
def main() -> ScriptedStore:
    """Return the store that has the objects."""
    return ScriptedStore(DictStore())


async def held(store: ObjectStore) -> list[str]:
    return [key async for key in store.keys()]


def read_from(main: ScriptedStore) -> int:
    """Return how often an object was read from the store."""
    return main.count("open") + main.count("get")


# -- what is read twice is read once -----------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"v", b"", b"storage-cache 1 ", b"x" * 100_000])
async def test_second_read_does_not_ask_the_main_store(main: ScriptedStore, data: bytes) -> None:
    """However the object is read, and even if it is empty."""
    await main.base.put("k", data, attributes={"color": "red"})
    store = CachingStore(main, DictStore())
    assert data == await store.get("k")
    main.calls.clear()

    assert [data, data] == [await store.get("k"), await opened(store, "k")]
    assert await main.base.head("k") == await store.head("k")
    assert await store.exists("k")
    assert data[:3] == await store.get("k", byte_range=ByteRange(0, 3))
    assert [] == main.calls
    assert CacheStats(hits=5, misses=1) == store.stats


@pytest.mark.parametrize("cache", [DictStore, MinimalStore, lambda: GzipStore(MinimalStore())])
async def test_cached_object_is_described_as_by_the_main_store(
    main: ScriptedStore, cache: Callable[[], ObjectStore]
) -> None:
    """A cache store without etags, times and attributes keeps the main store's; the etag can be used for conditions."""
    etag = await main.base.put("k", b"v", attributes={"content-type": "text/plain", "origin": "Zürich 🧀"})
    store = CachingStore(main, cache())
    await store.get("k")

    async with store.open("k") as reader:
        assert await main.base.head("k") == reader.info == await store.head("k")
    assert etag == reader.info.etag
    await store.put("k", b"w", if_match=reader.info.etag)
    assert b"w" == await main.base.get("k")


async def test_range_of_what_is_not_cached_is_read_as_such(main: ScriptedStore) -> None:
    """Reading a part does not read the whole object. Parts of a cached object are cut from it; ranges are checked."""
    await main.base.put("k", b"0123456789")
    store = CachingStore(main, cache := DictStore())

    assert b"345" == await store.get("k", byte_range=ByteRange(3, 6))
    async with store.open("k", byte_range=ByteRange.suffix(2)) as reader:
        assert b"89" == await reader.read()
    assert [] == await held(cache)

    await store.get("k")
    main.calls.clear()
    assert b"345" == await store.get("k", byte_range=ByteRange(3, 6))
    async with store.open("k", byte_range=ByteRange.suffix(2)) as reader:
        assert (b"89", 10) == (await reader.read(), reader.info.size)
    with pytest.raises(RangeNotSatisfiableError) as caught:
        await store.get("k", byte_range=ByteRange(11))
    assert ("k", []) == (caught.value.key, main.calls)


async def test_large_object_is_streamed_past_the_cache(main: ScriptedStore) -> None:
    """`open` does not read it into memory and `get` does not cache it; its size is looked up only once."""
    await main.base.put("k", b"0123456789")
    store = CachingStore(main, cache := DictStore(), max_object_size=9)
    assert b"0123456789" == await opened(store, "k")
    main.calls.clear()

    assert b"0123456789" == await opened(store, "k")
    assert 1 == main.count("open")
    assert b"0123456789" == await store.get("k")
    assert [] == await held(cache)

    await store.put("k", b"012345678")
    assert b"012345678" == await opened(store, "k")
    assert ["k"] == await held(cache)


class _BoundlessReader(ObjectReader):
    """A tebibyte, of which some bytes can be read."""

    async def read(self, size: int = -1, /) -> bytes:
        assert size > 0, "it is collected"
        return bytes(size)


async def test_object_larger_than_memory_is_opened(main: ScriptedStore) -> None:
    """It is never read as a whole."""

    class BoundlessStore(StoreDecorator):
        """A store that reports a very large size for each object."""

        @asynccontextmanager
        async def open(self, key: str, *, byte_range: ByteRange | None = None) -> AsyncIterator[ObjectReader]:
            yield _BoundlessReader(ObjectInfo(key, 1 << 40, "1"))

    async with CachingStore(BoundlessStore(main), DictStore()).open("k") as reader:
        assert (1 << 40, b"\0\0\0") == (reader.info.size, await reader.read(3))


async def test_object_that_others_open_is_read_whole_by_get(main: ScriptedStore) -> None:
    """`open` does not read a large object into memory; a concurrent `get` does."""
    await main.base.put("k", b"0123456789")
    store = CachingStore(main, DictStore(), max_object_size=9)
    gate = main.hold("open")
    opening = asyncio.create_task(opened(store, "k"))
    await gate.reached()
    getting = asyncio.create_task(store.get("k"))
    gate.open()

    assert [b"0123456789", b"0123456789"] == [await opening, await getting]


async def test_listings_are_the_main_stores(main: ScriptedStore) -> None:
    """A listing does not depend on what is cached."""
    store = CachingStore(main, DictStore())
    await store.put("a/k", b"v")
    await store.get("a/k")
    await main.base.delete("a/k")
    await store.put("b", b"")
    await store.get("b")
    await main.base.put("b", b"longer")

    assert ["b"] == [key async for key in store.keys()]
    assert [6] == [info.size async for info in store.scan()]
    assert ["b"] == [name async for name in store.children()]


@pytest.mark.parametrize("max_count", [None, 10])
async def test_key_that_the_cache_cannot_hold_is_read_all_the_same(
    main: ScriptedStore, tmp_path: Path, max_count: int | None
) -> None:
    """A directory supports fewer keys than a dict; that is not counted as an error, and other keys are cached."""
    store = CachingStore(main, FilesystemStore(tmp_path), max_count=max_count)
    objects = {key: key.encode() for key in ("a//b", "../c", "d", "d/e")}
    await store.put_many(objects)
    for key, data in objects.items():
        await store.put(key, data)

        assert [data, data] == [await store.get(key), await store.get(key)]
    await store.delete("a//b")

    assert not await store.exists("a//b")
    assert 0 == store.stats.errors
    assert ["d"] == await held(FilesystemStore(tmp_path))


# -- what is in the cache store ----------------------------------------------------------------------------------------


async def test_damaged_entry_is_a_miss(main: ScriptedStore) -> None:
    """Whichever byte is wrong or missing, the object is read from the main store, and the entry is replaced."""
    await main.base.put("k", b"value", attributes={"color": "red"})
    store = CachingStore(main, cache := DictStore())
    await store.get("k")
    good = await cache.get("k")
    damaged = [good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :] for at in range(len(good))]
    damaged += [good[:at] for at in range(len(good))] + [good + b"x", b"x" + good, b"", good * 2]

    for bad in damaged:
        await cache.put("k", bad)
        assert (b"value", good) == (await store.get("k"), await cache.get("k")), bad

    assert len(damaged) == store.stats.errors
    assert 0 == store.stats.hits


async def test_entry_of_another_key_is_a_miss(main: ScriptedStore) -> None:
    """Even if the entry is intact, and its key has the same beginning."""
    for key in ("k", "k2", 'k"', "é"):
        await main.base.put(key, key.encode())
    store = CachingStore(main, cache := DictStore())
    for other in ("k2", 'k"', "é", "k"):
        await store.get(other)
        await cache.put("k", await cache.get(other))

        assert b"k" == await store.get("k")


def test_entry_is_read_as_it_was_written() -> None:
    """Later versions must read a cache on a disk, too: this is the format of an entry."""
    packed = (
        b'storage-cache 1 bc804d3c {"key": "a/b", "size": 3, "etag": "17", '
        b'"modified": "2024-05-06T07:08:09+00:00", "attributes": {"color": "red"}}\nabc'
    )
    entry = Entry.unpack("a/b", packed)

    assert entry is not None
    assert packed == entry.pack()
    assert (b"abc", "17", {"color": "red"}) == (entry.data, entry.info.etag, entry.info.attributes)


async def test_cache_on_a_disk_is_there_the_next_time(main: ScriptedStore, tmp_path: Path) -> None:
    """The next process finds what this one has cached."""
    await main.base.put("k", b"v")
    async with CachingStore(main, SqliteStore(tmp_path / "cache.db")) as store:
        await store.get("k")
    main.calls.clear()

    async with CachingStore(main, SqliteStore(tmp_path / "cache.db")) as store:
        assert b"v" == await store.get("k")
    assert 0 == read_from(main)


# -- among others ------------------------------------------------------------------------------------------------------


async def test_expiring_cache_reads_again_when_the_time_is_up(main: ScriptedStore) -> None:
    """An ExpiringStore over the cache store gives the entries a time to live."""
    await main.base.put("k", b"one")
    cache = ExpiringStore(DictStore(), 60)
    store = CachingStore(main, cache)
    await store.get("k")
    await main.base.put("k", b"two")
    assert b"one" == await store.get("k")

    await cache.put("k", await cache.get("k"), ttl=timedelta(microseconds=1))
    assert b"two" == await store.get("k")


async def test_main_store_and_cache_may_be_parts_of_one(main: ScriptedStore) -> None:
    """Their prefixes keep them apart."""
    store = CachingStore(PrefixStore(main, "objects/"), PrefixStore(main, "cache/"))
    await store.put("k", b"v")
    await store.get("k")

    assert ["cache/k", "objects/k"] == await held(main)
    await store.clear()
    assert [] == await held(main)


async def test_entering_enters_both(tmp_path: Path) -> None:
    """And closes both."""
    main, cache = SqliteStore(tmp_path / "main.db"), SqliteStore(tmp_path / "cache.db")
    store = CachingStore(main, cache)
    async with store:
        await store.put("k", b"v")
        assert b"v" == await store.get("k")
        assert 1 == store.stats.misses

    assert (0, 0) == (main._users, cache._users)


def test_synchronous_face_has_it_all(tmp_path: Path) -> None:
    """Stepped if the stores never wait, else on the loop; the methods of its own are there, too."""
    for cache in (storage.sync.DictStore(), storage.sync.SqliteStore(":memory:")):
        main = storage.sync.DictStore()
        with storage.sync.CachingStore(main, cache, max_count=5, negative=60) as store:
            store.put("k", b"v")
            assert [b"v", b"v"] == [store.get("k"), store.get("k")]
            with store.open("k") as file:
                assert b"v" == file.read()
            store.forget("k")
            store.forget()
            assert isinstance(cache, storage.sync.DictStore) is store.capabilities.steppable
            assert CacheStats(hits=2, misses=1) == store.stats


def test_capabilities_are_the_main_stores(tmp_path: Path) -> None:
    """But several processes see each other's objects only if each read is compared with the main store."""
    main = FilesystemStore(tmp_path)
    able = main.capabilities

    assert able == CachingStore(main, DictStore(), revalidate=0).capabilities
    assert not CachingStore(main, DictStore()).capabilities.multi_process
    assert not CachingStore(main, DictStore(), revalidate=60).capabilities.multi_process
    assert not CachingStore(main, DictStore(), revalidate=0, negative=60).capabilities.multi_process
    assert not CachingStore(main, SqliteStore(":memory:")).capabilities.steppable


def test_repr_shows_both() -> None:
    """As they are given."""
    assert "CachingStore(GzipStore(DictStore()), DictStore())" == repr(
        CachingStore(GzipStore(DictStore()), DictStore())
    )


values: Any = JsonStore(DictStore())


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: CachingStore(WriteonlyStore(DictStore()), DictStore()), "main_store must be readable"),
        (lambda: CachingStore(DictStore(), WriteonlyStore(DictStore())), "cache_store must be readable and writable"),
        (lambda: CachingStore(DictStore(), ReadonlyStore(DictStore())), "cache_store must be readable and writable"),
        (lambda: CachingStore(same := DictStore(), same), "must be different stores"),
        (lambda: CachingStore(values, DictStore()), r"JsonStore\(CachingStore\(\.\.\.\)\)"),
        (lambda: CachingStore(DictStore(), values), "must store bytes"),
        (lambda: CachingStore(GzipStore(DictStore()), DictStore(), revalidate=0), "ExpiringStore over the cache_store"),
    ],
)
def test_cache_that_cannot_work_is_refused(make: Callable[[], ObjectStore], why: str) -> None:
    """The message says what is needed."""
    with pytest.raises(ConfigError, match=why):
        make()


def test_what_is_no_store_is_a_type_error() -> None:
    """A path, say."""
    wrong: Any = "cache"
    with pytest.raises(TypeError, match="cache_store must be a store, not str"):
        CachingStore(DictStore(), wrong)


def test_cache_over_objects_that_expire_untold_is_warned_of() -> None:
    """It would return them after their deadline. Where the main store tells that, or copies expire, it is fine."""

    class ForgettingStore(DictStore):
        """A store whose objects vanish at some time."""

        _traits = frozenset({Trait.FORGETS})

    for make in (
        lambda: CachingStore(PrefixStore(ForgettingStore(), "a/"), DictStore()),
        lambda: TieredStore([DictStore(), ForgettingStore()]),
    ):
        with pytest.warns(
            StackWarning, match="serves objects after their deadline, which ForgettingStore does not tell"
        ):
            make()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        CachingStore(ExpiringStore(DictStore(), 60), DictStore())
        CachingStore(RedisStore(), DictStore())
        CachingStore(CachingStore(DictStore(), ExpiringStore(DictStore(), 60)), ExpiringStore(DictStore(), 10))
