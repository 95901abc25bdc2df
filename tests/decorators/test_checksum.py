"""Checksums: where they are stored, and that they detect all damage."""

from __future__ import annotations

import hashlib

import pytest
from contents import opened

import storage.sync
from storage import (
    ByteRange,
    ChecksumStore,
    CorruptObjectError,
    DictStore,
    FilesystemStore,
    GzipStore,
    StoreDecorator,
)
from storage._core.data import CHUNK

DIGEST = hashlib.sha256(b"0123456789").digest()

#: What may become of an object below.
DAMAGES = {
    "a bit of the data": b"0123456788" + DIGEST,
    "a bit of the checksum": b"0123456789" + DIGEST[:-1] + bytes([DIGEST[-1] ^ 1]),
    "a byte is missing": b"012345678" + DIGEST,
    "the end is missing": b"0123456789" + DIGEST[:-1],
    "the start is missing": b"123456789" + DIGEST,
    "a byte too many": b"0123456789" + DIGEST + b"\0",
    "the checksum only": DIGEST,
    "shorter than a checksum": b"0123456789",
    "nothing": b"",
    "never summed": b"x" * 100,
    "zeros": bytes(42),
}


async def test_checksum_stands_behind_the_data() -> None:
    """Other programs can verify it, or cut it off."""
    base = DictStore()

    await ChecksumStore(base).put("k", b"0123456789")

    assert b"0123456789" + DIGEST == await base.get("k")


@pytest.mark.parametrize("below", DAMAGES.values(), ids=list(DAMAGES))
async def test_damage_is_found_however_it_is_read(below: bytes) -> None:
    """Whole or in part, alone or in a bulk call, in one piece or in many."""
    base = DictStore()
    store = ChecksumStore(base)
    await base.put("k", below)

    for read in (store.get("k"), store.get("k", byte_range=ByteRange(0, 1)), opened(store, "k")):
        with pytest.raises(CorruptObjectError) as caught:
            await read
        assert ("k", "ChecksumStore(DictStore())") == (caught.value.key, caught.value.store)
    assert isinstance((await store.get_many(["k"]))["k"], CorruptObjectError)


async def test_reader_keeps_the_last_bytes_until_they_are_verified() -> None:
    """Pieces are returned as they come, but never all of a damaged object."""
    base = DictStore()
    store = ChecksumStore(base)
    await store.put("k", bytes(3 * CHUNK))
    await base.put("k", b"\1" + (await base.get("k"))[1:])

    async with store.open("k") as reader:
        assert [CHUNK, CHUNK] == [len(await reader.read(CHUNK)) for _ in range(2)]
        with pytest.raises(CorruptObjectError):
            await reader.read(CHUNK)


async def test_head_does_not_read_the_object() -> None:
    """The size is that of the object below without the checksum; it is not measured or stored."""

    class Unread(StoreDecorator):
        async def get(self, key: str, *, byte_range: ByteRange | None = None) -> bytes:
            raise AssertionError("the object was read")

        head = StoreDecorator.head
        scan = StoreDecorator.scan

    base = DictStore()
    await ChecksumStore(base).put("k", iter([b"01234", b"56789"]), attributes={"color": "red"})
    store = ChecksumStore(Unread(base))

    assert (10, {"color": "red"}) == ((await store.head("k")).size, (await store.head("k")).attributes)
    assert [10] == [info.size async for info in store.scan()]
    assert store.capabilities.cheap_head
    assert {"color": "red"} == (await base.head("k")).attributes


@pytest.mark.parametrize("below", [b"", b"x" * 31])
async def test_head_of_what_is_too_short_is_an_error(below: bytes) -> None:
    """A size cannot be negative."""
    base = DictStore()
    await base.put("k", below)

    with pytest.raises(CorruptObjectError):
        await ChecksumStore(base).head("k")


async def test_codec_above_keeps_its_sizes_through_a_checksum() -> None:
    """The size attribute of another codec is not used as the checksum store's."""
    store = GzipStore(ChecksumStore(DictStore()))
    await store.put("k", b"a" * 1000, attributes={"decoded-sizes": "5"})
    await store.put("stream", iter([b"a" * 1000]))

    info = await store.head("k")
    assert (1000, {"decoded-sizes": "5"}) == (info.size, info.attributes)
    assert 1000 == (await store.head("stream")).size


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha512", "blake2b", "sha3_256"])
async def test_any_hash_will_do(algorithm: str) -> None:
    """The checksum is the digest, whatever its length."""
    base = DictStore()
    store = ChecksumStore(base, algorithm=algorithm)
    await store.put("k", iter([b"0123", b"456789"]))

    assert b"0123456789" + hashlib.new(algorithm, b"0123456789").digest() == await base.get("k")
    assert b"0123456789" == await store.get("k")


@pytest.mark.parametrize("algorithm", ["crc32", "shake_128", "", "sha-1024"])
def test_unknown_hash_is_refused_with_those_there_are(algorithm: str) -> None:
    """A hash without a fixed length is refused, too."""
    with pytest.raises(ValueError, match=r"unknown checksum algorithm .*; use one of blake2b, .*sha256, "):
        ChecksumStore(DictStore(), algorithm=algorithm)


async def test_other_hash_of_the_same_length_is_damage() -> None:
    """An object is verified only with the hash that the store was given."""
    base = DictStore()
    await ChecksumStore(base).put("k", b"v")

    with pytest.raises(CorruptObjectError, match="the blake2s checksum does not match the data, key 'k'"):
        await ChecksumStore(base, algorithm="blake2s").get("k")


async def test_copy_takes_the_checksum_along() -> None:
    """A copy is made in the store below, and is still verified."""
    base = DictStore()
    store = ChecksumStore(base)
    await store.put("k", b"v")
    await store.copy("k", "copy")
    await base.put("copy", b"w" + (await base.get("copy"))[1:])

    with pytest.raises(CorruptObjectError):
        await store.get("copy")


async def test_range_of_an_open_object_is_read_as_it_is() -> None:
    """To verify a part, the whole object would have to be read: the docs say so."""
    base = DictStore()
    store = ChecksumStore(base)
    await base.put("k", b"0123456788" + DIGEST)

    async with store.open("k", byte_range=ByteRange(0, 3)) as reader:
        assert b"012" == await reader.read()


def test_sync_face_verifies(tmp_path: object) -> None:
    """A damaged file is detected through `storage.sync`, too."""
    with storage.sync.ChecksumStore(storage.sync.FilesystemStore(str(tmp_path))) as store:
        store.put("k", iter([b"0123", b"456789"]))
        assert b"0123456789" == store.get("k")

        storage.sync.FilesystemStore(str(tmp_path)).put("k", b"0123456788" + DIGEST)
        with store.open("k") as file, pytest.raises(CorruptObjectError):
            file.read()
        assert FilesystemStore is type(store.async_store.base)
