"""Time to live in `RedisStore`: the server removes expired objects."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime, timedelta

import pytest
import redis.asyncio
from redis_tools import name

from storage import DictStore, GzipStore, KeyNotFoundError, MirroringStore, PrefixStore, RedisStore
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
