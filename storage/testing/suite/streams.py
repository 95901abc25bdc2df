"""Streams into `put`: iterables and async iterables, and those that fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, cast

import pytest

from storage._core.data import CHUNK
from storage.base import ObjectStore
from storage.testing.suite.harness import Harness, listed
from storage.types import Data

__all__ = ["Streams"]


def _plainly(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield from a generator."""
    yield from pieces


async def _awaiting(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    """Yield from an async generator that suspends before each piece."""
    for piece in pieces:
        await asyncio.sleep(0)
        yield piece


class _ProducerError(Exception):
    """Raised by a caller's own iterable."""


_KINDS: dict[str, Callable[[Iterable[bytes]], Data]] = {"iterable": _plainly, "async iterable": _awaiting}
_both_kinds: pytest.MarkDecorator = pytest.mark.parametrize("stream", _KINDS.values(), ids=list(_KINDS))

_Streamed = Callable[[Iterable[bytes]], Data]


class Streams(Harness):
    """A stream is stored completely or not at all."""

    @_both_kinds
    async def test_pieces_are_joined(self, store: ObjectStore, stream: _Streamed) -> None:
        """The object is the joined pieces; empty pieces add nothing."""
        await store.put("k", stream([b"one", b"", b"two", b"", b"three", b""]))

        assert b"onetwothree" == await self.raw(store, "k")
        assert b"onetwothree" == await store.get("k")
        assert 11 == (await store.head("k")).size

    @_both_kinds
    async def test_stream_of_nothing_is_an_empty_object(self, store: ObjectStore, stream: _Streamed) -> None:
        """A stream without bytes makes an empty object, which replaces the old one."""
        for pieces in ([], [b""], [b"", b""]):
            await store.put("k", b"old")

            await store.put("k", stream(pieces))

            assert b"" == await self.raw(store, "k")
            assert b"" == await store.get("k")

    async def test_list_and_tuple_are_streams(self, store: ObjectStore) -> None:
        """A list and a tuple of bytes are streams too."""
        await store.put("list", [b"a", b"b"])
        await store.put("tuple", (b"c", b"d"))

        assert [b"ab", b"cd"] == [await self.raw(store, "list"), await self.raw(store, "tuple")]

    @_both_kinds
    async def test_producer_may_use_one_buffer_again(self, store: ObjectStore, stream: _Streamed) -> None:
        """The store copies each piece: the producer may change its buffer for the next one."""

        def pieces() -> Iterator[bytes]:
            buffer = bytearray(4)
            for number in range(100):
                buffer[:] = b"%04d" % number
                yield cast(bytes, buffer)

        await store.put("k", stream(pieces()))

        assert b"".join(b"%04d" % number for number in range(100)) == await self.raw(store, "k")

    @_both_kinds
    async def test_pieces_may_be_views(self, store: ObjectStore, stream: _Streamed) -> None:
        """Pieces may be memoryviews, also of items wider than a byte and with gaps; all their bytes are stored."""
        views = [memoryview(b"abc"), memoryview(bytes(range(8))).cast("I"), memoryview(b"x-y-")[::2]]

        await store.put("k", stream(cast("list[bytes]", views)))

        assert b"abc" + bytes(range(8)) + b"xy" == await self.raw(store, "k")

    @_both_kinds
    async def test_large_stream_round_trips(self, store: ObjectStore, stream: _Streamed) -> None:
        """Millions of bytes in uneven pieces are read back unchanged, as a whole and in pieces."""
        pieces = [bytes([number % 251]) * (7919 * (number % 40)) for number in range(self.large // 150_000)]
        whole = b"".join(pieces)

        etag = await store.put("k", stream(pieces))

        assert whole == await self.raw(store, "k")
        assert whole == await store.get("k")
        async with store.open("k") as reader:
            assert (len(whole), etag) == (reader.info.size, reader.info.etag)
            assert whole == b"".join([piece async for piece in reader])

    async def test_piece_larger_than_any_chunk(self, store: ObjectStore) -> None:
        """A piece of a stream may be larger than the store's own pieces."""
        pieces = [b"small", b"x" * (2 * CHUNK + 5), b"end"]

        await store.put("k", _awaiting(pieces))

        assert b"".join(pieces) == await self.raw(store, "k")

    @_both_kinds
    async def test_error_of_the_producer_passes_and_nothing_is_put(self, store: ObjectStore, stream: _Streamed) -> None:
        """An exception of the caller's stream is raised as it is; the old object stays and no new one appears."""
        raised = _ProducerError("mine")

        def pieces(size: int) -> Iterator[bytes]:
            for _ in range(0, size, 100_000):
                yield b"x" * min(size, 100_000)
            raise raised

        await store.put("k", b"old")
        etag = (await store.head("k")).etag

        for size in (0, 10, 2_200_000):
            with pytest.raises(_ProducerError) as overwriting:
                await store.put("k", stream(pieces(size)))
            with pytest.raises(_ProducerError) as creating:
                await store.put("new/key", stream(pieces(size)))

            assert [raised, raised] == [overwriting.value, creating.value]
            assert b"old" == await self.raw(store, "k")
            assert etag == (await store.head("k")).etag
            assert None is await self.raw(store, "new/key")
            assert not await store.exists("new/key")
            assert ["k"] == await listed(store.keys())

    @_both_kinds
    async def test_piece_that_is_not_bytes_is_a_type_error(self, store: ObjectStore, stream: _Streamed) -> None:
        """A piece that is not bytes is a TypeError, also after good pieces; the old object stays."""
        await store.put("k", b"old")

        wrong: Any
        for wrong in ("text", 5, None):
            with pytest.raises(TypeError, match="bytes"):
                await store.put("k", stream([b"good", wrong]))

            assert b"old" == await self.raw(store, "k")
            assert ["k"] == await listed(store.keys())

    async def test_storage_error_of_the_producer_passes_as_it_is(self, store: ObjectStore) -> None:
        """A KeyNotFoundError of a stream that reads from the same store has the key that the stream read."""

        async def pieces() -> AsyncIterator[bytes]:
            yield await store.get("there")
            yield await store.get("missing")

        await store.put("there", b"v")

        with pytest.raises(KeyError) as caught:
            await store.put("k", pieces())

        assert ("missing",) == caught.value.args
        assert ["there"] == await listed(store.keys())

    async def test_store_is_free_while_a_producer_waits(self, store: ObjectStore) -> None:
        """While a put waits for its stream, other reads, writes and deletes work, also of the same key."""
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def pieces() -> AsyncIterator[bytes]:
            yield b"s" * 1_500_000
            begun.set()
            await go_on.wait()
            yield b"t"

        await self.fill(store, {"k": b"old", "gone": b"x"})
        slow = asyncio.create_task(store.put("k", pieces()))
        await begun.wait()

        assert b"old" == await store.get("k")
        await store.put("other", b"o")
        await store.put("k", b"between")
        await store.delete("gone")
        assert b"between" == await store.get("k")
        assert ["k", "other"] == await listed(store.keys())

        go_on.set()
        await slow
        assert b"s" * 1_500_000 + b"t" == await store.get("k")

    async def test_stream_from_the_object_to_itself(self, store: ObjectStore) -> None:
        """An object can be replaced by a stream from its own reader."""
        await self.fill(store, {"k": b"abc" * 500_000})

        async with store.open("k") as reader:
            await store.put("k", (piece.upper() async for piece in reader))

        assert b"ABC" * 500_000 == await self.raw(store, "k")
