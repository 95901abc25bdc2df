"""The layout of `RedisStore`: a hash for each object, versions and drafts of large objects."""

from __future__ import annotations

import tracemalloc
import uuid
from collections.abc import AsyncIterator
from typing import cast

import pytest
import redis.asyncio
from redis_tools import name
from servers.redis import RedisServer, raw_object

from storage import RedisStore, StorageError, StoreUnavailableError
from storage.testing.suite.harness import listed

MIB = 1 << 20


async def test_object_is_one_hash(store: RedisStore, raw: redis.Redis) -> None:
    """Other programs find the layout of docs/stores/redis.md: fields, bytes in chunks of 1 MiB, and the index."""
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
    """Stores with different prefixes are separate, also if one prefix starts with the other."""
    async with RedisStore(server.url) as plain, RedisStore(server.url, prefix="pp") as longer:
        await store.put("k", b"1")
        await plain.put("k", b"2")
        await longer.put("k", b"3")
        await plain.clear()

        assert [b"1", b"3"] == [await store.get("k"), await longer.get("k")]
        assert [] == await listed(plain.keys())


@pytest.mark.parametrize("prefix", ["{a", "a}b", "\ud800"])
def test_prefix_without_a_name_of_its_own_is_refused(prefix: str) -> None:
    """With braces two prefixes could have the same names."""
    with pytest.raises(ValueError, match="braces"):
        RedisStore("redis://localhost", prefix=prefix)


async def test_replaced_version_stays_for_its_readers_only(store: RedisStore, raw: redis.Redis) -> None:
    """A replaced version is kept until its last reader is done; without readers it is removed."""
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
    """A reader goes on with its version."""
    data = uuid.uuid4().bytes * (MIB // 4)
    await store.put("k", data)

    async with store.open("k") as reader:
        first = await reader.read(10)
        await store.rename("k", "renamed")
        await store.put("k", b"other")
        assert data == first + await reader.read()


async def test_version_that_is_gone_is_an_error_of_the_reader(store: RedisStore, raw: redis.Redis) -> None:
    """If the object expires or is evicted during a read, the reader raises an error, with no wrong bytes."""
    await store.put("k", b"v" * (3 * MIB))

    async with store.open("k") as reader:
        await reader.read(10)
        raw.delete(name("k"))
        with pytest.raises(StorageError, match="while it was read") as caught:
            await reader.read()

    assert "k" == caught.value.key


async def test_abandoned_stream_expires(store: RedisStore, raw: redis.Redis) -> None:
    """The draft of an unfinished stream is not visible, and expires after its writer is gone."""
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
    """If the server loses the draft, by eviction for example, the put fails and the old object stays."""
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
    """Of 40 MiB only a few are in memory at a time, to write and to read."""

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
