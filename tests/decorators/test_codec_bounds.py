"""Small objects that decode to huge ones, or take long: `CorruptObjectError`, soon, however they are looked at."""

from __future__ import annotations

import gzip
import os
import time
from collections.abc import Awaitable, Callable

import pytest
from left_out import scanned
from zstd import zstd

from storage import Base64Store, ByteRange, CorruptObjectError, DictStore, GzipStore, ObjectStore, ZstdStore
from storage.decorators.bases.compressor import READ_AHEAD
from storage.decorators.bases.data_transform import DataTransform

MIB = 1 << 20
SIZE = 600 * MIB

MAKE: dict[str, Callable[[DictStore], DataTransform]] = {
    "gzip": lambda base: GzipStore(base, max_size=MIB),
    "zstd": lambda base: ZstdStore(base, max_size=MIB),
}


def bomb(kind: str) -> bytes:
    """Return some hundred KiB that decompress to 600 MiB of zeros."""
    compress: Callable[[bytes], bytes] = gzip.compress if kind == "gzip" else zstd.compress
    return compress(bytes(MIB)) * (SIZE // MIB)


@pytest.fixture(scope="module", params=["gzip", "zstd"])
def packed(request: pytest.FixtureRequest) -> tuple[str, bytes]:
    return request.param, bomb(request.param)


async def _opened(store: ObjectStore, byte_range: ByteRange | None = None) -> bytes:
    async with store.open("k", byte_range=byte_range) as reader:
        return await reader.read(1)


async def _copied(store: ObjectStore) -> str:
    async with store.open("k") as reader:
        return await DictStore().put("copy", reader)


CALLS: dict[str, Callable[[ObjectStore], Awaitable[object]]] = {
    "get": lambda store: store.get("k"),
    "a range": lambda store: store.get("k", byte_range=ByteRange(SIZE - 10)),
    "head": lambda store: store.head("k"),
    "open": _opened,
    "open at its end": lambda store: _opened(store, ByteRange(SIZE - 10)),
    "open its last bytes": lambda store: _opened(store, ByteRange.suffix(10)),
    "copy": _copied,
}


@pytest.mark.parametrize("call", CALLS.values(), ids=list(CALLS))
async def test_bomb_is_given_up(packed: tuple[str, bytes], call: Callable[[ObjectStore], Awaitable[object]]) -> None:
    """No call decodes all of it, or takes seconds."""
    kind, data = packed
    base = DictStore()
    await base.put("k", data)
    began = time.process_time()

    with pytest.raises(CorruptObjectError, match="max_size") as raised:
        await call(MAKE[kind](base))

    assert "k" == raised.value.key
    assert time.process_time() - began < 3


async def test_bomb_does_not_stop_a_scan(packed: tuple[str, bytes]) -> None:
    """It is left out, and the others are described."""
    kind, data = packed
    base = DictStore()
    store = MAKE[kind](base)
    for key in ("a", "z"):
        await store.put(key, b"data")
    await base.put("k", data)

    assert (["a", "z"], ["k"]) == await scanned(store)


async def test_range_far_in_a_forged_size_is_given_up(packed: tuple[str, bytes]) -> None:
    """The size that is stored beside a bomb is no reason to decode all that lies before a range."""
    kind, data = packed
    base = DictStore()
    await base.put("k", data, attributes={"decoded-sizes": str(SIZE)})
    assert SIZE > READ_AHEAD

    with pytest.raises(CorruptObjectError, match="max_size"):
        await _opened(MAKE[kind](base), ByteRange(SIZE - 10))


@pytest.mark.filterwarnings("ignore:GzipStore over ZstdStore")
async def test_bombs_in_a_bomb_are_given_up() -> None:
    """Each codec of a stack has its own bound."""
    base = DictStore()
    await base.put("k", zstd.compress(gzip.compress(bytes(MIB)) * 20))
    store = GzipStore(ZstdStore(base, max_size=MIB), max_size=MIB)

    for call in (store.head("k"), store.get("k"), store.get("k", byte_range=ByteRange(5, 6))):
        with pytest.raises(CorruptObjectError, match="max_size"):
            await call


async def test_what_a_reader_asks_for_has_no_bound() -> None:
    """An object that is no bomb, or not so large a one, is read in pieces, however small max_size is."""
    base = DictStore()
    await base.put("k", gzip.compress(bytes(20 * MIB)))
    store = GzipStore(base, max_size=MIB)

    async with store.open("k") as reader:
        assert 20 * MIB == reader.info.size == sum([len(piece) async for piece in reader])


async def test_large_stream_is_measured_beyond_max_size() -> None:
    """An object of which much is stored is no bomb: its head works as before."""
    store = GzipStore(DictStore(), max_size=MIB)
    piece = b"".join(b"%d," % number for number in range(100_000))

    await store.put("k", (piece for _ in range(4)))

    assert 4 * len(piece) == (await store.head("k")).size
    assert 4 * len(piece) > MIB


@pytest.mark.parametrize(
    ("frame", "name"), [(b"\x50\x2a\x4d\x18\0\0\0\0", "get"), (zstd.compress(b"x"), "head")], ids=["empty", "short"]
)
async def test_object_of_tiny_frames_is_given_up(frame: bytes, name: str) -> None:
    """Each frame takes 20 us: 4 MiB of them took between 8 and 45 seconds."""
    base = DictStore()
    await base.put("k", frame * (4 * MIB // len(frame)))

    with pytest.raises(CorruptObjectError, match="frames"):
        await getattr(ZstdStore(base), name)("k")


@pytest.mark.parametrize(
    ("make", "forged"),
    [(Base64Store, "3"), (Base64Store, "10243"), (GzipStore, "3"), (GzipStore, "99999999999"), (ZstdStore, "3")],
)
async def test_stored_size_that_cannot_be_is_measured(
    make: Callable[[ObjectStore], DataTransform], forged: str
) -> None:
    """A head believes the size that is stored beside an object only if the object can have it."""
    base = DictStore()
    store = make(base)
    content = os.urandom(10_240)
    await store.put("k", content)
    await base.put("k", await base.get("k"), attributes={"decoded-sizes": forged})

    assert len(content) == (await store.head("k")).size
    async with store.open("k") as reader:
        assert content == await reader.read()
