"""Objects that expire in the main store: a cache returns no copy of them after their deadline."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from caching_tools import or_none
from doubles import HandClock

from storage import (
    ByteRange,
    CachingStore,
    DictStore,
    ExpiringStore,
    FilesystemStore,
    GzipStore,
    ObjectStore,
    PrefixStore,
    StoreUnavailableError,
    TieredStore,
    UrlEncodingStore,
)
from storage.decorators.caching import entry as caching_entry
from storage.testing import FaultyStore


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> HandClock:
    """Return the clock by which caches and stores expire objects."""
    clock = HandClock()
    monkeypatch.setattr(caching_entry, "CLOCK", clock)
    monkeypatch.setattr("storage.decorators.expiring.expiry.CLOCK", clock)
    return clock


Stack = Callable[[ObjectStore, ObjectStore], ObjectStore]

STACKS: dict[str, Stack] = {
    "cache": CachingStore,
    "through": lambda main, cache: CachingStore(main, cache, write="through"),
    "bounded": lambda main, cache: CachingStore(main, cache, max_count=10),
    "revalidating": lambda main, cache: CachingStore(main, cache, revalidate=0),
    "below others": lambda main, cache: PrefixStore(GzipStore(CachingStore(main, cache)), "a/"),
    "over others": lambda main, cache: CachingStore(UrlEncodingStore(PrefixStore(main, "a/")), cache),
    "over a codec": lambda main, cache: CachingStore(GzipStore(main), cache),
    "cache of a cache": lambda main, cache: CachingStore(CachingStore(main, DictStore()), cache),
    "tiers": lambda main, cache: TieredStore([DictStore(), cache, main], ttl=[1000, None]),
}


async def every_read(store: ObjectStore, key: str) -> list[object]:
    """Return what all ways of reading an object give."""

    async def opened() -> bytes:
        async with store.open(key) as reader:
            return await reader.read()

    size = await or_none(store.head(key))
    many = (await store.get_many([key]))[key]
    return [
        await or_none(store.get(key)),
        await or_none(store.get(key, byte_range=ByteRange(1))),
        await or_none(opened()),
        None if size is None else size.size,
        await store.exists(key) or None,
        None if isinstance(many, Exception) else many,
        [info.key async for info in store.scan()] or None,
    ]


FOUND = [b"secret", b"ecret", b"secret", 6, True, b"secret", ["token"]]


@pytest.mark.parametrize("make", STACKS.values(), ids=list(STACKS))
async def test_copy_is_not_used_after_the_deadline_of_its_object(clock: HandClock, make: Stack) -> None:
    """By no way of reading; and it is there until then. The memory of the copy is free after the first read."""
    main, copies = ExpiringStore(DictStore()), DictStore()
    store = make(main, copies)
    await store.put("token", b"secret", attributes={"expires-in": "60"})
    assert FOUND == await every_read(store, "token")
    clock.go_on(59)
    assert FOUND == await every_read(store, "token")
    clock.go_on(1)
    assert [None] * 7 == await every_read(store, "token")
    assert [] == [key async for key in copies.keys()]


async def test_cache_on_a_disk_keeps_the_deadline(clock: HandClock, tmp_path: Path) -> None:
    """Another process, whose clock was set meanwhile, counts by the time of day."""
    main = ExpiringStore(DictStore(), 60)
    await main.put("token", b"secret")
    async with CachingStore(main, FilesystemStore(tmp_path)) as store:
        assert b"secret" == await store.get("token")
    down = FaultyStore(DictStore())
    down.fail("open")

    async with CachingStore(down, FilesystemStore(tmp_path)) as store:
        assert b"secret" == await store.get("token")
        clock.go_on(60)
        with pytest.raises(StoreUnavailableError):
            await store.get("token")
    assert [] == [key async for key in FilesystemStore(tmp_path).keys()]


async def test_copy_is_not_used_after_its_deadline_even_when_the_main_store_is_down(clock: HandClock) -> None:
    """To use stale copies means old ones, not expired ones."""
    main = FaultyStore(ExpiringStore(DictStore(), 60))
    store = CachingStore(main, DictStore(), revalidate=0, stale_on_error=True)
    await store.put("token", b"secret")
    await store.get("token")
    main.fail("head", "open")
    assert b"secret" == await store.get("token")
    clock.go_on(60)
    with pytest.raises(StoreUnavailableError):
        await store.get("token")


async def test_object_that_lives_longer_now_is_read_anew(clock: HandClock) -> None:
    """A copy ends with the deadline that it was read with; the object has another one since."""
    main = ExpiringStore(DictStore(), 60)
    store = CachingStore(main, DictStore())
    await store.put("token", b"secret")
    await store.get("token")
    await main.touch("token", ttl=600)
    clock.go_on(60)
    assert FOUND == await every_read(store, "token")
    assert b"secret" == await store.get("token")
    clock.go_on(540)
    assert [None] * 7 == await every_read(store, "token")


@pytest.fixture
async def entries() -> tuple[CachingStore, DictStore]:
    """Return a cache and its cache store, with an entry of ``k``."""
    main, copies = DictStore(), DictStore()
    await main.put("k", b"value")
    store = CachingStore(main, copies)
    await store.get("k")
    return store, copies


def sealed(version: bytes, line: bytes, data: bytes = b"value") -> bytes:
    """Return an entry with the right checksum, as somebody makes it who knows the format."""
    line += b"\n"
    return b"storage-cache %s %08x %s" % (version, zlib.crc32(line + data), line + data)


START = b'{"key": "k", "size": 5, "etag": "1", "modified": null, "attributes": '

HOSTILE: dict[str, bytes] = {
    "no JSON": sealed(b"1", b'{"key": "k", "si'),
    "deep": sealed(b"1", b'{"key": "k", "size": ' + b"[" * 100_000),
    "not what it was": sealed(b"1", b'{"key": "k", "size": 5}'),
    "another size": sealed(b"1", START.replace(b"5", b"6") + b"{}}"),
    "a size beyond": sealed(b"1", START.replace(b"5", b"9" * 5000) + b"{}}"),
    "attributes are a list": sealed(b"1", START + b"[]}"),
    "attributes are numbers": sealed(b"1", START + b'{"a": 1}}'),
    "no time": sealed(b"1", START.replace(b"null", b'"soon"') + b"{}}"),
    "a time of no zone": sealed(b"1", START.replace(b"null", b'"2024-05-06T07:08:09"') + b"{}}"),
    "a time that is a number": sealed(b"1", START.replace(b"null", b"7") + b"{}}"),
    "an etag that is none": sealed(b"1", START.replace(b'"1"', b"[]") + b"{}}"),
    "another key after its own": sealed(b"1", START.replace(b'"size"', b'"key": "other", "size"') + b"{}}"),
    "no key after its own": sealed(b"1", START.replace(b'"size"', b'"key": null, "size"') + b"{}}"),
    "no deadline": sealed(b"2", START + b"{}}"),
    "a deadline that is none": sealed(b"2", START + b'{}, "expires": 1}'),
    "no end of the line": b'storage-cache 1 %08x {"key": "k", ' % zlib.crc32(b'{"key": "k", '),
    "another version": sealed(b"3", START + b"{}}"),
}


@pytest.mark.parametrize("bad", HOSTILE.values(), ids=list(HOSTILE))
@pytest.mark.parametrize("revalidate", [None, 0])
async def test_entry_that_cannot_be_read_is_a_miss(
    entries: tuple[CachingStore, DictStore], bad: bytes, revalidate: Any
) -> None:
    """Whatever is wrong in it, although its checksum is right; a good one replaces it."""
    plain, copies = entries
    store = CachingStore(plain.main_store, copies, revalidate=revalidate)
    good = await copies.get("k")
    expected = [b"value", b"alue", b"value", 5, True, b"value", ["k"]]
    await copies.put("k", bad)
    assert 5 == (await store.head("k")).size
    await copies.put("k", bad)
    async with store.open("k") as reader:
        assert b"value" == await reader.read()
    assert good == await copies.get("k")
    assert expected == await every_read(store, "k")


@pytest.mark.parametrize("name", ["expires-by", "expires-at"])
async def test_deadline_among_the_attributes_of_an_entry_counts(
    clock: HandClock, entries: tuple[CachingStore, DictStore], name: str
) -> None:
    """Earlier versions wrote no deadline beside them."""
    store, copies = entries
    deadline = (clock.now() + timedelta(seconds=60)).isoformat().encode()
    await copies.put("k", sealed(b"1", START + b'{"%b": "%b"}}' % (name.encode(), deadline), b"older"))

    assert b"older" == await store.get("k")
    clock.go_on(60)
    assert b"value" == await store.get("k")
    assert b"value" in await copies.get("k")


@pytest.mark.parametrize("options", [{"max_count": 2}, {"max_bytes": 500}, {}], ids=["count", "bytes", "no bound"])
async def test_objects_of_others_in_the_cache_store_stay(options: dict[str, Any]) -> None:
    """Whoever makes room, or empties the cache, deletes copies only. A damaged copy is a copy."""
    main, copies = DictStore(), DictStore()
    theirs = {"a": b"theirs", "m/readme": b"", "z": b"x" * 1000}
    await copies.put_many(theirs)
    await main.put_many({f"k{number}": b"value" for number in range(5)})
    for _ in range(2):  # the second time, nothing is known of the entries that are there
        async with CachingStore(main, copies, **options) as store:
            for number in range(5):
                await store.get(f"k{number}")
            await copies.put("k9", b"storage-cache 1 damaged")
            held = {key async for key in copies.keys()} - set(theirs)
            assert len(held) <= 4 or not options
    async with CachingStore(main, copies, **options) as store:
        await store.forget()

    assert theirs == await copies.get_many([key async for key in copies.keys()])
