"""Listing: `keys`, `scan` and `children`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import product
from pathlib import Path

import pytest

from storage.base import ObjectStore
from storage.errors import UnsupportedOperationError
from storage.testing.suite.harness import Harness, each, listed, needs

__all__ = ["Listing", "children_of"]

#: Keys that are neighbours in some order: of bytes, of UTF-16, of path segments, of letters without case.
NEIGHBOURS = [
    *("a", "a-b", "a.b", "a/b", "a/c/d", "a0", "a/c-d", "a/c/d0", "A", "B/a", "aa"),
    *("b!/x", "b-c", "b.c/d", "b/", "b/c", "b/c/d/e", "b0", "b0/c", "é", "é/f", "z", "Z", "zé", "ze\u0301"),
    *("\uffff", "\U00010000", "\ufffd/a", "\U0001f9fa/a", "_", "%", "a%", "a_", "a*", "[a]", "d//e", "d/e"),
]

PREFIXES = ["", "a", "a/", "a/c", "a/c/", "A", "b", "b/", "b/c", "b/c/d/", "é", "\U00010000", "%", "a_", "a*", "[", "x"]
STARTS = ["", "a", "a-", "a/", "a/c", "a/c/d", "a/c/e", "a0", "b", "b/", "b/c/", "b0", "c", "é", "\uffff", "zz", "\0"]
STARTS += ["a\ud800"]  # which is no key, and sorts after some keys


def children_of(keys: Iterable[str], prefix: str, delimiter: str) -> list[str]:
    """Return what `children` must yield for *keys*."""
    found = {}
    for key in sorted(keys):
        if key.startswith(prefix):
            head, cut, _ = key[len(prefix) :].partition(delimiter)
            found[prefix + head + cut] = True
    return list(found)


def _descriptors() -> int:
    """Return the number of open file descriptors of this process; 0 if that is not known."""
    return len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0


class Listing(Harness):
    """A listing yields every key once, in order, and holds no resources between two keys."""

    @needs(writable=None)
    async def test_empty_store_lists_nothing(self, store: ObjectStore) -> None:
        """In an empty store every listing is empty."""
        assert [] == await listed(store.keys())
        assert [] == await listed(store.keys("a/", start_after="a/b"))
        assert [] == await listed(store.scan())
        assert [] == await listed(store.children())

    @needs(writable=None)
    async def test_keys_come_in_code_point_order(self, store: ObjectStore) -> None:
        """`keys` yields keys in the order of code points, not of UTF-16 or of directories."""
        held = await self.fill_some(store, NEIGHBOURS)

        assert len(held) > len(NEIGHBOURS) // 2
        assert sorted(held) == await listed(store.keys())

    @needs(writable=None)
    async def test_prefix_and_start_after_select(self, store: ObjectStore) -> None:
        """A prefix has no special characters, and start_after need not be an existing key."""
        held = sorted(await self.fill_some(store, NEIGHBOURS))

        found = await each(lambda way: listed(store.keys(way[0], start_after=way[1])), product(PREFIXES, STARTS))

        assert {} == {
            (prefix, start): keys
            for (prefix, start), keys in found.items()
            if keys != [key for key in held if key.startswith(prefix) and key > start]
        }

    @needs(writable=None)
    async def test_every_key_is_its_own_start(self, store: ObjectStore) -> None:
        """A listing with start_after=key continues with the next key, for every key."""
        held = sorted(await self.fill_some(store, NEIGHBOURS))

        assert {key: held[number + 1 :] for number, key in enumerate(held)} == (
            await each(lambda key: listed(store.keys(start_after=key)), held)
        )

    @needs(writable=None)
    async def test_prefix_of_no_key_lists_nothing(self, store: ObjectStore) -> None:
        """A prefix that no key starts with gives an empty listing, even if no key of this store could start with it."""
        await self.fill(store, {"k1": b"", "a/k2": b"", "x/k3": b""})
        prefixes = ["nothing", "../", "..", "/", "//", "a//", "./", "a\0", "a\ud800", "x" * 300, "k1/"]
        nothing: dict[str, list[object]] = {prefix: [] for prefix in prefixes}

        assert nothing == {prefix: await listed(store.keys(prefix)) for prefix in prefixes}
        assert nothing == {prefix: await listed(store.scan(prefix)) for prefix in prefixes}
        assert nothing == {prefix: await listed(store.children(prefix)) for prefix in prefixes}

    @needs(writable=None)
    async def test_listing_goes_on_over_pages(self, store: ObjectStore) -> None:
        """With more keys than fit on a page, each is listed once, from the start and from the middle."""
        keys = [f"d{number % 3}/{number:04}" for number in range(self.many)]
        half = len(keys) // 2
        await self.fill(store, dict.fromkeys(keys, b"v"))
        keys.sort()

        assert keys == await listed(store.keys())
        assert keys[half:] == await listed(store.keys(start_after=keys[half - 1]))
        assert [key for key in keys if key.startswith("d1/")] == await listed(store.keys("d1/"))
        assert keys == [info.key async for info in store.scan()]
        assert ["d0/", "d1/", "d2/"] == await listed(store.children())

    async def test_listing_survives_changes(self, store: ObjectStore) -> None:
        """Keys that exist during the whole listing are listed once, in order, while other keys come and go."""
        stays = [f"k{number:03}" for number in range(0, 300, 2)]
        await self.fill(store, dict.fromkeys([*stays, *(f"k{number:03}" for number in range(1, 300, 8))], b"v"))

        found = []
        async for key in store.keys():
            found.append(key)
            number = len(found)
            if number % 10 == 0:
                await store.put(f"k{(number * 7) % 300:03}+", b"new")
                await store.delete(f"k{8 * ((number * 3) % 37) + 1:03}")
                await store.put(stays[number % len(stays)], b"overwritten")

        assert sorted(set(found)) == found
        assert set() == set(stays) - set(found)

    async def test_each_key_can_be_deleted_when_it_is_listed(self, store: ObjectStore) -> None:
        """Deleting each key when it is listed deletes all of them."""
        await self.fill(store, {f"d{number % 4}/k{number}": b"v" for number in range(50)})

        async for key in store.keys():
            await store.delete(key)

        assert [] == await listed(store.keys())

    @needs(writable=None)
    async def test_listings_side_by_side(self, store: ObjectStore) -> None:
        """Two concurrent listings of one store do not disturb each other."""
        keys = [f"k{number}" for number in range(9)]
        await self.fill(store, dict.fromkeys(keys, b"v"))
        one, two = store.keys(), store.keys()

        found = [(await anext(one), await anext(two)) for _ in keys]

        assert [(key, key) for key in keys] == found

    async def test_listing_left_half_way_holds_nothing(self, store: ObjectStore) -> None:
        """An unfinished listing holds no lock and no file descriptor: writes, deletes and other listings work."""
        keys = [f"d{number}/k" for number in range(5)]
        await self.fill(store, dict.fromkeys(keys, b"v"))
        assert 5 == len(await listed(store.keys()))
        assert 5 == len(await listed(store.scan()))

        descriptors = _descriptors()
        left = store.keys(), store.scan()
        assert keys[0] == await anext(left[0])
        assert keys[0] == (await anext(left[1])).key
        held = _descriptors() - descriptors
        await store.put("d0/new", b"w")
        await store.delete("d4/k")

        assert 0 >= held
        assert [*keys[:1], "d0/new", *keys[1:4]] == await listed(store.keys())

    @needs(writable=None)
    async def test_scan_tells_what_head_does(self, store: ObjectStore) -> None:
        """`scan` yields the same ObjectInfo as head, in the order of keys, with the options of keys."""
        held = sorted(await self.fill_some(store, ["a/b", "a/c/d", "a-b", "b", "é", "a/c/e"]))
        heads = {key: await store.head(key) for key in held}

        assert list(heads.values()) == await listed(store.scan())
        assert [heads["a/c/d"], heads["a/c/e"]] == await listed(store.scan("a/", start_after="a/b"))

    @needs(writable=None)
    async def test_children_are_one_level_below(self, store: ObjectStore) -> None:
        """`children` yields the keys and common prefixes one level below a prefix, each once, in full and in order."""
        await self.fill(store, dict.fromkeys(["top", "a/b", "a/c/d", "a/c/e/f", "a/c-d", "b/x/y"], b""))

        assert ["a/", "b/", "top"] == await listed(store.children())
        assert ["a/b", "a/c-d", "a/c/"] == await listed(store.children("a/"))
        assert ["a/c/d", "a/c/e/"] == await listed(store.children("a/c/"))
        assert ["a/c-d", "a/c/"] == await listed(store.children("a/c"))
        assert ["b/x/"] == await listed(store.children("b/"))

    @needs(writable=None)
    async def test_children_for_any_prefix_and_delimiter(self, store: ObjectStore) -> None:
        """The prefix need not end with the delimiter, which may be any text of one or more characters."""
        held = list(await self.fill_some(store, NEIGHBOURS))
        ways = list(product(PREFIXES, ("/", "-", ".", "c", "/c", "\U00010000")))

        expected = {way: children_of(held, *way) for way in ways}
        assert expected == await each(lambda way: listed(store.children(*way)), ways)

    @needs(writable=None)
    async def test_children_need_a_delimiter(self, store: ObjectStore) -> None:
        """`children` with an empty delimiter is a ValueError."""
        with pytest.raises(ValueError, match="delimiter"):
            await listed(store.children("", ""))

    @needs(writable=None, listable=False)
    async def test_listing_is_unsupported(self, store: ObjectStore) -> None:
        """A store that cannot list refuses every listing, and clear with a prefix; it never lists a part."""
        await self.fill(store, {"a/k": b"v"})

        for list_ in (store.keys, store.scan, store.children):
            with pytest.raises(UnsupportedOperationError):
                await listed(list_("a/"))
        with pytest.raises(UnsupportedOperationError):
            await store.clear("a/")

        assert b"v" == await store.get("a/k")
