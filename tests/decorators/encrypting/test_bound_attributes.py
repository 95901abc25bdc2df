"""Attributes are bound to their encrypted object: what is done to them below is found."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import pytest
from contents import opened
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from left_out import scanned

from storage import (
    ByteRange,
    CorruptObjectError,
    DictStore,
    EncryptingStore,
    ExpiringStore,
    FilesystemStore,
    GzipStore,
    IncompleteListingError,
    ObjectStore,
    RangeNotSatisfiableError,
)

SECRET, OTHER = bytes(range(32)), bytes(range(100, 132))
HEADER, SEALED, TAG = 72, 65552, 16

GIVEN = {"content-type": "text/plain", "owner": "zoë", "expires-in": "60"}

READS: dict[str, Callable[[ObjectStore, str], Awaitable[object]]] = {
    "head": lambda store, key: store.head(key),
    "open": lambda store, key: opened(store, key),
    "a range": lambda store, key: store.get(key, byte_range=ByteRange(1, 2)),
    "copy": lambda store, key: store.copy(key, "copy"),
}


def earlier(data: bytes, name: str, *, key_id: str = "1", key: bytes = SECRET) -> bytes:
    """Return an object as the earlier versions wrote it, with a salt that has no mark."""
    salt = os.urandom(32)
    header = b"sealed\x00\x01" + key_id.encode().ljust(32, b"\0") + salt
    cipher = AESGCM(HKDF(SHA256(), 32, salt, b"stackstore sealed 1").derive(key))
    return header + cipher.encrypt(bytes(11) + b"\1", data, header + name.encode())


@pytest.fixture
def base() -> DictStore:
    return DictStore()


@pytest.fixture
def store(base: DictStore) -> EncryptingStore:
    return EncryptingStore(base, {"1": SECRET})


async def rewritten(base: ObjectStore, key: str, attributes: Mapping[str, str] | None) -> None:
    """Write an object below again, with other attributes."""
    await base.put(key, await base.get(key), attributes=attributes)


def without(attributes: Mapping[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in attributes.items() if name not in names}


CHANGES: Mapping[str, Callable[[Mapping[str, str]], Mapping[str, str]]] = {
    "a value changed": lambda below: {**below, "content-type": "text/html"},
    "one removed": lambda below: without(below, "owner"),
    "one that servers add, removed": lambda below: without(below, "content-type"),
    "one added": lambda below: {**below, "role": "admin"},
    "the caller's removed": lambda below: {"seal": below["seal"]},
    "the seal removed": lambda below: without(below, "seal"),
    "all removed": lambda below: {},
    "a value moved to another name": lambda below: {**without(below, "owner"), "own": "erzoë"},
    "the seal cut": lambda below: {**below, "seal": below["seal"][:-4]},
    "the seal's salt changed": lambda below: {**below, "seal": "AAAA" + below["seal"][4:]},
    "the seal's list of names changed": lambda below: {**below, "seal": below["seal"][:32] + "A" + below["seal"][33:]},
    "the seal is another text": lambda below: {**below, "seal": "sealed"},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
@pytest.mark.parametrize("read", READS.values(), ids=list(READS))
async def test_changed_attributes_are_found(
    base: DictStore,
    store: EncryptingStore,
    change: Callable[[Mapping[str, str]], Mapping[str, str]],
    read: Callable[[ObjectStore, str], Awaitable[object]],
) -> None:
    """However the object is read, and the error names it; a scan goes on over the others."""
    for key in ("a", "k", "z"):
        await store.put(key, b"data", attributes=GIVEN)
    await rewritten(base, "k", change((await base.head("k")).attributes))

    with pytest.raises(CorruptObjectError) as raised:
        await read(store, "k")
    assert "k" == raised.value.key
    assert (["a", "z"], ["k"]) == await scanned(store)


@pytest.mark.parametrize("attributes", [None, {}, GIVEN, {"seal": "own"}, {"seal": " "}, {"expires-in": "5"}])
@pytest.mark.parametrize("streamed", [False, True])
async def test_attributes_come_back(
    base: DictStore, store: EncryptingStore, attributes: dict[str, str] | None, streamed: bool
) -> None:
    """Those that were put and no others, also one that has the seal's own name."""
    await store.put("k", iter([b"data"]) if streamed else b"data", attributes=attributes)

    async with store.open("k") as reader:
        assert (attributes or {}) == reader.info.attributes
    assert (attributes or {}) == (await store.head("k")).attributes
    assert [attributes or {}] == [info.attributes async for info in store.scan()]
    assert await store.copy("k", "c")
    assert (attributes or {}) == (await store.head("c")).attributes


async def test_attributes_of_another_object_are_found(base: DictStore, store: EncryptingStore) -> None:
    """Exchanged with those of another object, or of another version of the same."""
    await store.put("admin", b"data", attributes={"role": "admin"})
    await store.put("k", b"data", attributes={"role": "guest"})
    first = (await base.head("k")).attributes
    await store.put("k", b"data", attributes={"role": "guest"})

    await rewritten(base, "k", first)
    with pytest.raises(CorruptObjectError):
        await opened(store, "k")
    await rewritten(base, "k", (await base.head("admin")).attributes)
    for read in READS.values():
        with pytest.raises(CorruptObjectError):
            await read(store, "k")


@pytest.mark.parametrize("added", [{"role": "admin"}, {"role": "admin", "seal": "x"}])
async def test_attributes_of_an_object_without_any_are_found(
    base: DictStore, store: EncryptingStore, added: dict[str, str]
) -> None:
    """Nobody can give attributes to an object that has none."""
    await store.put("k", b"data")
    await rewritten(base, "k", added)

    for read in READS.values():
        with pytest.raises(CorruptObjectError):
            await read(store, "k")


async def test_object_without_attributes_survives_the_loss_of_its_seal(base: DictStore, store: EncryptingStore) -> None:
    """Copies of files often lose extended attributes: where there were none, nothing is lost."""
    await store.put("k", b"data")
    await rewritten(base, "k", None)

    assert ({}, 4) == ((await store.head("k")).attributes, (await store.head("k")).size)
    assert b"data" == await opened(store, "k")


@pytest.mark.parametrize("given", [None, GIVEN])
async def test_what_servers_add_is_left_out(
    base: DictStore, store: EncryptingStore, given: dict[str, str] | None
) -> None:
    """A store that adds headers of its own does no harm; the description has only what was put."""
    await store.put("k", b"data", attributes=given)
    added = {"content-language": "en", "expires": "never", **(await base.head("k")).attributes}
    await rewritten(base, "k", added)

    assert (given or {}) == (await store.head("k")).attributes
    assert b"data" == await opened(store, "k")


async def test_lifetime_that_became_a_deadline_is_passed_on(base: DictStore, store: EncryptingStore) -> None:
    """A store below may turn expires-in into expires-at."""
    deadline = "2999-01-01T00:00:00.000000+00:00"
    await store.put("k", b"data", attributes={"a": "b", "expires-in": "60"})
    await rewritten(base, "k", {**without((await base.head("k")).attributes, "expires-in"), "expires-at": deadline})

    assert {"a": "b", "expires-at": deadline} == (await store.head("k")).attributes


async def test_deadline_of_an_expiring_store_cannot_be_changed(base: DictStore, store: EncryptingStore) -> None:
    """What has expired cannot be made to live on."""
    expiring = ExpiringStore(store, 60)
    await expiring.put("k", b"data")
    below = {**(await base.head("k")).attributes, "expires-at": "2999-01-01T00:00:00.000000+00:00"}
    await rewritten(base, "k", below)

    with pytest.raises(CorruptObjectError):
        await expiring.get("k")


async def test_decoded_size_cannot_be_forged(base: DictStore, store: EncryptingStore) -> None:
    """A codec above believes only what it has put."""
    zipped = GzipStore(store)
    await zipped.put("k", b"a" * 1000)
    await rewritten(base, "k", {**(await base.head("k")).attributes, "decoded-sizes": "30"})

    with pytest.raises(CorruptObjectError):
        await zipped.head("k")
    assert b"a" * 1000 == await zipped.get("k")  # the bytes are proved by themselves


PUT: dict[str, dict[str, str] | None] = {"attributes put": GIVEN, "none put": None}

#: What is done to the header of an object whose bytes these are; those of other objects: without attributes, with
#: attributes, of an earlier version.
HEADERS: dict[str, Callable[[bytes, list[bytes]], bytes]] = {
    "header kept": lambda sealed, others: sealed,
    "mark flipped": lambda sealed, others: sealed[:71] + bytes([sealed[71] ^ 1]) + sealed[72:],
    "random bytes flipped": lambda sealed, others: sealed[:40] + bytes([sealed[40] ^ 1]) + sealed[41:],
    "header of a bare object": lambda sealed, others: others[0][:HEADER] + sealed[HEADER:],
    "header of a bound object": lambda sealed, others: others[1][:HEADER] + sealed[HEADER:],
    "header of an earlier version": lambda sealed, others: others[2][:HEADER] + sealed[HEADER:],
}

BELOW: dict[str, Callable[[Mapping[str, str]], Mapping[str, str]]] = {
    "all kept": lambda below: below,
    "all removed": lambda below: {},
    "seal removed": lambda below: without(below, "seal"),
    "only the seal kept": lambda below: {"seal": below["seal"]},
    "others given": lambda below: {"role": "admin"},
    "others added": lambda below: {**below, "role": "admin"},
    "a time given": lambda below: {"expires-at": "2999-01-01T00:00:00.000000+00:00"},
}


async def described(store: ObjectStore) -> dict[str, object]:
    """Return the attributes of ``k`` by each way to read them, or that it is damaged."""

    async def by_open() -> object:
        async with store.open("k") as reader:
            return reader.info.attributes

    async def by_open_of_a_range() -> object:
        async with store.open("k", byte_range=ByteRange(0, 0)) as reader:
            return reader.info.attributes

    async def by_scan() -> object:
        [attributes] = [info.attributes async for info in store.scan("k")]
        return attributes

    async def by_copy() -> object:
        await store.copy("k", "copy")
        return (await store.head("copy")).attributes

    async def by_head() -> object:
        return (await store.head("k")).attributes

    found: dict[str, object] = {}
    for call in (by_head, by_scan, by_open, by_open_of_a_range, by_copy):
        try:
            found[call.__name__] = await call()
        except (CorruptObjectError, IncompleteListingError):
            found[call.__name__] = "damaged"
    return found


@pytest.mark.parametrize("put", PUT.values(), ids=list(PUT))
@pytest.mark.parametrize("size", [0, 4, 200_000])
@pytest.mark.parametrize("header", HEADERS.values(), ids=list(HEADERS))
@pytest.mark.parametrize("change", BELOW.values(), ids=list(BELOW))
async def test_attributes_are_those_that_were_put_or_damaged(
    base: DictStore,
    store: EncryptingStore,
    put: dict[str, str] | None,
    size: int,
    header: Callable[[bytes, list[bytes]], bytes],
    change: Callable[[Mapping[str, str]], Mapping[str, str]],
) -> None:
    """Whatever is done to the header and the attributes together, and by whichever call they are read."""
    await store.put("k", bytes(size), attributes=put)
    await store.put("bare", b"data")
    await store.put("bound", b"data", attributes=GIVEN)
    await base.put("old", earlier(b"data", "old"))
    others = [await base.get(key) for key in ("bare", "bound", "old")]
    sealed, below = await base.get("k"), (await base.head("k")).attributes
    await base.put("k", header(sealed, others), attributes=change(below))

    allowed = [put or {}, "damaged"]
    if put is None and change is BELOW["a time given"] and header is HEADERS["header kept"]:
        allowed.append(change(below))  # servers add deadlines
    found = await described(store)
    assert [] == [(name, each) for name, each in found.items() if each not in allowed]
    if header is HEADERS["header kept"] and change is BELOW["all kept"]:
        assert {(put and len(put)) or 0} == {len(each) for each in found.values()}  # type: ignore[arg-type]
    elif header is not HEADERS["header kept"]:
        with pytest.raises(CorruptObjectError):
            await store.get("k")


# -- objects of earlier versions -----------------------------------------------------------------------------------


async def test_objects_of_earlier_versions_are_read(base: DictStore, store: EncryptingStore) -> None:
    """Their attributes are bound to nothing, and are given as they are."""
    await base.put("k", earlier(b"data", "k"), attributes=GIVEN)
    await base.put("l", earlier(b"data", "l"))

    assert ([GIVEN, {}], b"data") == ([info.attributes async for info in store.scan()], await opened(store, "k"))


async def test_new_object_does_not_pass_for_one_of_an_earlier_version(base: DictStore, store: EncryptingStore) -> None:
    """A salt without the mark is another salt, with which nothing can be decrypted."""
    await store.put("k", b"data", attributes={"role": "guest"})
    sealed = await base.get("k")
    await base.put("k", sealed[:64] + bytes(8) + sealed[72:], attributes={"role": "admin"})

    for read in READS.values():
        with pytest.raises(CorruptObjectError):
            await read(store, "k")


async def test_reencrypting_binds_the_attributes(base: DictStore, store: EncryptingStore) -> None:
    """Objects of earlier versions become new ones, once."""
    await base.put("k", earlier(b"data", "k"), attributes=GIVEN)

    assert [True, False] == [await store.reencrypt("k"), await store.reencrypt("k")]
    assert GIVEN == (await store.head("k")).attributes
    await rewritten(base, "k", {**(await base.head("k")).attributes, "owner": "me"})
    with pytest.raises(CorruptObjectError):
        await store.head("k")


async def test_key_of_each_object_binds_its_attributes(base: DictStore) -> None:
    """After a change of keys, the attributes of old and new objects are verified, each with its own key."""
    await EncryptingStore(base, {"1": SECRET}).put("k", b"data", attributes=GIVEN)
    store = EncryptingStore(base, {"1": SECRET, "2": OTHER}, active="2")
    await store.put("l", b"data", attributes=GIVEN)

    assert [GIVEN, GIVEN] == [info.attributes async for info in store.scan()]
    with pytest.raises(CorruptObjectError, match="the key '1'"):
        await EncryptingStore(base, {"2": OTHER}).head("k")


# -- sizes ---------------------------------------------------------------------------------------------------------


async def test_size_of_what_was_put_whole_is_bound(base: DictStore, store: EncryptingStore) -> None:
    """A head finds that such an object was cut."""
    await store.put("k", bytes(200_000))
    below = await base.head("k")
    await base.put("k", (await base.get("k"))[: HEADER + SEALED * 2], attributes=below.attributes)

    with pytest.raises(CorruptObjectError):
        await store.head("k")


CUT_RANGES = [ByteRange(5, 5), ByteRange(150_000), ByteRange(131_072), ByteRange(131_073, 140_000), ByteRange.suffix(0)]


@pytest.mark.parametrize("byte_range", [*CUT_RANGES, ByteRange.suffix(5)])
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("kept", [False, True])
async def test_range_of_a_cut_object_proves_its_end(
    base: DictStore, store: EncryptingStore, byte_range: ByteRange, streamed: bool, kept: bool
) -> None:
    """A range that is empty or outside tells something of the size, too."""
    content = bytes(200_000)
    await store.put("k", iter([content]) if streamed else content)
    assert (
        b"" == await store.get("k", byte_range=ByteRange(5, 5)) == await store.get("k", byte_range=ByteRange.suffix(0))
    )
    with pytest.raises(RangeNotSatisfiableError):
        await store.get("k", byte_range=ByteRange(200_001))
    below = (await base.head("k")).attributes
    await base.put("k", (await base.get("k"))[: HEADER + SEALED * 2], attributes=below if kept else None)

    with pytest.raises(CorruptObjectError):
        await store.get("k", byte_range=byte_range)


async def test_files_keep_what_is_bound(tmp_path: Path) -> None:
    """With extended attributes as they are on a disk."""
    base = FilesystemStore(tmp_path)
    if not base.capabilities.attributes:
        pytest.skip("the file system has no extended attributes")
    store = EncryptingStore(base, {"1": SECRET})
    await store.put("k", b"data", attributes=GIVEN)

    assert GIVEN == (await store.head("k")).attributes
    os.setxattr(tmp_path / "k", "user.storage.attributes", b'{"role":"admin"}')
    with pytest.raises(CorruptObjectError):
        await store.head("k")
