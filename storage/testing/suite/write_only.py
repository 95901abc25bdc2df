"""Stores that can be written and not read: writes work, and every read is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from storage.base import ObjectStore
from storage.errors import (
    InvalidKeyError,
    KeyExistsError,
    PreconditionFailedError,
    StorageError,
    UnsupportedOperationError,
)
from storage.testing.suite.harness import Harness, listed, needs

__all__ = ["WriteOnly"]


async def _opened(store: ObjectStore) -> bytes:
    async with store.open("k") as reader:
        return await reader.read()


#: Every method that would show something of an object.
READS: dict[str, Callable[[ObjectStore], Awaitable[Any]]] = {
    "get": lambda store: store.get("k"),
    "get_many": lambda store: store.get_many(["k"]),
    "head": lambda store: store.head("k"),
    "open": _opened,
    "exists": lambda store: store.exists("k"),
    "keys": lambda store: listed(store.keys()),
    "scan": lambda store: listed(store.scan()),
    "children": lambda store: listed(store.children()),
    "copy": lambda store: store.copy("k", "copy"),
    "rename": lambda store: store.rename("k", "new"),
}


class WriteOnly(Harness):
    """Writes to a store that cannot be read. Its test class needs the hook `raw`."""

    @needs(readable=False, listable=None)
    async def test_every_read_is_unsupported(self, store: ObjectStore) -> None:
        """Every read is an UnsupportedOperationError, and changes nothing."""
        await store.put("k", b"v")

        for name, read in READS.items():
            with pytest.raises(StorageError) as caught:
                await read(store)
            assert UnsupportedOperationError is type(caught.value), name

        assert b"v" == await self.raw(store, "k")

    @needs(readable=False, listable=None)
    async def test_sink_takes_objects(self, store: ObjectStore) -> None:
        """`put` and `put_many` work: buffers and streams, empty and large objects, new and existing keys."""
        large = bytes(self.large)

        async def pieces() -> AsyncIterator[bytes]:
            yield large
            yield b"end"

        await store.put("a", b"old")
        await store.put("a", b"new")
        await store.put("empty", bytearray())
        await store.put("d/stream", pieces())
        results = await store.put_many([("b", b"1"), ("", b"2")], raise_errors=False)

        assert isinstance(results[""], InvalidKeyError)
        assert {"a": b"new", "empty": b"", "d/stream": large + b"end", "b": b"1"} == {
            key: await self.raw(store, key) for key in ("a", "empty", "d/stream", "b")
        }

    @needs(readable=False, listable=None)
    async def test_sink_lets_objects_go(self, store: ObjectStore) -> None:
        """`delete`, `delete_many` and `clear` work; a missing key is no error, and other objects stay."""
        keys = ["a", "b", "c/d", "c/e", "f"]
        await store.put_many(dict.fromkeys(keys, b"v"))

        await store.delete("a")
        await store.delete("missing")
        await store.delete_many(["b", "missing"])
        await store.clear("c/")

        assert [None, None, None, None, b"v"] == [await self.raw(store, key) for key in keys]
        await store.clear()
        assert None is await self.raw(store, "f")

    @needs(readable=False, listable=None, conditional_put=True)
    async def test_conditions_of_a_sink_hold(self, store: ObjectStore) -> None:
        """`if_absent` works, and the etag that put returned works for if_match, once."""
        first = await store.put("k", b"1", if_absent=True)
        with pytest.raises(KeyExistsError):
            await store.put("k", b"x", if_absent=True)

        await store.put("k", b"2", if_match=first)
        with pytest.raises(PreconditionFailedError):
            await store.put("k", b"x", if_match=first)

        assert b"2" == await self.raw(store, "k")
