"""`RoutingStore`: which store has a key, what is listed, capabilities and repr."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from doubles import WatchedStore
from hypothesis import given
from hypothesis import strategies as st

import storage.sync
from storage import (
    BulkError,
    ConfigError,
    DictStore,
    FilesystemStore,
    HashPrefixStore,
    InvalidKeyError,
    KeyNotFoundError,
    ObjectStore,
    PrefixStore,
    ReadonlyStore,
    RoutingStore,
    SqliteStore,
    StoreClosedError,
    StoreDecorator,
    StoreUnavailableError,
)
from storage._concurrency.stepping import step
from storage.testing.suite.harness import listed

# -- which store ---------------------------------------------------------------------------------------------------


async def test_longest_prefix_wins_and_patterns_come_first() -> None:
    """A pattern must match the whole key, and the first that does is used."""
    names = ["a", "a/", "a/b/", "tif", "digits", "default"]
    stores = {name: DictStore() for name in names}
    store = RoutingStore(
        {name: stores[name] for name in ("a/b/", "a", "a/")},
        patterns={r".*\.tif": stores["tif"], r".*\d.*": stores["digits"]},
        default=stores["default"],
    )
    expected = {
        "a": ["a", "ab"],
        "a/": ["a/", "a/b", "a/c"],
        "a/b/": ["a/b/c"],
        "tif": ["a/b/1.tif", "x.tif"],
        "digits": ["a/b/1", "x.tif1"],
        "default": ["A", "b", "x.tiff"],
    }
    keys = sorted(key for held in expected.values() for key in held)

    await store.put_many((key, key.encode()) for key in keys)

    assert expected == {name: await listed(stores[name].keys()) for name in names}
    assert keys == await listed(store.keys())
    assert keys == [info.key async for info in store.scan()]
    assert {key: key.encode() for key in keys} == await store.get_many(keys)


async def test_key_without_a_route_is_invalid_in_every_method() -> None:
    """The error names the routes and the key."""
    store = RoutingStore({"b/": DictStore(), "a/": DictStore()}, patterns={"c+": DictStore()})
    await store.put("a/k", b"v")
    calls: list[Callable[[str], Awaitable[object]]] = [
        store.get,
        store.head,
        store.exists,
        store.delete,
        lambda key: store.open(key).__aenter__(),
        lambda key: store.put(key, b"v"),
        lambda key: store.copy(key, "a/x"),
        lambda key: store.copy("a/k", key),
        lambda key: store.copy("b/missing", key),
        lambda key: store.rename(key, "a/x"),
        lambda key: store.rename("a/k", key),
    ]

    for call in calls:
        with pytest.raises(InvalidKeyError) as caught:
            await call("d/k")
        assert ("d/k", "no route matches the key; the routes are 'a/', 'b/', the pattern 'c+'") == (
            caught.value.key,
            caught.value.message,
        )
    with pytest.raises(BulkError) as bulk:
        await store.delete_many(["d/k", "b/k"])

    assert [InvalidKeyError, type(None)] == [type(result) for result in bulk.value.results.values()]
    assert [] == await listed(store.keys("d/"))
    assert ["a/k"] == await listed(store.keys())


async def test_what_is_another_routes_is_not_there() -> None:
    """A store may hold keys that are routed elsewhere: they are neither read nor listed nor cleared."""
    one, other = DictStore(), DictStore()
    await one.put_many(dict.fromkeys(["a/b/foreign", "a/k", "b", "x.tif"], b"one"))
    await other.put_many(dict.fromkeys(["a/b/k", "a/foreign", "b"], b"other"))
    store = RoutingStore({"a/": one, "a/b/": other}, patterns={r".*\.tif": other})

    assert ["a/b/k", "a/k"] == await listed(store.keys())
    assert ["a/b/k", "a/k"] == [info.key async for info in store.scan()]
    assert ["a/b/", "a/k"] == await listed(store.children("a/"))
    assert not await store.exists("a/b/foreign")
    await store.clear()

    assert ["a/b/foreign", "b", "x.tif"] == await listed(one.keys())
    assert ["a/foreign", "b"] == await listed(other.keys())


SHORT = st.text("ab/", max_size=4)


@given(
    st.dictionaries(SHORT.filter(bool), st.integers(0, 2), max_size=5),
    st.lists(st.tuples(st.sampled_from([".*b", "a.*", "[ab]/.*"]), st.integers(0, 2)), max_size=2),
    st.lists(SHORT.filter(bool), max_size=12),
    SHORT,
    SHORT,
)
def test_any_routes_list_what_was_put(
    routes: dict[str, int], patterns: list[tuple[str, int]], keys: list[str], prefix: str, start_after: str
) -> None:
    """Even if routes share a store or are nested, each key is listed once, in order, and a listing can be resumed."""
    stores = [DictStore() for _ in range(4)]

    async def check() -> None:
        store = RoutingStore(
            {each: stores[number] for each, number in routes.items()},
            patterns={pattern: stores[number] for pattern, number in patterns},
            default=stores[3],
        )
        foreign = dict.fromkeys(["a", "b", "a/b", "b/a", "aa", "ab/"], b"foreign")
        for each in stores:
            await each.put_many(foreign)
        await store.put_many(dict.fromkeys(keys, b"ours"))
        found = {key: await store.get(key) for key in await listed(store.keys()) if key not in foreign or key in keys}

        assert dict.fromkeys(sorted(set(keys)), b"ours") == found
        everything = await listed(store.keys())
        assert sorted(set(everything)) == everything
        chosen = [key for key in everything if key.startswith(prefix) and key > start_after]
        assert chosen == await listed(store.keys(prefix, start_after=start_after))
        assert chosen == [info.key async for info in store.scan(prefix, start_after=start_after)]
        below = [key[len(prefix) :].partition("/") for key in everything if key.startswith(prefix)]
        assert sorted({prefix + head + cut for head, cut, _ in below}) == await listed(store.children(prefix))

    step(check())


@pytest.mark.parametrize("start_after", ["", "a", "a/", "a/k", "b", "b/a", "b/l", "c"])
@pytest.mark.parametrize("prefix", ["", "a/", "b", "b/", "b/k", "c"])
async def test_listing_with_stripped_prefixes(prefix: str, start_after: str) -> None:
    """With prefixes and starts inside, before and after the part that is cut off."""
    store = RoutingStore({"a/": DictStore(), "b/": DictStore()}, default=DictStore(), strip_prefix=True)
    keys = ["a", "a/a", "a/k", "b/a", "b/k", "b/k/x", "b/l", "b0", "c", "k"]
    await store.put_many(dict.fromkeys(keys, b"v"))
    expected = [key for key in keys if key.startswith(prefix) and key > start_after]

    assert expected == await listed(store.keys(prefix, start_after=start_after))
    assert expected == [info.key async for info in store.scan(prefix, start_after=start_after)]


async def test_stripped_prefix_is_not_in_the_store_below() -> None:
    """Errors, descriptions and readers have the whole key."""
    below = DictStore()
    store = RoutingStore({"images/": below}, strip_prefix=True)
    await store.put("images/a/b", b"v")

    assert ["a/b"] == await listed(below.keys())
    assert ["images/a/"] == await listed(store.children("images/"))
    async with store.open("images/a/b") as reader:
        assert ["images/a/b"] * 2 == [reader.info.key, (await store.head("images/a/b")).key]
    for call in (store.get("images/c"), store.copy("images/c", "images/d")):
        with pytest.raises(KeyNotFoundError) as caught:
            await call
        assert "images/c" == caught.value.key
    with pytest.raises(InvalidKeyError, match="nothing is left") as invalid:
        await store.exists("images/")
    assert "images/" == invalid.value.key


async def test_routes_to_transforms_of_keys() -> None:
    """Decorators in a route may change its keys."""
    base = DictStore()
    store = RoutingStore({"images/": HashPrefixStore(PrefixStore(base, "spread/"))}, default=PrefixStore(base, "rest/"))
    await store.put_many({"images/a": b"1", "b": b"2"})

    assert [True, False] == [key.startswith("spread/") for key in reversed(await listed(base.keys()))]
    assert ["b", "images/a"] == await listed(store.keys())


# -- listing -------------------------------------------------------------------------------------------------------


async def test_listing_asks_no_more_than_it_needs() -> None:
    """A store with several routes is listed once, a store without keys of the prefix not at all."""
    one, other = WatchedStore(DictStore()), WatchedStore(DictStore())
    store = RoutingStore({"a/": one, "a/b/": one, "c/": other}, patterns={"x.*": one, "y.*": one}, default=one)

    await listed(store.keys("a/b/c"))
    await listed(store.keys())

    assert ["keys a/b/c", "keys "] == one.seen
    assert ["keys c/"] == other.seen


async def test_children_of_one_store_are_its_own() -> None:
    """If all keys of a prefix are in one store, its `children` is called and its keys are not listed."""
    one, other = WatchedStore(DictStore()), WatchedStore(DictStore())
    store = RoutingStore({"a/": one, "a/b/": other})
    await store.put_many(dict.fromkeys(["a/x/1", "a/x/2", "a/b/c/d"], b""))
    one.seen.clear()
    other.seen.clear()

    assert ["a/x/1", "a/x/2"] == await listed(store.children("a/x/"))
    assert ["a/b/c/"] == await listed(store.children("a/b/"))

    assert [["children a/x/"], ["children a/b/"]] == [one.seen, other.seen]


# -- about itself --------------------------------------------------------------------------------------------------


def test_capabilities_are_what_all_stores_can() -> None:
    """If one store is read-only, the RoutingStore is not `writable`."""
    able, lacking = DictStore(), ReadonlyStore(HashPrefixStore(DictStore()))

    assert able.capabilities == RoutingStore({"a/": able}, default=able).capabilities
    assert {"writable", "conditional_put", "conditional_delete", "bounded_listing", "multi_process"} == {
        name for name, on in asdict(RoutingStore({"a/": able}, default=lacking).capabilities).items() if not on
    }


def test_every_method_is_routed() -> None:
    """A method added to the contract and forgotten here would not use the stores' native methods."""
    public = {name for name in vars(ObjectStore) if not name.startswith("_")}

    assert set() == public - set(vars(RoutingStore))


async def test_all_stores_are_open_inside_and_closed_again(tmp_path: Path) -> None:
    """Also a store that two routes share; the parts have names."""
    one, other = SqliteStore(tmp_path / "one.db"), SqliteStore(tmp_path / "other.db")
    store = RoutingStore({"a/": one, "b/": one}, patterns={"c.*": other}, default=other)

    async with store:
        await store.put_many({"a/k": b"1", "c": b"2", "d": b"3"})
        assert ["a/k", "c", "d"] == await listed(store.keys())
    for each in (one, other):
        with pytest.raises(StoreClosedError):
            await each.get("k")

    assert ["routes['a/']", "routes['b/']", "patterns['c.*']", "default"] == list(store._parts())


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda store: RoutingStore(), "at least one route, or a default"),
        (lambda store: RoutingStore({"": store}, default=DictStore()), "matches every key"),
        (lambda store: RoutingStore(patterns={"[": store}), "not a valid regular expression"),
        (lambda store: RoutingStore({"a/": store, "b/": store}, strip_prefix=True), "put a PrefixStore over it"),
        (lambda store: RoutingStore({"a/": store}, default=store, strip_prefix=True), "put a PrefixStore over it"),
    ],
)
def test_routes_that_make_no_sense_are_refused(make: Callable[[ObjectStore], ObjectStore], says: str) -> None:
    """When the store is built; the message says what is right."""
    with pytest.raises(ConfigError, match=re.escape(says)):
        make(DictStore())


def test_route_leads_to_a_store() -> None:
    routes: Any = {"a/": "somewhere"}
    with pytest.raises(TypeError, match="RoutingStore must be built over a store, not over str"):
        RoutingStore(routes)


def test_it_shows_its_routes() -> None:
    """And the options that are not the default."""
    store = RoutingStore({"a/": DictStore()}, patterns={"b": DictStore()}, default=DictStore(), strip_prefix=True)

    assert "RoutingStore({'a/': DictStore()})" == repr(RoutingStore({"a/": DictStore()}))
    assert (
        "RoutingStore({'a/': DictStore()}, patterns={'b': DictStore()}, default=DictStore(), strip_prefix=True)"
        == repr(store)
    )


async def test_error_of_one_store_ends_the_listing() -> None:
    """A listing that lacks keys must not look complete."""

    class BrokenStore(StoreDecorator):
        async def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
            raise StoreUnavailableError("gone")
            yield

    store = RoutingStore({"a/": DictStore(), "b/": BrokenStore(DictStore())})

    with pytest.raises(StoreUnavailableError):
        await listed(store.keys())
    assert [] == await listed(store.keys("a/"))


@pytest.mark.parametrize("stepped", [True, False])
def test_it_routes_without_await(tmp_path: Path, stepped: bool) -> None:
    """In storage.sync, stepped if all stores can be, else on the loop."""
    below = storage.sync.SqliteStore(tmp_path / "objects.db") if not stepped else storage.sync.DictStore()
    files = storage.sync.FilesystemStore(tmp_path / "files")
    with storage.sync.RoutingStore({"a/": files}, patterns={r".*\.tif": below}, default=below) as store:
        store.put_many({"a/k": b"1", "a/k.tif": b"2", "b": b"3"})
        store.rename("b", "a/b")

        assert ["a/b", "a/k", "a/k.tif"] == list(store.keys())
        assert ["a/b", "a/k"] == list(files.keys())
        assert stepped is store.capabilities.steppable


def test_parts_of_files_can_be_elsewhere(tmp_path: Path) -> None:
    """Files, with those of one kind in another directory."""

    async def check() -> None:
        store = RoutingStore(
            patterns={r".*\.tif": FilesystemStore(tmp_path / "images")}, default=FilesystemStore(tmp_path / "rest")
        )
        await store.put_many({"a/1.tif": b"", "a/1.csv": b""})
        await store.copy("a/1.tif", "a/1.bak")

    step(check())

    assert ["images/a/1.tif", "rest/a/1.bak", "rest/a/1.csv"] == sorted(
        str(path.relative_to(tmp_path)) for path in tmp_path.rglob("1.*")
    )
