"""Reading: `get`, `exists`, `head` and `open`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from random import Random
from typing import Any

import pytest

from storage._core.data import CHUNK
from storage.base import ObjectStore
from storage.errors import KeyNotFoundError, RangeNotSatisfiableError, StorageError
from storage.testing.suite.harness import Harness, needs
from storage.types import ByteRange

__all__ = ["Reading"]

TEXT = b"0123456789"

_chances = Random("reading")  # any fixed seed

RANGES = {
    "all": (ByteRange(0), TEXT),
    "from": (ByteRange(4), b"456789"),
    "part": (ByteRange(2, 5), b"234"),
    "first": (ByteRange(0, 1), b"0"),
    "last": (ByteRange(9, 10), b"9"),
    "zero length": (ByteRange(3, 3), b""),
    "zero length at 0": (ByteRange(0, 0), b""),
    "starts at the end": (ByteRange(10), b""),
    "starts and stops at the end": (ByteRange(10, 10), b""),
    "starts at the end, stops behind": (ByteRange(10, 20), b""),
    "clamped": (ByteRange(8, 1000), b"89"),
    "huge stop": (ByteRange(8, 1 << 70), b"89"),
    "suffix": (ByteRange.suffix(3), b"789"),
    "suffix of everything": (ByteRange.suffix(10), TEXT),
    "suffix longer than the object": (ByteRange.suffix(1000), TEXT),
    "empty suffix": (ByteRange.suffix(0), b""),
}


class Reading(Harness):
    """Reads return what is stored."""

    @needs(writable=None, listable=None)
    async def test_get_returns_what_is_there(self, store: ObjectStore) -> None:
        """`get` returns the stored bytes, with all 256 values of a byte."""
        every_byte = bytes(range(256))
        await self.fill(store, {"k": every_byte, "other": b"other"})

        assert every_byte == await store.get("k")

    @needs(writable=None, listable=None)
    async def test_empty_value_is_a_value(self, store: ObjectStore) -> None:
        """An empty object exists, and is not a missing one."""
        await self.fill(store, {"k": b""})

        assert b"" == await store.get("k")
        assert await store.exists("k")
        assert 0 == (await store.head("k")).size
        async with store.open("k") as reader:
            assert b"" == await reader.read()

    @needs(writable=None, listable=None)
    async def test_missing_key_is_not_found(self, store: ObjectStore) -> None:
        """Reading a missing key is a KeyNotFoundError (a KeyError) with the caller's key."""
        calls: dict[str, Any] = {
            "get": store.get,
            "head": store.head,
            "open": lambda key: store.open(key).__aenter__(),
            "ranged get": lambda key: store.get(key, byte_range=ByteRange(0, 1)),
        }
        await self.fill(store, {"there": b"x"})

        for method, call in calls.items():
            with pytest.raises(KeyNotFoundError) as caught:
                await call("not/there")

            assert "not/there" == caught.value.key, method
            assert "not/there" in str(caught.value), method
            assert isinstance(caught.value, KeyError)
            assert isinstance(caught.value, StorageError)
            assert not caught.value.retryable, method

    @needs(writable=None, listable=None)
    async def test_exists_tells(self, store: ObjectStore) -> None:
        """`exists` is true for the key of an object, and false for a part of the key or a longer key."""
        await self.fill(store, {"some/key": b"x"})

        assert await store.exists("some/key")
        assert [] == [
            key for key in ("some", "some/", "some/ke", "some/key2", "Some/key") if await self._is(store, key)
        ]

    async def _is(self, store: ObjectStore, key: str) -> bool:
        try:
            return await store.exists(key)
        except ValueError:  # a store may refuse a key such as "some/"
            return False

    @needs(writable=None, listable=None)
    async def test_range_of_get_and_open(self, store: ObjectStore) -> None:
        """A range gives its bytes, up to the end of the object, and info describes the whole object."""
        await self.fill(store, {"k": TEXT})

        for name, (byte_range, expected) in RANGES.items():
            assert expected == await store.get("k", byte_range=byte_range), name
            async with store.open("k", byte_range=byte_range) as reader:
                assert len(TEXT) == reader.info.size, name
                assert expected == await reader.read(), name
                assert b"" == await reader.read(), name

    @needs(writable=None, listable=None)
    async def test_range_behind_the_end_is_not_satisfiable(self, store: ObjectStore) -> None:
        """A range that starts after the end is a RangeNotSatisfiableError (a ValueError) in get and open."""
        objects = {"empty": b"", "k": TEXT}
        await self.fill(store, objects)

        for key, data in objects.items():
            with pytest.raises(RangeNotSatisfiableError) as got:
                await store.get(key, byte_range=ByteRange(len(data) + 1))
            with pytest.raises(RangeNotSatisfiableError) as opened:
                async with store.open(key, byte_range=ByteRange(len(data) + 1, len(data) + 2)):
                    pass  # pragma: no cover

            assert [key, key] == [got.value.key, opened.value.key]
            assert isinstance(got.value, ValueError)

    @needs(writable=None, listable=None)
    async def test_range_of_an_empty_object(self, store: ObjectStore) -> None:
        """Any range of an empty object that starts at 0 is empty."""
        await self.fill(store, {"k": b""})

        assert b"" == await store.get("k", byte_range=ByteRange(0))
        assert b"" == await store.get("k", byte_range=ByteRange(0, 5))
        assert b"" == await store.get("k", byte_range=ByteRange.suffix(5))

    @needs(writable=None, listable=None)
    async def test_head_agrees_with_get(self, store: ObjectStore) -> None:
        """`head` returns the caller's key, the whole size and an etag, and no attributes if none were put."""
        await self.fill(store, {"some/key": TEXT})

        info = await store.head("some/key")

        assert ("some/key", len(TEXT)) == (info.key, info.size)
        assert {} == dict(info.attributes)
        assert isinstance(info.etag, str)
        assert info.etag

    @needs(writable=None, listable=None)
    async def test_modified_is_aware_and_recent(self, store: ObjectStore) -> None:
        """The time of the last change, if the store knows it, has a time zone and is about now."""
        await self.fill(store, {"k": TEXT})

        modified = (await store.head("k")).modified

        if modified is not None:
            assert modified.tzinfo is not None
            assert abs(datetime.now(UTC) - modified) < timedelta(minutes=1)

    @needs(writable=None, listable=None)
    async def test_open_describes_as_head_does(self, store: ObjectStore) -> None:
        """The info of a reader equals the result of head."""
        await self.fill(store, {"k": TEXT})

        async with store.open("k") as reader:
            assert await store.head("k") == reader.info

    @needs(writable=None, listable=None)
    async def test_reader_reads_in_pieces(self, store: ObjectStore) -> None:
        """``read(n)`` returns n bytes while there are enough, then fewer, then none; read(0) returns none."""
        await self.fill(store, {"k": TEXT})

        async with store.open("k") as reader:
            pieces = [await reader.read(size) for size in (4, 0, 4, 4, 4)]

        assert [b"0123", b"", b"4567", b"89", b""] == pieces

    @needs(writable=None, listable=None)
    async def test_reader_iterates_in_bounded_pieces(self, store: ObjectStore) -> None:
        """Iterating a reader yields pieces of at most 1 MiB, none of them empty."""
        large = _pattern(self.large)
        await self.fill(store, {"k": large})

        async with store.open("k") as reader:
            pieces = [piece async for piece in reader]

        assert large == b"".join(pieces)
        assert all(0 < len(piece) <= CHUNK for piece in pieces)

    @needs(writable=None, listable=None)
    async def test_ranges_of_a_large_object(self, store: ObjectStore) -> None:
        """Ranges of a large object are right, also across the borders of the pieces in which a store keeps it."""
        large = _pattern(self.large)
        await self.fill(store, {"k": large})
        middle = len(large) // 2
        wanted = {
            "across 1 MiB": ByteRange(CHUNK - 3, CHUNK + 3),
            "most": ByteRange(5, len(large) - 5),
            "from the middle": ByteRange(middle),
            "the end": ByteRange.suffix(CHUNK + 1),
        }

        for name, byte_range in wanted.items():
            start, stop = byte_range.within(len(large))
            assert large[start:stop] == await store.get("k", byte_range=byte_range), name
            async with store.open("k", byte_range=byte_range) as reader:
                assert large[start:stop] == b"".join([piece async for piece in reader]), name

    @needs(writable=None, listable=None)
    async def test_seek_counts_from_where_the_reader_began(self, store: ObjectStore) -> None:
        """`seek` counts from the start of the range; a reader that is not seekable raises NotImplementedError."""
        await self.fill(store, {"k": TEXT})

        async with store.open("k", byte_range=ByteRange(2, 8)) as reader:
            if not reader.seekable():
                with pytest.raises(NotImplementedError):
                    await reader.seek(0)
                return
            pieces = []
            for offset in (4, 0, 5, 6, 100):
                await reader.seek(offset)
                pieces.append(await reader.read(3))

        assert [b"67", b"234", b"7", b"", b""] == pieces

    async def test_open_reader_keeps_its_version_when_overwritten(self, store: ObjectStore) -> None:
        """An open reader reads its version to the end, although the object is overwritten."""
        old, new = b"a" * self.large, b"b" * (self.large + 1000)
        await self.fill(store, {"k": old})

        async with store.open("k") as reader:
            first = await reader.read(1000)
            await store.put("k", new)
            rest = await reader.read()

        assert old == first + rest
        assert len(old) == reader.info.size
        assert new == await store.get("k")

    async def test_open_reader_keeps_its_version_when_deleted(self, store: ObjectStore) -> None:
        """An open reader reads its version to the end, although the object is deleted."""
        old = _pattern(self.large)
        await self.fill(store, {"k": old})

        async with store.open("k") as reader:
            first = await reader.read(1000)
            await store.delete("k")
            rest = b"".join([piece async for piece in reader])

        assert old == first + rest
        assert not await store.exists("k")

    @needs(writable=None, listable=None)
    async def test_readers_do_not_disturb_each_other(self, store: ObjectStore) -> None:
        """Two readers of one object each have their own position, and an unfinished reader disturbs nothing."""
        await self.fill(store, {"k": TEXT})

        async with store.open("k") as one, store.open("k") as two:
            pieces = [await one.read(3), await two.read(5), await one.read(3)]

        assert [b"012", b"01234", b"345"] == pieces
        assert TEXT == await store.get("k")

    @needs(writable=None, listable=None)
    async def test_error_in_the_body_of_open_passes(self, store: ObjectStore) -> None:
        """An exception in the body of ``async with store.open(...)`` is raised as it is."""
        await self.fill(store, {"k": TEXT})

        async def fail() -> None:
            async with store.open("k") as reader:
                await reader.read(1)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()

        assert TEXT == await store.get("k")


@cache
def _pattern(size: int) -> bytes:
    """Return bytes without repeated places that compress to about a half."""
    blocks = [block for _ in range(size // 512 + 1) for block in [_chances.randbytes(248)] * 2]
    return b"".join(b"%08x" % number + block for number, block in enumerate(blocks))[:size]
