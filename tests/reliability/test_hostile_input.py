"""Bytes, attributes and URLs made to do harm: each is read as it is, or raises an error of this package."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stacks import DECORATORS, SECRET

from storage import (
    Base64Store,
    ByteRange,
    ChecksumStore,
    ConfigError,
    CorruptObjectError,
    DictStore,
    EncryptingStore,
    GzipStore,
    JsonStore,
    ObjectStore,
    StorageError,
    TextEncodingStore,
    ZstdStore,
    open_store,
    registry,
)
from storage.testing.suite.harness import listed

#: What decodes the bytes of others. A stack is there because an inner decoder's error must not confuse an outer one.
DECODERS: dict[str, Callable[[ObjectStore], Any]] = {
    "gzip": GzipStore,
    "zstd": ZstdStore,
    "base64": Base64Store,
    "checksum": ChecksumStore,
    "encrypting": lambda base: EncryptingStore(base, {"only": SECRET}),
    "text": lambda base: TextEncodingStore(base, "utf-8"),
    "json": JsonStore,
    "gzip over checksum over encrypting": lambda base: GzipStore(
        ChecksumStore(EncryptingStore(base, {"only": SECRET}))
    ),
}

#: The ones that tell what was changed in any way; the others take some changed bytes for others that are right, too.
SEALED = ("checksum", "encrypting", "gzip over checksum over encrypting")


@st.composite
def damages(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Draw a damage: bytes are changed, removed or inserted, the object is cut short, repeated or replaced."""
    at, count = draw(st.integers(0, 400)), draw(st.integers(0, 40))
    new = draw(st.binary(max_size=40))
    kind = draw(st.sampled_from(["changed", "cut", "doubled", "replaced"]))

    def damage(data: bytes) -> bytes:
        begin = at % (len(data) + 1)
        if kind == "changed":
            return data[:begin] + new + data[begin + count :]
        return {"cut": data[:begin], "doubled": data + data, "replaced": new}[kind]

    return damage


#: What is said of an object that is not what it must be.
CORRUPT = (CorruptObjectError, "k")


async def _whole(store: Any) -> object:
    return await store.get("k")


async def _ranged(store: Any) -> object:
    return await store.get("k", byte_range=ByteRange(3, 9))


async def _streamed(store: Any) -> object:
    async with store.open("k") as reader:
        return b"".join([piece async for piece in reader])


async def _described(store: Any) -> object:
    return (await store.head("k")).size


READS = (_whole, _ranged, _streamed, _described)


async def _outcome(read: Callable[[Any], Any], store: Any) -> object:
    """Return the bytes read, or the error of this package and the key that it names."""
    try:
        return await read(store)
    except StorageError as error:
        return type(error), error.key


@given(st.data(), st.sampled_from(sorted(DECODERS)), damages())
def test_damaged_object_is_an_error_of_ours_or_read(data: st.DataObject, decoder: str, damage: Any) -> None:
    """This holds for every way to read it; a broken seal never yields data; and the object can be replaced."""
    value: Any = {"text": "grün" * 30, "json": {"a": [1, 2.5, None]}}.get(decoder, bytes(range(256)))
    attributes = data.draw(
        st.sampled_from([{}, {"decoded-sizes": "7"}, {"decoded-sizes": "x,-1"}, {"expires-at": "?"}])
    )

    async def check() -> None:
        base = DictStore()
        async with DECODERS[decoder](base) as store:
            await store.put("k", value)
            right = [await _outcome(read, store) for read in READS]
            kept = await base.get("k")
            harmed = damage(kept)
            info = await base.head("k")
            await base.put("k", harmed, attributes={**info.attributes, **attributes})

            outcomes = [await _outcome(read, store) for read in READS]
            if decoder in SEALED:
                assert outcomes[0] in (right[0], CORRUPT)
                assert outcomes[2] in (right[2], CORRUPT)
            assert {"k"} >= {each[1] for each in outcomes if isinstance(each, tuple)}
            assert ["k"] == await listed(store.keys())
            await store.put("k", value)
            assert right == [await _outcome(read, store) for read in READS]

    asyncio.run(check())


URLS = st.builds(
    "{}{}{}".format,
    st.sampled_from([*registry.short_names(), "", "x", "FILE", "s3+x"]),
    st.sampled_from([":", "://", ":///", "", ":/../", "://user:secret@", "://[::1]:99999/", "://host:port/"]),
    st.one_of(
        st.text(max_size=30),
        st.from_regex(r"[a-z/.%0-9]{0,12}(\?[a-z_]{1,8}=[a-z0-9%]{0,6}(&[a-z_]{0,8}=[a-z0-9]{0,6})?)?", fullmatch=True),
    ),
)


@given(URLS)
def test_any_url_is_a_store_or_says_what_is_wrong(url: str) -> None:
    """The error shows only the scheme and the names of parameters."""
    try:
        said = repr(open_store(url))
    except (ConfigError, ImportError) as error:
        said = str(error)

    assert "secret" not in said or "secret" in url.partition(":")[0]


@pytest.mark.parametrize("name", sorted(DECORATORS))
async def test_repr_shows_no_value_of_an_object(name: str) -> None:
    """The repr of a store has neither the data nor the encryption key."""
    each = DECORATORS[name]
    value = b"\x00 very private \xff"
    base = DictStore()
    async with (each.wrap or (lambda store: store))(each.make(base)) as store:
        if store.capabilities.writable:
            await store.put("k", value)

        text = f"{store!r} {store} {base!r}"

    assert not [part for part in ("private", repr(SECRET)[2:12], SECRET.hex()[:16]) if part in text]
