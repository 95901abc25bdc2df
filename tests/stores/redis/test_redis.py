"""`RedisStore`: clients, event loops, addresses."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
import redis.asyncio
from servers.redis import RedisServer, raw_object, redis_cluster

import storage.sync
from storage import ConfigError, RedisStore, StoreClosedError, StoreFactory, open_store
from storage.testing.suite.harness import listed

MIB = 1 << 20


# -- clients and loops -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decodes", [False, True])
async def test_given_client_is_used_and_stays_open(server: RedisServer, raw: redis.Redis, decodes: bool) -> None:
    """The caller's client is used, also one that decodes replies, and stays open."""
    client = redis.asyncio.Redis(host="127.0.0.1", port=server.port, decode_responses=decodes)
    async with RedisStore(client=client, prefix="p") as store:
        await store.put("k", b"\xff\x00")
        await store.put_many({"l": b"\xfe", "m": b""})
        assert b"\xff\x00" == await store.get("k")
        assert {"l": b"\xfe", "m": b""} == await store.get_many(["l", "m"])
        assert ["k", "l", "m"] == await listed(store.keys())

    assert await client.ping()
    await client.aclose()


async def test_client_of_a_cluster_serves(tmp_path: Path, raw: redis.Redis) -> None:
    """A client of a cluster works: all keys of a store are in one slot, and so on one node."""
    objects = {f"k{number}": b"%d" % number for number in range(50)}
    with redis_cluster(tmp_path) as node:
        async with (
            redis.asyncio.RedisCluster(host="127.0.0.1", port=node.port) as client,
            RedisStore(client=client, prefix="p") as store,
        ):
            await store.put_many({**objects, "large": b"v" * (3 * MIB)})
            await store.rename("large", "renamed")
            await store.copy("renamed", "copy")

            assert objects == await store.get_many(objects)
            assert b"v" * (3 * MIB) == await store.get("copy")
            assert sorted([*objects, "renamed", "copy"]) == await listed(store.keys())
            await store.clear()
            assert [] == await listed(store.keys())


async def test_nothing_stays_open(server: RedisServer, raw: redis.Redis) -> None:
    """After the store is closed, the server has no connection from it."""
    async with RedisStore(server.url) as store:
        await asyncio.gather(*(store.put(f"k{number}", b"v") for number in range(50)))
        busy = len(raw.client_list())

    async with asyncio.timeout(10):
        while len(raw.client_list()) > 1:  # noqa: ASYNC110  # the server has no event for it
            await asyncio.sleep(0.01)
    assert 1 < busy <= 33
    with pytest.raises(StoreClosedError):
        await store.get("k1")


async def test_store_belongs_to_one_loop_at_a_time(store: RedisStore, server: RedisServer) -> None:
    """Under another loop it raises an error; closed and opened there, it works."""
    with pytest.raises(StoreClosedError, match="event loop"):
        await asyncio.to_thread(asyncio.run, store.get("k"))

    again = RedisStore(server.url, prefix="p")

    async def use(data: bytes) -> bytes:
        async with again:
            await again.put("k", data)
            return await again.get("k")

    for data in (b"one", b"two"):
        assert data == await asyncio.to_thread(asyncio.run, use(data))


async def test_child_of_a_fork_is_told_to_make_another(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes on one connection would get each other's replies."""
    with monkeypatch.context() as child:
        child.setattr("os.getpid", lambda: -1)
        with pytest.raises(StoreClosedError, match="fork"):
            await store.get("k")


def test_synchronous_face(server: RedisServer, raw: redis.Redis) -> None:
    """The synchronous store does the same, including ttl."""
    with storage.sync.RedisStore(server.url, prefix="p") as store:
        store.put("k", b"v", attributes={"expires-in": "60"})

        assert b"v" == store.get("k")
        assert store.expires("k") is not None
        assert ["k"] == list(store.keys())


def test_program_that_closes_nothing_ends(server: RedisServer, raw: redis.Redis) -> None:
    """A script that never closes its store exits without a warning."""
    script = f"""
import storage.sync
store = storage.sync.RedisStore({server.url!r}, prefix="p").__enter__()
store.put("k", b"v")
print(store.get("k"))
"""
    result = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=60)

    assert ("b'v'\n", "", 0) == (result.stdout, result.stderr, result.returncode)


# -- addresses -------------------------------------------------------------------------------------------------------


async def test_open_store_takes_redis_urls(server: RedisServer, raw: redis.Redis) -> None:
    """The address is the URL of the store; the query has its options."""
    async with open_store(f"{server.url}?prefix=p&read_timeout=3") as store:
        await store.put("k", b"v")

    assert b"v" == raw_object(raw, "p", "k")
    assert f"RedisStore('{server.url}', prefix='p')" == repr(store)
    assert "RedisStore('rediss://example.org/2')" == repr(open_store("rediss://me:secret@example.org/2"))
    with pytest.raises(ConfigError) as caught:
        open_store("redis://me:secret@example.org/2?prefix={")
    assert "secret" not in str(caught.value)


def test_configuration_builds_it(tmp_path: Path) -> None:
    """In YAML the store has its short name and its options."""
    path = tmp_path / "stores.yaml"
    path.write_text("stores:\n  cache: {type: redis, config: {url: 'redis://example.org', prefix: a}}\nmain: cache\n")

    assert "RedisStore('redis://example.org', prefix='a')" == repr(StoreFactory(path).build())


@pytest.mark.parametrize("url", ["http://me:secret@example.org", "localhost:6379", "redis://me:secret@example.org:x"])
def test_other_addresses_are_refused(url: str) -> None:
    """A URL that is not one of Redis is a ValueError that shows no secret."""
    with pytest.raises(ValueError, match="redis://host:port") as caught:
        RedisStore(url)

    assert "secret" not in str(caught.value)
