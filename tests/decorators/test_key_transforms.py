"""Decorators that change keys: the keys in the store below, and objects that are not theirs."""

from __future__ import annotations

import hashlib
import string
from collections.abc import Callable
from pathlib import Path

import pytest
from contents import filled
from doubles import WatchedStore
from hypothesis import given
from hypothesis import strategies as st

from storage import (
    DictStore,
    FilesystemStore,
    HashPrefixStore,
    InvalidKeyError,
    ObjectStore,
    PrefixStore,
    SqliteStore,
    UrlEncodingStore,
    clear_store,
)
from storage.testing.suite.harness import listed

KEYS = st.text(min_size=1) | st.lists(st.sampled_from([".", "..", "", "a", "%", "%2E", "é", "..."])).map("/".join)


# -- PrefixStore ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [lambda root: DictStore(), FilesystemStore, lambda root: SqliteStore(root / "objects.db")],
    ids=["dict", "filesystem", "sqlite"],
)
async def test_clear_store_through_a_prefix_touches_only_its_own(
    make: Callable[[Path], ObjectStore], tmp_path: Path
) -> None:
    """Other objects are kept, even those whose keys begin alike."""
    others = ["a", "a-b/c", "aa/b", "b/a/c", "A/b"]
    async with make(tmp_path) as base:
        await base.put_many(dict.fromkeys([*others, "x/b", "x/c/d", "x/ä"], b"v"))
        part = PrefixStore(base, "x/")

        await clear_store(part, "c")
        assert ["b", "ä"] == await listed(part.keys())
        await clear_store(part)

        assert sorted(others) == await listed(base.keys())


# -- HashPrefixStore -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("length", "separator"), [(1, "/"), (8, ""), (16, "--"), (64, "_")])
async def test_hash_of_any_length_and_separator(length: int, separator: str) -> None:
    """The key below is the start of the SHA-256, the separator and the key."""
    base = DictStore()
    store = HashPrefixStore(base, hash_length=length, separator=separator)
    keys = ["b/c", "a", "é"]
    await store.put_many(dict.fromkeys(keys, b"v"))

    assert {hashlib.sha256(key.encode()).hexdigest()[:length] + separator + key for key in keys} == set(
        await listed(base.keys())
    )
    assert ["a", "b/c", "é"] == await listed(store.keys())


async def test_keys_without_their_hash_are_not_there() -> None:
    """Objects of another program in the same store are neither listed nor cleared."""
    right = hashlib.sha256(b"a").hexdigest()[:8]
    foreign = ["a", "00000000/a", right, f"{right}/", f"{right}-a", f"{right}/b", f"x{right}/a", right.upper() + "/a"]
    base = await filled(f"{right}/a", *foreign)
    store = HashPrefixStore(base)

    assert ["a"] == await listed(store.keys())
    await store.clear()

    assert sorted(foreign) == await listed(base.keys())


@pytest.mark.parametrize("length", [0, -1, 65])
def test_hash_has_1_to_64_digits(length: int) -> None:
    with pytest.raises(ValueError, match="1 to 64"):
        HashPrefixStore(DictStore(), hash_length=length)


# -- UrlEncodingStore ----------------------------------------------------------------------------------------------


@given(KEYS.filter(bool))
def test_any_key_is_encoded_and_comes_back(key: str) -> None:
    """Encoded keys have only characters that need no quoting, the same number of slashes, and no '.' or '..'."""
    store = UrlEncodingStore(DictStore())
    below = store.encode(key)

    assert set() == set(below) - set(string.ascii_letters + string.digits + "-._~%/")
    assert key.count("/") == below.count("/")
    assert set() == {".", ".."} & set(below.split("/"))
    assert key == store.decode(below)


@given(KEYS, st.integers(0, 30))
def test_prefix_below_has_every_key_below_it(key: str, length: int) -> None:
    """No key is missed, whatever the prefix ends in, such as half of a name of dots."""
    store = UrlEncodingStore(DictStore())

    assert store.encode(key).startswith(store.encode_prefix(key[:length]))


async def test_encoded_keys_keep_their_hierarchy_in_files(tmp_path: Path) -> None:
    """Slashes separate directories; every key is a plain path below, except for empty names."""
    store = UrlEncodingStore(FilesystemStore(tmp_path))
    await store.put_many({"reports/50 % off": b"1", "../up": b"2", "nul\0": b"3"})

    assert b"1" == (tmp_path / "reports" / "50%20%25%20off").read_bytes()
    assert ["%2E%2E", "nul%00", "reports"] == sorted(path.name for path in tmp_path.iterdir() if path.name[0] != ".")
    assert ["../up", "nul\0", "reports/50 % off"] == await listed(store.keys())
    with pytest.raises(InvalidKeyError) as caught:
        await store.put("ä//b", b"")
    assert "ä//b" == caught.value.key


async def test_keys_that_are_not_encoded_are_not_there() -> None:
    """Only the canonical encoding of a key counts: others would be two objects of one name."""
    foreign = ["é", "a b", "%61", "%2f", "%", "%zz", "%ff", "..", "a/./b", "a%2Fb", "%2e", "b+c%"]
    base = await filled("%2E%2E/a%20b", *foreign)
    store = UrlEncodingStore(base)

    assert ["../a b"] == await listed(store.keys())
    await store.clear()

    assert sorted(foreign) == await listed(base.keys())


@pytest.mark.parametrize(
    ("prefix", "below"),
    [("", ""), ("a b/c", "a%20b/c"), ("a/.", "a/"), ("..", ""), ("a/..", "a/"), ("../", "%2E%2E/"), (".x", ".x")],
)
async def test_listing_below_a_prefix_reads_no_more(prefix: str, below: str) -> None:
    """The store below lists only what can match; dots at the end of the prefix are left out."""
    base = WatchedStore(DictStore())
    store = UrlEncodingStore(base)
    keys = ["..", ".", "../x", "./x", ".x", "...", "a/.", "a/..", "a/.b", "a/./c", "a/../d", "a b/c", "a b/cd", "a"]
    await store.put_many(dict.fromkeys(keys, b"v"))

    assert sorted(key for key in keys if key.startswith(prefix)) == await listed(store.keys(prefix))
    assert [f"keys {below}"] == [seen for seen in base.seen if seen.startswith("keys")]


async def test_prefix_that_no_key_can_have_lists_nothing() -> None:
    """A lone surrogate is in no key."""
    store = UrlEncodingStore(await filled("a"))

    assert [] == await listed(store.keys("\ud800"))
