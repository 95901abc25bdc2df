"""Encryption: the documented format, and that no forged byte is ever returned."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st

import storage.sync
from storage import (
    ByteRange,
    CorruptObjectError,
    DictStore,
    EncryptingStore,
    FilesystemStore,
    ObjectReader,
    ObjectStore,
    StoreDecorator,
)
from storage.reader import ReaderDecorator

SECRET = bytes(range(32))
OTHER = bytes(range(100, 132))

#: Of the format: bytes of the header, a segment, a tag.
HEADER, SEGMENT, TAG = 72, 65536, 16
SEALED = SEGMENT + TAG

SIZES = [0, 1, 100, SEGMENT - 1, SEGMENT, SEGMENT + 1, 2 * SEGMENT, 17 * SEGMENT, 40 * SEGMENT + 5]


def pattern(size: int) -> bytes:
    return b"".join(b"%08x" % number for number in range(size // 8 + 1))[:size]


async def opened(store: ObjectStore, key: str, byte_range: ByteRange | None = None) -> bytes:
    async with store.open(key, byte_range=byte_range) as reader:
        return await reader.read()


def written_down(data: bytes, name: str, key: bytes, key_id: str, salt: bytes) -> bytes:
    """Return an encrypted object that is made exactly as docs/decorators/data.md says."""
    header = b"sealed\x00\x01" + key_id.encode().ljust(32, b"\0") + salt
    cipher = AESGCM(HKDF(SHA256(), 32, salt, b"stackstore sealed 1").derive(key))
    parts = [data[at : at + 65536] for at in range(0, len(data), 65536)] or [b""]
    nonces = [number.to_bytes(11, "big") + bytes([number == len(parts) - 1]) for number in range(len(parts))]
    return header + b"".join(
        cipher.encrypt(nonce, part, header + name.encode()) for nonce, part in zip(nonces, parts, strict=True)
    )


# -- the format -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
async def test_objects_are_what_the_format_says(size: int) -> None:
    """The bytes are those of the documented format with the same salt, put whole and streamed."""
    base, data = DictStore(), pattern(size)
    store = EncryptingStore(base, {"2026": SECRET})

    await store.put("a/ü", data)
    await store.put("streamed", iter([data[:1000], data[1000:]]))

    for key in ("a/ü", "streamed"):
        below = await base.get(key)
        assert written_down(data, key, SECRET, "2026", below[40:72]) == below


@pytest.mark.parametrize("size", SIZES)
async def test_what_the_format_says_is_read(size: int) -> None:
    """Whole, in pieces, by its size, and with the key that the object names."""
    base, data = DictStore(), pattern(size)
    await base.put("k", written_down(data, "k", OTHER, "of another year", os.urandom(32)))
    store = EncryptingStore(base, {"2026": SECRET, "of another year": OTHER}, active="2026")

    async with store.open("k") as reader:
        pieces = [piece async for piece in reader]

    assert [data] * 3 == [await store.get("k"), (await store.get_many(["k"]))["k"], b"".join(pieces)]
    assert size == (await store.head("k")).size
    assert [size] == [info.size async for info in store.scan()]


async def test_nothing_repeats_and_nothing_shows() -> None:
    """Equal objects differ in the store below each time; neither data nor key is visible there."""
    base, data = DictStore(), b"attack at dawn " * 10
    store = EncryptingStore(base, {"a": SECRET})
    below = set()
    for _ in range(100):
        await store.put("k", data)
        below.add(await base.get("k"))

    assert 100 == len({each[40:72] for each in below}) == len({each[72:] for each in below})
    assert not any(b"attack" in each or SECRET[:8] in each for each in below)


# -- what is forged ---------------------------------------------------------------------------------------------


def flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


def segments(sealed: bytes) -> list[bytes]:
    return [sealed[at : at + SEALED] for at in range(HEADER, len(sealed), SEALED)]


def rebuilt(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[bytes], bytes]:
    return lambda sealed: sealed[:HEADER] + b"".join(change(segments(sealed)))


#: What may be done to an object of four segments, the last one of 100 bytes.
FORGERIES: Mapping[str, Callable[[bytes], bytes]] = {
    "a bit of the version": lambda sealed: flipped(sealed, 7),
    "a bit of the key's id": lambda sealed: flipped(sealed, 8),
    "another key's id": lambda sealed: sealed[:8] + b"b".ljust(32, b"\0") + sealed[40:],
    "a bit behind the key's id": lambda sealed: flipped(sealed, 39),
    "a bit of the salt": lambda sealed: flipped(sealed, 71),
    "a bit of the first segment": lambda sealed: flipped(sealed, HEADER),
    "a bit of the last segment": lambda sealed: flipped(sealed, len(sealed) - TAG - 1),
    "a bit of the last tag": lambda sealed: flipped(sealed, len(sealed) - 1),
    "cut by a byte": lambda sealed: sealed[:-1],
    "cut by a segment": rebuilt(lambda all_: all_[:-1]),
    "cut to one segment": rebuilt(lambda all_: all_[:1]),
    "cut to its last segment": rebuilt(lambda all_: all_[-1:]),
    "cut to a tag": lambda sealed: sealed[: HEADER + TAG],
    "cut to its header": lambda sealed: sealed[:HEADER],
    "cut within its header": lambda sealed: sealed[:50],
    "nothing left": lambda sealed: b"",
    "first segment missing": rebuilt(lambda all_: all_[1:]),
    "inner segment missing": rebuilt(lambda all_: [all_[0], *all_[2:]]),
    "segments exchanged": rebuilt(lambda all_: [all_[1], all_[0], *all_[2:]]),
    "segment repeated": rebuilt(lambda all_: [all_[0], *all_]),
    "last segment repeated": rebuilt(lambda all_: [*all_, all_[-1]]),
    "a byte too many": lambda sealed: sealed + b"\0",
    "a tag too many": lambda sealed: sealed + bytes(TAG),
    "the whole twice": lambda sealed: sealed * 2,
    "not encrypted": lambda sealed: pattern(len(sealed)),
    "zeros": lambda sealed: bytes(len(sealed)),
}


@pytest.fixture
async def forged() -> tuple[DictStore, EncryptingStore]:
    """Return a store below with an object "k" of four segments, and the store above."""
    base = DictStore()
    store = EncryptingStore(base, {"a": SECRET, "b": OTHER}, active="a")
    await store.put("k", pattern(3 * SEGMENT + 100))
    return base, store


@pytest.mark.parametrize("name", FORGERIES)
async def test_forgery_is_found_however_it_is_read(forged: tuple[DictStore, EncryptingStore], name: str) -> None:
    """No changed object can be read as a whole, and the error names the key."""
    base, store = forged
    await base.put("k", FORGERIES[name](await base.get("k")))

    for read in (store.get("k"), opened(store, "k"), opened(store, "k", ByteRange(0)), store.copy("k", "copy")):
        with pytest.raises(CorruptObjectError) as caught:
            await read
        assert ("k", "EncryptingStore(DictStore(), active='a')") == (caught.value.key, caught.value.store)
    assert isinstance((await store.get_many(["k"]))["k"], CorruptObjectError)
    assert ["k"] == [key async for key in base.keys()]


@pytest.mark.parametrize("name", FORGERIES)
async def test_pieces_of_a_forgery_are_genuine(forged: tuple[DictStore, EncryptingStore], name: str) -> None:
    """A stream ends at the first wrong segment, and all bytes before are those that were put."""
    base, store = forged
    await base.put("k", FORGERIES[name](await base.get("k")))
    given = b""

    try:
        async with store.open("k") as reader:
            while piece := await reader.read(10_000):
                given += piece
    except CorruptObjectError:
        assert pattern(3 * SEGMENT + 100).startswith(given)
    else:
        pytest.fail(f"{len(given)} bytes were read as a whole object")


@pytest.mark.parametrize("start", [0, 5, SEGMENT, 3 * SEGMENT + 100])
async def test_end_is_proven_where_nothing_is_left_to_read(
    forged: tuple[DictStore, EncryptingStore], start: int
) -> None:
    """A read at the end of the object also returns information: that it ends there."""
    base, store = forged
    sealed = await base.get("k")
    segments_kept, rest = divmod(start, SEGMENT)
    cut = HEADER + segments_kept * SEALED + (rest + TAG if rest or not start else 0)
    await base.put("k", sealed[:cut] if cut < len(sealed) else flipped(sealed, cut - 1))

    if start > SEGMENT:  # without a seal of its attributes a head proves the first segment, and no more
        assert start == (await store.head("k")).size
    else:
        with pytest.raises(CorruptObjectError):
            await store.head("k")
    with pytest.raises(CorruptObjectError):
        await store.get("k", byte_range=ByteRange(start))


async def test_objects_do_not_pass_for_one_another() -> None:
    """Objects that are exchanged or copied in the store below cannot be decrypted: each is bound to its name."""
    base = DictStore()
    store = EncryptingStore(base, {"a": SECRET})
    await store.put_many({"small/salary": b"1000", "large/salary": b"9000"})
    small, large = await base.get("small/salary"), await base.get("large/salary")
    await base.put_many({"small/salary": large, "large/salary": small, "copy": small})

    for key in ("small/salary", "large/salary", "copy"):
        with pytest.raises(CorruptObjectError, match="encrypted under another name"):
            await store.get(key)


async def test_segments_of_other_versions_do_not_fit() -> None:
    """A part of an older version under the same name and key is detected."""
    base = DictStore()
    store = EncryptingStore(base, {"a": SECRET})
    await store.put("k", b"1" * 2 * SEGMENT)
    old = await base.get("k")
    await store.put("k", b"2" * 2 * SEGMENT)
    new = await base.get("k")
    await base.put("k", new[: HEADER + SEALED] + old[HEADER + SEALED :])

    with pytest.raises(CorruptObjectError):
        await store.get("k")


@settings(deadline=None)  # a busy machine is no slow code
@given(below=st.binary(max_size=300), headed=st.booleans())
async def test_random_bytes_are_corrupt(below: bytes, headed: bool) -> None:
    """No input raises another error, in any method that reads."""
    base = DictStore()
    await base.put("k", b"sealed\x00\x01a" + bytes(31) + below if headed else below)
    store = EncryptingStore(base, {"a": SECRET})

    for read in (store.get("k"), opened(store, "k"), store.get("k", byte_range=ByteRange.suffix(3))):
        with pytest.raises(CorruptObjectError):
            await read


# -- parts ------------------------------------------------------------------------------------------------------


class Counting(StoreDecorator):
    """Counts the bytes that its readers return."""

    read = 0

    @asynccontextmanager
    async def _opened(self, key: str, byte_range: ByteRange | None) -> Any:
        async with self.base.open(key, byte_range=byte_range) as reader:
            yield _CountingReader(reader, self)

    def open(self, key: str, *, byte_range: ByteRange | None = None) -> AbstractAsyncContextManager[ObjectReader]:
        opened: AbstractAsyncContextManager[ObjectReader] = self._opened(key, byte_range)
        return opened


class _CountingReader(ReaderDecorator):
    def __init__(self, reader: ObjectReader, store: Counting) -> None:
        super().__init__(reader)
        self._store = store

    async def read(self, size: int = -1, /) -> bytes:
        data = await super().read(size)
        self._store.read += len(data)
        return data


@pytest.mark.parametrize(
    ("byte_range", "count"),
    [
        (ByteRange(0, 1), 1),
        (ByteRange(5 * SEGMENT, 6 * SEGMENT), 1),
        (ByteRange(5 * SEGMENT - 1, 5 * SEGMENT + 1), 2),
        (ByteRange(7 * SEGMENT + 1, 7 * SEGMENT + 1), 0),
        (ByteRange.suffix(1), 1),
        (ByteRange(20 * SEGMENT), 10),
    ],
)
async def test_range_reads_only_its_segments(byte_range: ByteRange, count: int, tmp_path: Path) -> None:
    """Only the segments of the range are read and decrypted."""
    base = Counting(FilesystemStore(tmp_path))
    store, data = EncryptingStore(base, {"a": SECRET}), pattern(30 * SEGMENT)
    await store.put("k", data)
    start, stop = byte_range.within(len(data))

    assert data[start:stop] == await store.get("k", byte_range=byte_range)
    assert HEADER + count * SEALED == base.read
    assert store.capabilities.ranges


async def test_damage_elsewhere_does_not_matter_to_a_range(forged: tuple[DictStore, EncryptingStore]) -> None:
    """Undamaged segments can be read, damaged ones cannot."""
    base, store = forged
    await base.put("k", flipped(await base.get("k"), HEADER + SEALED + 5))

    assert pattern(SEGMENT) == await store.get("k", byte_range=ByteRange(0, SEGMENT))
    assert pattern(3 * SEGMENT)[2 * SEGMENT :] == await store.get("k", byte_range=ByteRange(2 * SEGMENT, 3 * SEGMENT))
    with pytest.raises(CorruptObjectError):
        await store.get("k", byte_range=ByteRange(SEGMENT - 1, SEGMENT + 1))


async def test_reader_goes_back_and_forth() -> None:
    """If the store below can seek, a reader can, too, and decrypts what it reads."""
    data = pattern(40 * SEGMENT + 5)
    store = EncryptingStore(DictStore(), {"a": SECRET})
    await store.put("k", data)

    async with store.open("k", byte_range=ByteRange(10)) as reader:
        assert reader.seekable()
        for offset in (39 * SEGMENT, 5, 40 * SEGMENT, 0, SEGMENT - 15, 20 * SEGMENT):
            await reader.seek(offset)
            assert data[10 + offset : 10 + offset + SEGMENT] == await reader.read(SEGMENT)


async def test_range_over_a_store_that_cannot_seek() -> None:
    """The object is read from its start, with the same result."""
    data = pattern(40 * SEGMENT + 5)
    base = storage.Base64Store(DictStore())
    store = EncryptingStore(base, {"a": SECRET})
    await store.put("k", data)

    assert data[30 * SEGMENT + 3 : 31 * SEGMENT] == await opened(store, "k", ByteRange(30 * SEGMENT + 3, 31 * SEGMENT))
    async with store.open("k") as reader:
        assert not reader.seekable()
        with pytest.raises(NotImplementedError):
            await reader.seek(0)


def test_sync_face_encrypts_and_rotates(tmp_path: Path) -> None:
    """Through `storage.sync`, over files, in pieces and in parts."""

    def pieces() -> Iterator[bytes]:
        yield from (pattern(3 * SEGMENT)[at : at + 5000] for at in range(0, 3 * SEGMENT, 5000))

    files = storage.sync.FilesystemStore(tmp_path)
    storage.sync.EncryptingStore(files, {"old": SECRET}).put("k", pieces())
    store = storage.sync.EncryptingStore(files, {"old": SECRET, "new": OTHER.hex()}, active="new")

    assert store.reencrypt("k")
    assert (tmp_path / "k").read_bytes().startswith(b"sealed\x00\x01new\x00")
    assert pattern(3 * SEGMENT) == store.get("k")
    assert pattern(3 * SEGMENT)[SEGMENT - 5 : SEGMENT + 5] == store.get(
        "k", byte_range=ByteRange(SEGMENT - 5, SEGMENT + 5)
    )
    with store.open("k") as file:
        file.seek(2 * SEGMENT)
        assert pattern(3 * SEGMENT)[2 * SEGMENT :] == file.read()
