"""Fields that other programs changed: `CorruptObjectError` for that object, and all others as ever."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import redis.asyncio
from left_out import scanned
from redis_tools import name

from storage import CorruptObjectError, RedisStore, StorageError
from storage.testing.suite.harness import listed

pytestmark = pytest.mark.server

MIB = 1 << 20

FIELDS = {
    "attributes cut": ("attributes", b'{"a": '),
    "attributes deep": ("attributes", b"[" * 100_000),
    "attributes no UTF-8": ("attributes", b"\xff"),
    "size no number": ("size", b"many"),
    "size huge": ("size", b"9" * 30),
    "time no number": ("modified", b"yesterday"),
    "time beyond the calendar": ("modified", b"9" * 18),
    "etag no UTF-8": ("etag", b"\xff"),
}


@pytest.mark.parametrize(("field", "value"), FIELDS.values(), ids=list(FIELDS))
async def test_damaged_field_is_corrupt_and_the_others_are_listed(
    store: RedisStore, raw: redis.Redis, field: str, value: bytes
) -> None:
    """No error of Python's leaves the store, and one bad hash does not hide the others."""
    for key in "abc":
        await store.put(key, key.encode(), attributes={"color": "red"})
    raw.hset(name("b"), field, value)

    for call in (lambda: store.head("b"), lambda: _read(store, "b")):
        with pytest.raises(CorruptObjectError) as raised:
            await call()
        assert "b" == raised.value.key
    assert ["a", "b", "c"] == await listed(store.keys())
    assert (["a", "c"], ["b"]) == await scanned(store)


async def test_value_of_another_type_is_corrupt_and_the_others_are_listed(store: RedisStore, raw: redis.Redis) -> None:
    """A plain string under the name of an object does not break a listing."""
    for key in "abc":
        await store.put(key, key.encode())
    raw.set(name("b"), b"a string")

    with pytest.raises(CorruptObjectError):
        await store.head("b")
    assert (["a", "c"], ["b"]) == await scanned(store)


LOST: dict[str, tuple[int, str, Callable[[RedisStore], Awaitable[object]]]] = {
    "small, get": (10, "0", lambda store: store.get("k")),
    "small, open": (10, "0", lambda store: _read(store, "k")),
    "large, get": (3 * MIB, "1", lambda store: store.get("k")),
    "large, first": (3 * MIB, "0", lambda store: _read(store, "k")),
}


@pytest.mark.parametrize(("size", "chunk", "call"), LOST.values(), ids=list(LOST))
async def test_lost_chunk_is_an_error_and_ends(
    store: RedisStore, raw: redis.Redis, size: int, chunk: str, call: Callable[[RedisStore], Awaitable[object]]
) -> None:
    """Fewer bytes than the size says are neither a shorter object nor an endless wait."""
    await store.put("k", b"x" * size)
    raw.hdel(name("k"), chunk)

    with pytest.raises(StorageError):
        await call(store)


async def _read(store: RedisStore, key: str) -> bytes:
    async with store.open(key) as reader:
        return await reader.read()
