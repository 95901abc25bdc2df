"""Fields that other programs changed: `CorruptObjectError` for that object, and all others as ever."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import redis.asyncio
from contents import opened
from left_out import scanned
from redis_tools import name

from storage import (
    BulkError,
    CorruptObjectError,
    KeyExistsError,
    KeyNotFoundError,
    PreconditionFailedError,
    RedisStore,
    StorageError,
)
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

    for call in (lambda: store.head("b"), lambda: opened(store, "b")):
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


#: What other programs do to the hash of an object.
BROKEN: dict[str, Callable[[redis.Redis, str], object]] = {
    "no etag": lambda raw, name: raw.hdel(name, "etag"),
    "no size": lambda raw, name: raw.hdel(name, "size"),
    "bad size": lambda raw, name: raw.hset(name, "size", "many"),
    "no size is a number": lambda raw, name: raw.hset(name, "size", "nan"),
    "foreign fields only": lambda raw, name: (raw.delete(name), raw.hset(name, "color", "red")),
}


@pytest.mark.parametrize("spoil", BROKEN.values(), ids=list(BROKEN))
async def test_damaged_hash_exists(store: RedisStore, raw: redis.Redis, spoil: Callable[..., object]) -> None:
    """For every call: it is found damaged, never missing."""
    for key in "abc":
        await store.put(key, key.encode())
    etag = (await store.head("b")).etag
    spoil(raw, name("b"))

    for call in (
        lambda: store.head("b"),
        lambda: opened(store, "b"),
        lambda: store.copy("b", "z"),
        lambda: store.rename("b", "z"),
    ):
        with pytest.raises(CorruptObjectError) as raised:
            await call()
        assert "b" == raised.value.key
    if raw.hget(name("b"), "size") != b"1":
        with pytest.raises(CorruptObjectError):
            await store.get("b")
        assert isinstance((await store.get_many("abc"))["b"], CorruptObjectError)
    assert await store.exists("b")
    for _ in range(2):  # a listing does not make it disappear
        assert ["a", "b", "c"] == await listed(store.keys())
        assert (["a", "c"], ["b"]) == await scanned(store)
    with pytest.raises(KeyExistsError):
        await store.put("b", b"new", if_absent=True)
    with pytest.raises(KeyExistsError):
        await store.copy("a", "b", if_absent=True)
    if raw.hget(name("b"), "etag") is None:
        with pytest.raises(PreconditionFailedError):
            await store.put("b", b"new", if_match=etag)


WRITES: dict[str, Callable[[RedisStore], Awaitable[object]]] = {
    "put": lambda store: store.put("b", b"a"),
    "put of a stream": lambda store: store.put("b", iter([b"", b"a"])),
    "put_many": lambda store: store.put_many({"a": b"a", "b": b"a"}),
    "copy": lambda store: store.copy("a", "b"),
    "rename": lambda store: store.rename("c", "b"),
    "delete": lambda store: store.delete("b"),
    "delete_many": lambda store: store.delete_many(["b", "c"]),
    "clear": lambda store: store.clear(),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=list(WRITES))
@pytest.mark.parametrize("spoil", BROKEN.values(), ids=list(BROKEN))
async def test_damaged_hash_can_be_replaced_and_deleted(
    store: RedisStore, raw: redis.Redis, spoil: Callable[..., object], write: Callable[[RedisStore], Awaitable[object]]
) -> None:
    """As the error at the end of a listing advises."""
    for key in "abc":
        await store.put(key, b"a")
    spoil(raw, name("b"))

    await write(store)

    if "b" in await listed(store.keys()):
        assert (b"a", 1) == (await store.get("b"), (await store.head("b")).size)
    else:
        assert not await store.exists("b")
    assert [] == (await scanned(store))[1]


async def test_value_of_another_type_is_left_alone_and_stops_nothing(store: RedisStore, raw: redis.Redis) -> None:
    """Each key of a bulk call has its own result, and the error names the right one."""
    for key in "abc":
        await store.put(key, key.encode())
    raw.set(name("b"), b"a string")

    for call in (
        lambda: store.put("b", b""),
        lambda: store.put("b", b"", if_absent=True),
        lambda: store.delete("b"),
        lambda: store.copy("a", "b"),
        lambda: store.rename("b", "a"),
    ):
        with pytest.raises(CorruptObjectError, match="another program's value") as raised:
            await call()
        assert "b" == raised.value.key
    deleted = await store.delete_many(["a", "b", "never"], raise_errors=False)
    assert [None, CorruptObjectError, None] == [each and type(each) for each in deleted.values()]
    with pytest.raises(BulkError) as failed:
        await store.clear()
    assert ["b"] == list(failed.value.results)
    assert ["b"] == await listed(store.keys())
    assert b"a string" == raw.get(name("b"))


async def test_missing_objects_are_missing(store: RedisStore, raw: redis.Redis) -> None:
    """Also one whose hash was deleted, or expired, whose key is in the index still."""
    for key in "abc":
        await store.put(key, key.encode())
    raw.delete(name("b"))

    for key in ("b", "never"):
        for call in (store.get, store.head, lambda key: opened(store, key), lambda key: store.copy(key, "z")):
            with pytest.raises(KeyNotFoundError):
                await call(key)
    found = await store.get_many(["a", "b", "never"])
    assert [bytes, KeyNotFoundError, KeyNotFoundError] == [type(each) for each in found.values()]
    assert ["a", "c"] == await listed(store.keys())
    assert b"b" not in raw.zrange("{storage:p}:keys", 0, -1)


LOST: dict[str, tuple[int, str, Callable[[RedisStore], Awaitable[object]]]] = {
    "small, get": (10, "0", lambda store: store.get("k")),
    "small, open": (10, "0", lambda store: opened(store, "k")),
    "large, get": (3 * MIB, "1", lambda store: store.get("k")),
    "large, first": (3 * MIB, "0", lambda store: opened(store, "k")),
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
