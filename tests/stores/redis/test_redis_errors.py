"""Errors of `RedisStore`: passwords and permissions, a full server, a replica."""

from __future__ import annotations

import re

import pytest
import redis.asyncio
from paths import ROOT
from redis_tools import name
from servers.redis import RedisServer, redis_server

from storage import PermissionDeniedError, RedisStore, StoreFullError, StoreUnavailableError
from storage.testing.suite.harness import listed

MIB = 1 << 20


async def test_wrong_password_is_permission_denied_and_shows_no_secret(raw: redis.Redis) -> None:
    """A refused login fails at once, without the password in the message."""
    with redis_server(password="right") as server:
        for user in ("", ":wrong-secret@", "nobody:wrong-secret@"):
            async with RedisStore(f"redis://{user}127.0.0.1:{server.port}/0") as store:
                with pytest.raises(PermissionDeniedError) as caught:
                    await store.put("k", b"v")
                shown = f"{store!r} {caught.value} {caught.value!r} {caught.value.__cause__!r} {store.url}"
                assert "secret" not in shown
                assert "k" == caught.value.key
        async with RedisStore(f"redis://:right@127.0.0.1:{server.port}/0") as store:
            await store.put("k", b"v")


async def test_user_without_permission_is_denied(server: RedisServer, raw: redis.Redis) -> None:
    """A read-only user can read and list, and gets an error when writing."""
    raw.acl_setuser("reader", enabled=True, passwords=["+pass"], keys=["*"], commands=["+@all", "-@write"])
    async with RedisStore(server.url, prefix="p") as store:
        await store.put("k", b"v" * (3 * MIB))
        await store.put("gone", b"v")
    raw.delete(name("gone"))

    async with RedisStore(f"redis://reader:pass@127.0.0.1:{server.port}/0", prefix="p") as reader:
        assert 3 * MIB == len(await reader.get("k"))
        assert ["k"] == await listed(reader.keys())
        with pytest.raises(PermissionDeniedError):
            await reader.put("k", b"v")
    raw.acl_deluser("reader")


async def test_documented_permissions_are_enough(server: RedisServer, raw: redis.Redis) -> None:
    """A user with only the permissions in docs/stores/redis.md can use the whole store, and nothing outside it."""
    said = (ROOT / "docs" / "stores" / "redis.md").read_text().partition("A user of the store needs")[2]
    commands = [f"+{word.lower()}" for word in re.findall("`([A-Z]+)`", said.partition("One who")[0])]
    raw.acl_setuser("user", enabled=True, passwords=["+pass"], keys=["{storage:p}*"], commands=commands)

    async with RedisStore(f"redis://user:pass@127.0.0.1:{server.port}/0", prefix="p") as store:
        await store.put("large", b"v" * (3 * MIB), ttl=60)
        async with store.open("large") as reader:
            await store.copy("large", "copy")
            await store.rename("large", "renamed")
            assert 3 * MIB == len(await reader.read())
        await store.put_many({"a": b"1", "b": b"2"})
        raw.delete(name("b"))
        assert ["a", "copy", "renamed"] == [info.key async for info in store.scan()]
        assert [True, False] == [await store.exists("a"), await store.exists("b")]
        assert None is not await store.expires("copy")
        await store.delete("a", if_match=(await store.head("a")).etag)
        await store.clear()
    async with RedisStore(f"redis://user:pass@127.0.0.1:{server.port}/0") as outside:
        with pytest.raises(PermissionDeniedError):
            await outside.get("k")
    raw.acl_deluser("user")


async def test_full_server_is_full_and_keeps_what_it_has(raw: redis.Redis) -> None:
    """Without memory a put fails and changes nothing, also a large one or an overwrite; a delete frees memory."""
    with redis_server("--maxmemory", "12mb", "--maxmemory-policy", "noeviction") as server:
        async with RedisStore(server.url) as store:
            kept = await fill(store)

            with pytest.raises(StoreFullError):
                await store.put("k0", b"w" * MIB)
            with pytest.raises(StoreFullError):
                await store.put("k0", b"w" * (5 * MIB))

            assert kept == await listed(store.keys())
            assert {b"v" * MIB} == set((await store.get_many(kept)).values())
            await store.clear()
            await store.put("k", b"works")
            assert b"works" == await store.get("k")


async def fill(store: RedisStore) -> list[str]:
    """Put objects until the memory is full, and return their keys."""
    kept: list[str] = []
    try:
        while True:
            await store.put(f"k{len(kept)}", b"v" * MIB)
            kept.append(f"k{len(kept)}")
    except StoreFullError:
        return kept


async def test_replica_can_be_read_and_says_that_it_cannot_be_written(raw: redis.Redis) -> None:
    """A replica can be read; a write to it is a retryable error: the server is not ready."""
    with redis_server() as server:
        async with RedisStore(server.url, prefix="p", retry_timeout=0) as store:
            await store.put("k", b"v" * (3 * MIB))
            with server.client() as client:
                client.delete(name("gone"))
                client.replicaof("127.0.0.1", 1)

            assert 3 * MIB == len(await store.get("k"))
            assert ["k"] == await listed(store.keys())
            with pytest.raises(StoreUnavailableError, match="not ready") as caught:
                await store.put("k", b"new")

    assert caught.value.retryable
