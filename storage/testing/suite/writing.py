"""Writing: `put` and `delete`."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from storage.base import ObjectStore
from storage.errors import StorageError, UnsupportedOperationError
from storage.testing.suite.harness import Harness, listed, needs

__all__ = ["Writing"]


class Writing(Harness):
    """What is written is stored completely."""

    async def test_put_stores_the_bytes_themselves(self, store: ObjectStore) -> None:
        """The stored bytes are the bytes that were put, also when they are read without the store."""
        every_byte = bytes(range(256)) * 3

        await store.put("some/key", every_byte)

        assert every_byte == await self.raw(store, "some/key")
        assert every_byte == await store.get("some/key")
        assert ["some/key"] == await listed(store.keys())

    async def test_put_of_nothing_stores_an_empty_object(self, store: ObjectStore) -> None:
        """`put` of no bytes stores an empty object."""
        await store.put("k", b"")

        assert b"" == await self.raw(store, "k")
        assert b"" == await store.get("k")
        assert ["k"] == await listed(store.keys())

    async def test_put_overwrites(self, store: ObjectStore) -> None:
        """`put` replaces the old object, with a shorter, longer or empty one."""
        for data in (b"first", b"a much longer second", b"3", b"", b"fifth"):
            await store.put("k", data)

            assert data == await self.raw(store, "k")
            assert data == await store.get("k")
            assert len(data) == (await store.head("k")).size
        assert ["k"] == await listed(store.keys())

    async def test_put_takes_buffers(self, store: ObjectStore) -> None:
        """`put` takes a bytearray and a memoryview; get returns bytes."""
        buffers: dict[str, bytearray | memoryview] = {"array": bytearray(b"buffer"), "view": memoryview(b"buffer")}
        for key, buffer in buffers.items():
            await store.put(key, buffer)

            assert b"buffer" == await self.raw(store, key)
            assert bytes is type(await store.get(key))

    async def test_put_of_a_strided_view_stores_what_it_shows(self, store: ObjectStore) -> None:
        """A memoryview with a step is stored without the skipped bytes."""
        await store.put("k", memoryview(b"a-b-c-")[::2])

        assert b"abc" == await self.raw(store, "k")

    async def test_put_counts_bytes_of_wide_views(self, store: ObjectStore) -> None:
        """A memoryview of 4-byte items is stored with all its bytes, not one byte per item."""
        wide = memoryview(bytes(range(12))).cast("I")

        await store.put("k", wide)

        assert bytes(range(12)) == await self.raw(store, "k")
        assert 12 == (await store.head("k")).size

    async def test_put_does_not_alias_a_mutable_buffer(self, store: ObjectStore) -> None:
        """Changing the buffer after put does not change the object."""
        buffer = bytearray(b"before")
        view = memoryview(buffer)
        await store.put("k", buffer)
        await store.put("view", view)

        buffer[:] = b"after!"

        assert b"before" == await store.get("k")
        assert b"before" == await store.get("view")

    async def test_put_refuses_what_is_not_bytes(self, store: ObjectStore) -> None:
        """Data that is not bytes is a TypeError, and the old object stays."""
        await store.put("k", b"old")

        for data in ("text", "", 5, None, object(), 1.5):
            with pytest.raises(TypeError, match="bytes"):
                await store.put("k", cast(bytes, data))
            with pytest.raises(TypeError):
                await store.put("new", cast(bytes, data))

            assert b"old" == await self.raw(store, "k")
            assert ["k"] == await listed(store.keys())

    async def test_large_object_round_trips(self, store: ObjectStore) -> None:
        """An object of a few million bytes is stored and read unchanged."""
        large = bytes(range(251)) * (self.large // 251)

        await store.put("k", large)

        assert large == await self.raw(store, "k")
        assert large == await store.get("k")
        assert len(large) == (await store.head("k")).size

    async def test_delete_removes_one_object(self, store: ObjectStore) -> None:
        """A deleted object is missing for every method; other objects stay."""
        await self.fill(store, {"k": b"v", "k2": b"v2", "l/k": b"v3"})

        await store.delete("k")

        assert None is await self.raw(store, "k")
        assert not await store.exists("k")
        assert ["k2", "l/k"] == await listed(store.keys())
        with pytest.raises(KeyError):
            await store.get("k")
        with pytest.raises(KeyError):
            await store.head("k")

    async def test_delete_of_a_missing_key_is_no_error(self, store: ObjectStore) -> None:
        """`delete` of a missing key is no error."""
        await self.fill(store, {"a/b": b"v"})

        await store.delete("never/there")
        await store.delete("a/b")
        await store.delete("a/b")

        assert [] == await listed(store.keys())

    async def test_key_can_be_used_again_after_delete(self, store: ObjectStore) -> None:
        """A key can be put again after it was deleted, also one with slashes."""
        for data in (b"one", b"two"):
            await store.put("deep/down/here", data)
            await store.delete("deep/down/here")
        await store.put("deep/down/here", b"three")

        assert b"three" == await self.raw(store, "deep/down/here")

    async def test_put_returns_the_etag_of_what_it_put(self, store: ObjectStore) -> None:
        """`put`, `head`, `open` and `scan` return the same etag for the same version."""
        await store.put("k", b"old")

        etag = await store.put("k", b"new")

        assert etag == (await store.head("k")).etag
        async with store.open("k") as reader:
            assert etag == reader.info.etag
        assert [etag] == [info.etag async for info in store.scan()]

    async def test_etags_of_different_bytes_differ(self, store: ObjectStore) -> None:
        """Different bytes of the same size have different etags, even when they are written within one clock tick."""
        etags = [await store.put("k", b"%06d" % number) for number in range(50)]

        assert 50 == len(set(etags))

    @needs(etags=True)
    async def test_etag_changes_with_every_version(self, store: ObjectStore) -> None:
        """With the capability `etags`, every put gives a new etag, also for equal bytes."""
        etags = [await store.put("k", b"same") for _ in range(20)]

        assert 20 == len(set(etags))

    async def test_etag_stays_while_the_object_does(self, store: ObjectStore) -> None:
        """Reads, listings and writes of other objects do not change an object's etag."""
        etag = await store.put("k", b"v")

        await store.get("k")
        await listed(store.scan())
        await store.put("other", b"x")

        assert etag == (await store.head("k")).etag

    async def test_many_writers_leave_one_of_their_values(self, store: ObjectStore) -> None:
        """After concurrent puts the object is one of their values, whole, and nothing else is left."""
        values = [bytes([65 + number]) * 10_000 for number in range(20)]

        await asyncio.gather(*(store.put("k", value) for value in values))

        assert await store.get("k") in values
        assert await self.raw(store, "k") in values
        assert ["k"] == await listed(store.keys())

    async def test_concurrent_puts_to_different_keys_all_land(self, store: ObjectStore) -> None:
        """Concurrent puts to different keys all succeed, also in the same directories."""
        objects = {f"d{number % 5}/e/k{number}": b"%d" % number for number in range(40)}

        await asyncio.gather(*(store.put(key, data) for key, data in objects.items()))

        assert objects == {key: await self.raw(store, key) for key in objects}
        assert sorted(objects) == await listed(store.keys())

    async def test_puts_and_deletes_in_one_directory_do_not_fail(self, store: ObjectStore) -> None:
        """Concurrent puts and deletes in one directory succeed, also when a delete leaves it empty."""

        async def busy(number: int) -> None:
            for _ in range(10):
                await store.put(f"d/e/k{number}", b"v")
                await store.delete(f"d/e/k{number}")

        await asyncio.gather(*(busy(number) for number in range(5)))

        assert [] == await listed(store.keys())

    async def test_readers_see_whole_versions_during_overwrites(self, store: ObjectStore) -> None:
        """Reads during overwrites see one whole version or another, never a mixture."""
        versions = [bytes([65 + number]) * (100_000 + number) for number in range(4)]
        await store.put("k", versions[0])
        done = asyncio.Event()
        seen: set[bytes] = set()

        async def poll() -> None:
            while not done.is_set():
                seen.add(await store.get("k"))
                async with store.open("k") as reader:
                    data = b"".join([piece async for piece in reader])
                    assert reader.info.size == len(data)
                seen.add(data)
                await asyncio.sleep(0)

        async def overwrite() -> None:
            try:
                for number in range(12):
                    await store.put("k", versions[number % 4])
                    await asyncio.sleep(0)
            finally:
                done.set()

        await asyncio.gather(overwrite(), poll(), poll())

        assert seen
        assert set() == seen - set(versions)

    @needs(writable=False)
    async def test_every_write_is_unsupported(self, store: ObjectStore) -> None:
        """Every write to a store that cannot be written is an UnsupportedOperationError, and changes nothing."""
        await self.fill(store, {"k": b"v"})
        writes: dict[str, Any] = {
            "put": lambda: store.put("k", b"new"),
            "put, conditional": lambda: store.put("k", b"new", if_match="x"),
            "delete": lambda: store.delete("k"),
            "delete of a missing key": lambda: store.delete("missing"),
            "put_many": lambda: store.put_many({"k": b"new"}),
            "delete_many": lambda: store.delete_many(["k"]),
            "copy": lambda: store.copy("k", "copy"),
            "rename": lambda: store.rename("k", "new"),
            "clear": lambda: store.clear(),
        }

        for name, write in writes.items():
            with pytest.raises(StorageError) as caught:
                await write()
            assert UnsupportedOperationError is type(caught.value), name

        assert b"v" == await self.raw(store, "k")
        assert ["k"] == await listed(store.keys())

    @needs(writable=None)
    async def test_entering_again_does_not_close(self, store: ObjectStore) -> None:
        """Entering and leaving an open store again does not close it."""
        await self.fill(store, {"k": b"v"})

        async with store as entered:
            assert store is entered

        assert b"v" == await store.get("k")
