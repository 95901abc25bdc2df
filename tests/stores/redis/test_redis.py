"""What `RedisStore` promises beyond the contract: time to live, what is in the server, clients, errors, addresses."""

from __future__ import annotations

import asyncio
import math
import re
import subprocess
import sys
import tracemalloc
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
import redis.asyncio
from paths import ROOT
from servers.redis import RedisServer, raw_object, redis_cluster, redis_server

import storage.sync
from storage import (
    ConfigError,
    DictStore,
    GzipStore,
    KeyNotFoundError,
    MirroringStore,
    PermissionDeniedError,
    PrefixStore,
    RedisStore,
    StorageError,
    StoreClosedError,
    StoreFactory,
    StoreFullError,
    StoreUnavailableError,
    open_store,
)
from storage.decorators.expiring.store import ExpiringStore

MIB = 1 << 20


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def raw(server: RedisServer) -> Iterator[redis.Redis]:
    """Give a client that knows nothing of stores, and leave nothing behind."""
    with server.client() as client:
        yield client
        client.flushall()


@pytest.fixture
async def store(server: RedisServer, raw: redis.Redis) -> AsyncIterator[RedisStore]:
    async with RedisStore(server.url, prefix="p") as store:
        yield store


def name(key: str) -> str:
    return f"{{storage:p}}:o:{key}"


def seconds_left(raw: redis.Redis, key: str) -> float | None:
    """Return for how long the server keeps an object, None for ever."""
    left = raw.pttl(name(key))
    return None if left == -1 else left / 1000


async def listed(items: AsyncIterator[str]) -> list[str]:
    return [item async for item in items]


# -- time to live ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [10, 3 * MIB], ids=["small", "streamed"])
async def test_server_removes_what_has_a_time(store: RedisStore, raw: redis.Redis, size: int) -> None:
    """The server counts the time of an object that is put with one; another put without is for ever."""
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
    """When its time is up nothing finds it, it can be created anew, and its name is forgotten when it is listed."""
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
    """While other objects come, the index does not grow with what went."""
    await store.put_many({f"old{number}": b"v" for number in range(200)})
    raw.delete(*(name(f"old{number}") for number in range(200)))

    await store.put_many({f"new{number}": b"v" for number in range(400)})

    assert 400 <= raw.zcard("{storage:p}:keys") < 500
    assert 400 == len(await listed(store.keys()))


async def test_copy_and_rename_keep_the_time(store: RedisStore, raw: redis.Redis) -> None:
    """What lives for a time does so under its new name, too."""
    await store.put("k", b"v", ttl=60)

    await store.copy("k", "copy")
    await store.rename("k", "renamed")

    assert all((seconds_left(raw, key) or 0) > 50 for key in ("copy", "renamed"))


async def test_expiring_store_has_the_server_remove_its_objects(store: RedisStore, raw: redis.Redis) -> None:
    """The deadline of an ExpiringStore, through whatever is between, is the server's too, also when it is copied."""
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
    """The last of several deadlines counts, and for ever is later than all."""
    await ExpiringStore(ExpiringStore(store, ttl=600), ttl=60).put("k", b"v")
    await ExpiringStore(ExpiringStore(store), ttl=60).put("kept", b"v")

    assert 590 < (seconds_left(raw, "k") or 0) <= 600
    assert None is seconds_left(raw, "kept")


async def test_expiring_store_sweeps_only_what_is_not_removed_anyway(store: RedisStore) -> None:
    """Where the server removes what has expired nobody lists it for that; elsewhere somebody does."""
    for stack, tasks in (
        (ExpiringStore(GzipStore(PrefixStore(store, "a/")), ttl=60), 0),
        (ExpiringStore(MirroringStore([store, DictStore()]), ttl=60), 1),
        (ExpiringStore(ExpiringStore(store, sweep_interval=None), ttl=60), 1),
        (ExpiringStore(DictStore(), ttl=60), 1),
    ):
        before = asyncio.all_tasks()
        async with stack:
            names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks() - before]
            assert tasks == names.count("Periodic._run"), stack


async def test_attribute_says_the_time_through_decorators(store: RedisStore, raw: redis.Redis) -> None:
    """expires-in is the way for those who have no ttl to give; what is no number is refused."""
    await PrefixStore(store, "a/").put("k", b"v", attributes={"expires-in": "60"})

    assert 50 < (seconds_left(raw, "a/k") or 0) <= 60
    with pytest.raises(ValueError, match="expires-in"):
        await store.put("k", b"v", attributes={"expires-in": "soon"})
    with pytest.raises(ValueError, match="ttl"):
        await store.put("k", b"v", ttl=0)


# -- what is in the server -------------------------------------------------------------------------------------------


async def test_object_is_one_hash(store: RedisStore, raw: redis.Redis) -> None:
    """Other programs find what docs/redis.md says: the fields, the bytes in chunks of 1 MiB, and the index."""
    data = bytes(range(256)) * 8 * 1024 + b"end"

    etag = await store.put("a/k", data, attributes={"color": "red"})

    fields = cast("dict[bytes, bytes]", raw.hgetall("{storage:p}:o:a/k"))
    assert {b"etag", b"size", b"modified", b"attributes", b"0", b"1", b"2"} == set(fields)
    assert [etag.encode(), b"%d" % len(data), b'{"color":"red"}'] == [
        fields[field] for field in (b"etag", b"size", b"attributes")
    ]
    assert data == b"".join(fields[b"%d" % number] for number in range(3))
    assert [b"a/k"] == raw.zrange("{storage:p}:keys", 0, -1)


async def test_prefixes_are_apart(server: RedisServer, store: RedisStore) -> None:
    """Stores of different prefixes see nothing of each other, also where one begins like the other."""
    async with RedisStore(server.url) as plain, RedisStore(server.url, prefix="pp") as longer:
        await store.put("k", b"1")
        await plain.put("k", b"2")
        await longer.put("k", b"3")
        await plain.clear()

        assert [b"1", b"3"] == [await store.get("k"), await longer.get("k")]
        assert [] == await listed(plain.keys())


@pytest.mark.parametrize("prefix", ["{a", "a}b", "\ud800"])
def test_prefix_without_a_name_of_its_own_is_refused(prefix: str) -> None:
    """Braces would let two prefixes make one name."""
    with pytest.raises(ValueError, match="braces"):
        RedisStore("redis://localhost", prefix=prefix)


async def test_replaced_version_stays_for_its_readers_only(store: RedisStore, raw: redis.Redis) -> None:
    """The version that is being read is kept aside until the last reader is done; without readers nothing is kept."""
    old, new = b"o" * (3 * MIB), b"n" * (3 * MIB)
    await store.put("k", old)

    async with store.open("k") as one:
        async with store.open("k") as other:
            await store.put("k", new)
            assert old == await other.read()
        await store.rename("k", "moved")
        assert 1 == len(cast("list[bytes]", raw.keys("*:v:*")))
        assert old == await one.read()
    await store.put("moved", old)

    assert [b"{storage:p}:keys", b"{storage:p}:o:moved"] == sorted(cast("list[bytes]", raw.keys()))


async def test_large_object_survives_being_renamed_while_it_is_read(store: RedisStore) -> None:
    """A reader goes on with what it has begun."""
    data = uuid.uuid4().bytes * (MIB // 4)
    await store.put("k", data)

    async with store.open("k") as reader:
        first = await reader.read(10)
        await store.rename("k", "renamed")
        await store.put("k", b"other")
        assert data == first + await reader.read()


async def test_version_that_is_gone_is_an_error_of_the_reader(store: RedisStore, raw: redis.Redis) -> None:
    """What expires or is evicted amid reading is no shorter object, and no mixture."""
    await store.put("k", b"v" * (3 * MIB))

    async with store.open("k") as reader:
        await reader.read(10)
        raw.delete(name("k"))
        with pytest.raises(StorageError, match="while it was read") as caught:
            await reader.read()

    assert "k" == caught.value.key


async def test_abandoned_stream_expires(store: RedisStore, raw: redis.Redis) -> None:
    """What a stream has sent so far is nobody's object, and is gone by itself when the writer is."""
    seen: list[object] = []

    async def pieces() -> AsyncIterator[bytes]:
        yield b"x" * (2 * MIB)
        yield b"x" * MIB
        [draft] = cast("list[bytes]", raw.keys("{storage:p}:d:*"))
        seen.extend([3_500_000 < raw.pttl(draft) <= 3_600_000, await listed(store.keys())])
        yield b"end"

    await store.put("k", pieces())

    assert [True, []] == seen
    assert b"x" * (3 * MIB) + b"end" == raw_object(raw, "p", "k")
    assert [] == raw.keys("{storage:p}:d:*")


async def test_stream_whose_beginning_was_lost_is_not_put(store: RedisStore, raw: redis.Redis) -> None:
    """When the server forgets what was sent, for want of memory say, the old object stays and the error says so."""
    await store.put("k", b"old")

    async def pieces() -> AsyncIterator[bytes]:
        yield b"x" * (2 * MIB)
        yield b"x" * MIB
        raw.delete(*cast("list[bytes]", raw.keys("{storage:p}:d:*")))
        yield b"end"

    with pytest.raises(StoreUnavailableError, match="put the object again"):
        await store.put("k", pieces())

    assert b"old" == await store.get("k")


async def test_large_objects_go_in_and_out_in_bounded_memory(store: RedisStore) -> None:
    """Of 40 MiB some few are in memory at a time, on their way in and on their way out."""

    async def pieces() -> AsyncIterator[bytes]:
        for number in range(80):
            yield bytes([number]) * (MIB // 2)

    await store.put("warm", b"v")
    tracemalloc.start()
    try:
        await store.put("k", pieces())
        put = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        async with store.open("k") as reader:
            sizes = [len(piece) async for piece in reader]
        read = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert 40 * MIB == sum(sizes)
    assert put < 12 * MIB
    assert read < 12 * MIB


# -- clients and loops -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decodes", [False, True])
async def test_given_client_is_used_and_stays_open(server: RedisServer, raw: redis.Redis, decodes: bool) -> None:
    """The caller's client serves, also one that makes text of what it reads, and is the caller's to close."""
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
    """A cluster's own client may be given: all that a store has is on one slot, and so on one node."""
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
    """When the store is left the server has no connection of it any more."""
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
    """Used under another loop it says so; closed and opened again it works there."""
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
    """Two processes on one connection would get each other's answers."""
    with monkeypatch.context() as child:
        child.setattr("os.getpid", lambda: -1)
        with pytest.raises(StoreClosedError, match="fork"):
            await store.get("k")


def test_synchronous_face(server: RedisServer, raw: redis.Redis) -> None:
    """Without await it is the same, objects for a time included."""
    with storage.sync.RedisStore(server.url, prefix="p") as store:
        store.put("k", b"v", attributes={"expires-in": "60"})

        assert b"v" == store.get("k")
        assert store.expires("k") is not None
        assert ["k"] == list(store.keys())


def test_program_that_closes_nothing_ends(server: RedisServer, raw: redis.Redis) -> None:
    """A script that never leaves its store ends by itself, without a warning."""
    script = f"""
import storage.sync
store = storage.sync.RedisStore({server.url!r}, prefix="p").__enter__()
store.put("k", b"v")
print(store.get("k"))
"""
    result = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=60)

    assert ("b'v'\n", "", 0) == (result.stdout, result.stderr, result.returncode)


# -- errors ----------------------------------------------------------------------------------------------------------


async def test_wrong_password_is_permission_denied_and_shows_no_secret(raw: redis.Redis) -> None:
    """Who is refused is told so at once, without his password in the text."""
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
    """A user who may only read can read and list, and is told when he writes."""
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
    """A user who may do what docs/redis.md says, and no more, can use the whole store, and nothing outside it."""
    said = (ROOT / "docs" / "redis.md").read_text().partition("A user of the store needs")[2]
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
    """Without room a put fails and changes nothing, be it large or an overwrite; a delete makes room."""
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
    """Put objects until there is no room, and return their keys."""
    kept: list[str] = []
    try:
        while True:
            await store.put(f"k{len(kept)}", b"v" * MIB)
            kept.append(f"k{len(kept)}")
    except StoreFullError:
        return kept


async def test_replica_can_be_read_and_says_that_it_cannot_be_written(raw: redis.Redis) -> None:
    """A replica gives what it has, and a write to it is tried again elsewhere: it is a server that is not ready."""
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


# -- addresses -------------------------------------------------------------------------------------------------------


async def test_open_store_takes_redis_urls(server: RedisServer, raw: redis.Redis) -> None:
    """The address is the store's, the query its options."""
    async with open_store(f"{server.url}?prefix=p&read_timeout=3") as store:
        await store.put("k", b"v")

    assert b"v" == raw_object(raw, "p", "k")
    assert f"RedisStore('{server.url}', prefix='p')" == repr(store)
    assert "RedisStore('rediss://example.org/2')" == repr(open_store("rediss://me:secret@example.org/2"))
    with pytest.raises(ConfigError) as caught:
        open_store("redis://me:secret@example.org/2?prefix={")
    assert "secret" not in str(caught.value)


def test_configuration_builds_it(tmp_path: Path) -> None:
    """In YAML it has its short name and its options."""
    path = tmp_path / "stores.yaml"
    path.write_text("stores:\n  cache: {type: redis, config: {url: 'redis://example.org', prefix: a}}\nmain: cache\n")

    assert "RedisStore('redis://example.org', prefix='a')" == repr(StoreFactory(path).build())


@pytest.mark.parametrize("url", ["http://me:secret@example.org", "localhost:6379", "redis://me:secret@example.org:x"])
def test_other_addresses_are_refused(url: str) -> None:
    """What is no address of a Redis server is a ValueError that shows no secret."""
    with pytest.raises(ValueError, match="redis://host:port") as caught:
        RedisStore(url)

    assert "secret" not in str(caught.value)
