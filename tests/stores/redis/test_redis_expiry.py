"""Time to live in `RedisStore`: the server removes expired objects."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime, timedelta

import pytest
import redis.asyncio
from redis_tools import name

from storage import (
    CachingStore,
    DictStore,
    GzipStore,
    KeyNotFoundError,
    MirroringStore,
    PrefixStore,
    RedisStore,
    TieredStore,
    copy_store,
)
from storage.decorators.expiring.store import ExpiringStore
from storage.testing.suite.harness import listed

MIB = 1 << 20


def seconds_left(raw: redis.Redis, key: str) -> float | None:
    """Return how long the server keeps an object, None for ever."""
    left = raw.pttl(name(key))
    return None if left == -1 else left / 1000


@pytest.mark.parametrize("size", [10, 3 * MIB], ids=["small", "streamed"])
async def test_server_removes_what_has_a_time(store: RedisStore, raw: redis.Redis, size: int) -> None:
    """The server applies the ttl of an object; a later put without ttl never expires."""
    await store.put("k", b"v" * size, ttl=timedelta(minutes=1))
    left = seconds_left(raw, "k")
    expires = await store.expires("k")

    assert left is not None
    assert 50 < left <= 60
    assert expires is not None
    assert timedelta(seconds=50) < expires - datetime.now(UTC) <= timedelta(seconds=60)

    await store.put("k", b"v" * size)
    assert (None, None) == (seconds_left(raw, "k"), await store.expires("k"))
    await store.put("k", b"v", ttl=math.inf)
    assert None is seconds_left(raw, "k")
    with pytest.raises(KeyNotFoundError):
        await store.expires("missing")


async def test_expired_object_is_gone_for_every_method(store: RedisStore, raw: redis.Redis) -> None:
    """After expiry no method finds it, it can be created again, and a listing removes its name from the index."""
    await store.put("a", b"1")
    await store.put("k", b"v", ttl=60)
    await store.put("z", b"2")
    raw.pexpire(name("k"), 0)

    assert not await store.exists("k")
    assert isinstance((await store.get_many(["k"]))["k"], KeyNotFoundError)
    assert 3 == raw.zcard("{storage:p}:keys")
    assert ["a", "z"] == await listed(store.keys())
    assert ["a", "z"] == [info.key async for info in store.scan()]
    assert 2 == raw.zcard("{storage:p}:keys")
    await store.put("k", b"new", if_absent=True)
    assert ["a", "k", "z"] == await listed(store.keys())


async def test_names_of_what_expired_are_forgotten_though_nobody_lists(store: RedisStore, raw: redis.Redis) -> None:
    """Expired names leave the index when other objects are put."""
    await store.put_many({f"old{number}": b"v" for number in range(200)})
    raw.delete(*(name(f"old{number}") for number in range(200)))

    await store.put_many({f"new{number}": b"v" for number in range(400)})

    assert 400 <= raw.zcard("{storage:p}:keys") < 500
    assert 400 == len(await listed(store.keys()))


async def test_copy_and_rename_keep_the_time(store: RedisStore, raw: redis.Redis) -> None:
    """The ttl also applies to the new name."""
    await store.put("k", b"v", ttl=60)

    await store.copy("k", "copy")
    await store.rename("k", "renamed")

    assert all((seconds_left(raw, key) or 0) > 50 for key in ("copy", "renamed"))


async def test_expiring_store_has_the_server_remove_its_objects(store: RedisStore, raw: redis.Redis) -> None:
    """The server applies the deadline of an ExpiringStore, through decorators between, also to copies."""
    async with ExpiringStore(GzipStore(PrefixStore(store, "a/")), ttl=60) as expiring:
        await expiring.put("k", b"v")
        await expiring.put("longer", b"v", ttl=3600)
        await expiring.put("for ever", b"v", ttl=math.inf)
        await expiring.copy("k", "copy")
        await expiring.put_many({"many": b"v"})

    assert {"k": 60, "longer": 3600, "for ever": None, "copy": 60, "many": 60} == {
        key: left and round(left, -1)
        for key in ("k", "longer", "for ever", "copy", "many")
        for left in [seconds_left(raw, f"a/{key}")]
    }


async def test_server_keeps_what_one_of_two_expiring_stores_takes_for_alive(
    store: RedisStore, raw: redis.Redis
) -> None:
    """The last of several deadlines applies, and no deadline is later than any."""
    await ExpiringStore(ExpiringStore(store, ttl=600), ttl=60).put("k", b"v")
    await ExpiringStore(ExpiringStore(store), ttl=60).put("kept", b"v")

    assert 590 < (seconds_left(raw, "k") or 0) <= 600
    assert None is seconds_left(raw, "kept")


async def test_expiring_store_sweeps_only_what_is_not_removed_anyway(store: RedisStore) -> None:
    """If the server removes expired objects, no sweep lists them; otherwise a sweep does."""
    for stack, tasks in (
        (ExpiringStore(GzipStore(PrefixStore(store, "a/")), ttl=60), 0),
        (ExpiringStore(MirroringStore([store, DictStore()]), ttl=60), 1),
        (ExpiringStore(ExpiringStore(store, sweep_interval=None), ttl=60), 1),
        (ExpiringStore(DictStore(), ttl=60), 1),
    ):
        before = asyncio.all_tasks()
        async with stack:
            names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks() - before]
            assert tasks == names.count("Sweeper._run"), stack


async def test_attribute_says_the_time_through_decorators(store: RedisStore, raw: redis.Redis) -> None:
    """expires-in is for callers without a ttl parameter; a value that is no number is refused."""
    await PrefixStore(store, "a/").put("k", b"v", attributes={"expires-in": "60"})

    assert 50 < (seconds_left(raw, "a/k") or 0) <= 60
    with pytest.raises(ValueError, match="expires-in"):
        await store.put("k", b"v", attributes={"expires-in": "soon"})
    with pytest.raises(ValueError, match="ttl"):
        await store.put("k", b"v", ttl=0)


async def test_every_description_tells_when_the_object_expires(store: RedisStore, raw: redis.Redis) -> None:
    """By the server's clock; a copy keeps it, a put without a time removes it, and other programs may shorten it."""
    ends = {}
    for key, options in {"a": {"ttl": 60}, "b": {"attributes": {"expires-in": "60"}}, "c": {}}.items():
        await store.put(key, b"v" * (3 * MIB if key == "a" else 1), **options)  # type: ignore[arg-type]
        ends[key] = (await store.head(key)).expires
    assert None is ends["c"]
    for key in "ab":
        end = ends[key]
        assert end is not None
        assert timedelta(seconds=50) < end - datetime.now(UTC) <= timedelta(seconds=61)
    await store.copy("a", "copy")
    await store.rename("b", "renamed")
    ends["copy"], ends["renamed"] = ends["a"], ends.pop("b")
    assert ends == {info.key: info.expires async for info in store.scan()}
    for key in ends:
        async with store.open(key) as reader:
            assert await store.head(key) == reader.info
            assert await reader.read()

    raw.pexpire(name("renamed"), 10_000)
    raw.pexpire(name("c"), 10_000)
    for key in ("renamed", "c"):
        async with store.open(key) as reader:
            assert reader.info.expires is not None
            assert reader.info.expires - datetime.now(UTC) <= timedelta(seconds=11)
    await store.put("copy", b"v")
    assert None is (await store.head("copy")).expires


async def test_caches_return_nothing_that_the_server_has_removed(store: RedisStore, raw: redis.Redis) -> None:
    """Whichever way the time was set; copies between servers and stores keep it, too."""
    caches = [CachingStore(store, DictStore()), TieredStore([DictStore(), DictStore(), store])]
    await store.put("ttl", b"v", ttl=0.3)
    await GzipStore(store).put("attribute", b"v", attributes={"expires-in": "0.3"})
    await store.put("by another", b"v")
    raw.pexpire(name("by another"), 300)
    backup = DictStore()
    await copy_store(store, backup)
    caches.append(CachingStore(ExpiringStore(backup), DictStore()))
    for cache in caches:
        for key in ("ttl", "attribute", "by another"):
            assert await cache.get(key)
    await asyncio.sleep(0.32)  # the server counts in whole milliseconds

    for cache in caches:
        for key in ("ttl", "attribute", "by another"):
            assert not await cache.exists(key), (cache, key)
            with pytest.raises(KeyNotFoundError):
                await cache.get(key)


async def test_copy_in_a_server_expires_with_its_original(store: RedisStore, raw: redis.Redis) -> None:
    """Its time does not begin anew."""
    source = ExpiringStore(DictStore(), 60)
    await source.put("k", b"v", attributes={"expires-in": "60"})
    await source.touch("k", ttl=20)
    await copy_store(source, store)
    left = seconds_left(raw, "k")
    assert left is not None
    assert 10 < left <= 20
