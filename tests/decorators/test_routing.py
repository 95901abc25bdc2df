"""`RoutingStore`: which store has a key, and what happens between stores."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

import storage.sync
from storage import (
    Attributes,
    BulkError,
    ConfigError,
    Data,
    DictStore,
    FilesystemStore,
    HashPrefixStore,
    InvalidKeyError,
    KeyExistsError,
    KeyNotFoundError,
    ObjectStore,
    PreconditionFailedError,
    PrefixStore,
    ReadonlyStore,
    RoutingStore,
    SqliteStore,
    StorageError,
    StoreClosedError,
    StoreDecorator,
    StoreUnavailableError,
    UnsupportedOperationError,
    ValueTransform,
)
from storage._concurrency.offload import step


async def _listed(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]


class WatchedStore(StoreDecorator):
    """Writes down what is listed and what is put."""

    def __init__(self, base: ObjectStore) -> None:
        super().__init__(base)
        self.seen: list[str] = []

    def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
        self.seen.append(f"keys {prefix}")
        return super().keys(prefix, start_after=start_after)

    def children(self, prefix: str = "", delimiter: str = "/") -> AsyncIterator[str]:
        self.seen.append(f"children {prefix}")
        return super().children(prefix, delimiter)

    async def put(
        self,
        key: str,
        data: Data,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        attributes: Attributes | None = None,
    ) -> str:
        self.seen.append(f"put {key} {'stream' if isinstance(data, AsyncIterable) else 'bytes'}")
        return await super().put(key, data, if_absent=if_absent, if_match=if_match, attributes=attributes)


# -- which store ---------------------------------------------------------------------------------------------------


async def test_longest_prefix_wins_and_patterns_come_first() -> None:
    """A pattern matches the whole key, and the first that does is taken."""
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

    assert expected == {name: await _listed(stores[name].keys()) for name in names}
    assert keys == await _listed(store.keys())
    assert keys == [info.key async for info in store.scan()]
    assert {key: key.encode() for key in keys} == await store.get_many(keys)


async def test_key_without_a_route_is_invalid_in_every_method() -> None:
    """The error names the routes, and carries the key."""
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
        assert ("d/k", "no route takes it; there are 'a/', 'b/', the pattern 'c+'") == (
            caught.value.key,
            caught.value.message,
        )
    with pytest.raises(BulkError) as bulk:
        await store.delete_many(["d/k", "b/k"])

    assert [InvalidKeyError, type(None)] == [type(result) for result in bulk.value.results.values()]
    assert [] == await _listed(store.keys("d/"))
    assert ["a/k"] == await _listed(store.keys())


async def test_what_is_another_routes_is_not_there() -> None:
    """A store may hold keys that are routed elsewhere: they are neither read nor listed nor cleared."""
    one, other = DictStore(), DictStore()
    await one.put_many(dict.fromkeys(["a/b/foreign", "a/k", "b", "x.tif"], b"one"))
    await other.put_many(dict.fromkeys(["a/b/k", "a/foreign", "b"], b"other"))
    store = RoutingStore({"a/": one, "a/b/": other}, patterns={r".*\.tif": other})

    assert ["a/b/k", "a/k"] == await _listed(store.keys())
    assert ["a/b/k", "a/k"] == [info.key async for info in store.scan()]
    assert ["a/b/", "a/k"] == await _listed(store.children("a/"))
    assert not await store.exists("a/b/foreign")
    await store.clear()

    assert ["a/b/foreign", "b", "x.tif"] == await _listed(one.keys())
    assert ["a/foreign", "b"] == await _listed(other.keys())


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
    """Whatever routes share a store or lie within each other, each key is listed once, in order, and can be resumed."""
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
        found = {key: await store.get(key) for key in await _listed(store.keys()) if key not in foreign or key in keys}

        assert dict.fromkeys(sorted(set(keys)), b"ours") == found
        everything = await _listed(store.keys())
        assert sorted(set(everything)) == everything
        chosen = [key for key in everything if key.startswith(prefix) and key > start_after]
        assert chosen == await _listed(store.keys(prefix, start_after=start_after))
        assert chosen == [info.key async for info in store.scan(prefix, start_after=start_after)]
        below = [key[len(prefix) :].partition("/") for key in everything if key.startswith(prefix)]
        assert sorted({prefix + head + cut for head, cut, _ in below}) == await _listed(store.children(prefix))

    step(check())


@pytest.mark.parametrize("start_after", ["", "a", "a/", "a/k", "b", "b/a", "b/l", "c"])
@pytest.mark.parametrize("prefix", ["", "a/", "b", "b/", "b/k", "c"])
async def test_listing_with_stripped_prefixes(prefix: str, start_after: str) -> None:
    """Prefixes and starts within, before and behind what is cut off."""
    store = RoutingStore({"a/": DictStore(), "b/": DictStore()}, default=DictStore(), strip_prefix=True)
    keys = ["a", "a/a", "a/k", "b/a", "b/k", "b/k/x", "b/l", "b0", "c", "k"]
    await store.put_many(dict.fromkeys(keys, b"v"))
    expected = [key for key in keys if key.startswith(prefix) and key > start_after]

    assert expected == await _listed(store.keys(prefix, start_after=start_after))
    assert expected == [info.key async for info in store.scan(prefix, start_after=start_after)]


async def test_stripped_prefix_is_not_in_the_store_below() -> None:
    """Errors, descriptions and readers speak of the whole key."""
    below = DictStore()
    store = RoutingStore({"images/": below}, strip_prefix=True)
    await store.put("images/a/b", b"v")

    assert ["a/b"] == await _listed(below.keys())
    assert ["images/a/"] == await _listed(store.children("images/"))
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
    """What becomes of a key behind its route is a matter of the decorators there."""
    base = DictStore()
    store = RoutingStore({"images/": HashPrefixStore(PrefixStore(base, "spread/"))}, default=PrefixStore(base, "rest/"))
    await store.put_many({"images/a": b"1", "b": b"2"})

    assert [True, False] == [key.startswith("spread/") for key in reversed(await _listed(base.keys()))]
    assert ["b", "images/a"] == await _listed(store.keys())


# -- listing -------------------------------------------------------------------------------------------------------


async def test_listing_asks_no_more_than_it_needs() -> None:
    """A store with several routes lists once, one without keys below the prefix not at all."""
    one, other = WatchedStore(DictStore()), WatchedStore(DictStore())
    store = RoutingStore({"a/": one, "a/b/": one, "c/": other}, patterns={"x.*": one, "y.*": one}, default=one)

    await _listed(store.keys("a/b/c"))
    await _listed(store.keys())

    assert ["keys a/b/c", "keys "] == one.seen
    assert ["keys c/"] == other.seen


async def test_children_of_one_store_are_its_own() -> None:
    """Where all keys below a prefix are one store's, it is asked for the children, not for all keys below."""
    one, other = WatchedStore(DictStore()), WatchedStore(DictStore())
    store = RoutingStore({"a/": one, "a/b/": other})
    await store.put_many(dict.fromkeys(["a/x/1", "a/x/2", "a/b/c/d"], b""))
    one.seen.clear()
    other.seen.clear()

    assert ["a/x/1", "a/x/2"] == await _listed(store.children("a/x/"))
    assert ["a/b/c/"] == await _listed(store.children("a/b/"))

    assert [["children a/x/"], ["children a/b/"]] == [one.seen, other.seen]


# -- between stores ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["copy", "rename"])
async def test_objects_go_from_store_to_store_with_their_attributes(method: str) -> None:
    """As a stream; the etag is that of the copy, in its store."""
    one, other = DictStore(), WatchedStore(DictStore())
    store = RoutingStore({"a/": one, "b/": other})
    await store.put("a/k", b"v", attributes={"color": "red"})

    etag = await getattr(store, method)("a/k", "b/k")

    info = await store.head("b/k")
    assert ["put b/k stream"] == other.seen
    assert (b"v", {"color": "red"}, etag) == (await store.get("b/k"), info.attributes, info.etag)
    assert (method == "copy") is await one.exists("a/k")


@pytest.mark.parametrize("method", ["copy", "rename"])
async def test_if_absent_holds_between_stores(method: str) -> None:
    """A rename that is refused leaves the source."""
    store = RoutingStore({"a/": DictStore(), "b/": DictStore()})
    await store.put_many({"a/k": b"new", "b/k": b"old"})

    with pytest.raises(KeyExistsError) as caught:
        await getattr(store, method)("a/k", "b/k", if_absent=True)

    assert "b/k" == caught.value.key
    assert {"a/k": b"new", "b/k": b"old"} == await store.get_many(["a/k", "b/k"])


async def test_attributes_are_never_dropped_on_the_way() -> None:
    """A store that keeps none refuses the copy, and the source of a rename stays."""

    class PlainStore(StoreDecorator):
        async def put(self, key: str, data: Data) -> str:  # type: ignore[override]
            return await super().put(key, data)

    store = RoutingStore({"a/": DictStore(), "b/": PlainStore(DictStore())})
    await store.put("a/k", b"v", attributes={"color": "red"})
    await store.put("a/plain", b"v")

    with pytest.raises(UnsupportedOperationError):
        await store.rename("a/k", "b/k")
    await store.rename("a/plain", "b/plain")

    assert ["a/k", "b/plain"] == await _listed(store.keys())


async def test_copy_within_a_store_is_its_own() -> None:
    """Also between two routes to one store: nothing is streamed."""
    copies: list[tuple[str, str]] = []

    class CopyingStore(StoreDecorator):
        async def copy(self, source: str, target: str, *, if_absent: bool = False) -> str:
            copies.append((source, target))
            return await super().copy(source, target, if_absent=if_absent)

    one = CopyingStore(DictStore())
    store = RoutingStore({"a/": one, "b/": one})
    await store.put("a/k", b"v")

    await store.copy("a/k", "b/k")

    assert [("a/k", "b/k")] == copies
    assert ["a/k", "b/k"] == await _listed(store.keys())


class NumberStore(ValueTransform[int, int]):
    """Numbers, as decimal digits."""

    def encode(self, value: int) -> bytes:
        return str(value).encode()

    def decode(self, data: bytes) -> int:
        return int(data)


async def test_values_are_not_streamed_between_stores() -> None:
    """An open value is bytes, which a store of values would take for a value: the copy is refused instead."""
    store = RoutingStore({"a/": NumberStore(DictStore()), "b/": NumberStore(DictStore())})
    await store.put_many({"a/k": 5, "b/k": 7})
    await store.copy("a/k", "a/copy")

    for method in (store.copy, store.rename):
        with pytest.raises(UnsupportedOperationError, match="get it and put it"):
            await method("a/k", "b/copy")

    assert {"a/copy": 5, "a/k": 5, "b/k": 7} == await store.get_many(store.keys())


async def test_conditions_are_those_of_the_store_of_the_key() -> None:
    """An etag of one store is another version in the next."""
    store = RoutingStore({"a/": DictStore(), "b/": DictStore()})
    await store.put("b/k", b"1", if_absent=True)
    await store.put("a/other", b"1")
    etag = await store.put("a/k", b"1", if_absent=True)

    with pytest.raises(PreconditionFailedError) as caught:
        await store.put("b/k", b"2", if_match=etag)
    await store.put("a/k", b"2", if_match=etag)

    assert "b/k" == caught.value.key
    assert {"a/k": b"2", "b/k": b"1"} == await store.get_many(["a/k", "b/k"])


# -- bulk ----------------------------------------------------------------------------------------------------------


async def test_bulk_results_are_in_the_callers_order() -> None:
    """Not in that of the stores, and with the refused ones in their places."""
    store = RoutingStore({"a/": DictStore(), "b/": DictStore()})
    keys = ["b/2", "a/1", "", "b/1", "c", "a/2", "b/2"]

    assert [*keys[:-1]] == list(await store.put_many([(key, key.encode()) for key in keys], raise_errors=False))
    assert [*keys[:-1]] == list(await store.get_many(keys))
    assert [*keys[:-1]] == list(await store.delete_many(keys, raise_errors=False))


async def test_store_that_fails_as_a_whole_fails_for_its_keys_only() -> None:
    """Each of them has an error of its own, which carries it; the others are done."""
    one = DictStore()
    store = RoutingStore({"a/": one, "b/": ReadonlyStore(DictStore())})

    with pytest.raises(BulkError) as caught:
        await store.put_many({"b/1": b"", "a/1": b"v", "b/2": b""})

    failed = [caught.value.results[key] for key in ("b/1", "b/2")]
    assert [("b/1", UnsupportedOperationError), ("b/2", UnsupportedOperationError)] == [
        (error.key, type(error)) for error in failed if isinstance(error, StorageError)
    ]
    assert {"a/1": b"v"} == await store.get_many(["a/1"])


async def test_stores_do_their_shares_at_once() -> None:
    """Each waits for the other here: one after the other they would wait for ever."""
    begun = {name: anyio.Event() for name in "ab"}

    class WaitingStore(StoreDecorator):
        async def get_many(self, keys: Iterable[str] | AsyncIterable[str]) -> dict[str, bytes | StorageError]:
            [key] = [key async for key in keys] if isinstance(keys, AsyncIterable) else list(keys)
            begun[key[0]].set()
            await begun["b" if key[0] == "a" else "a"].wait()
            return await super().get_many([key])

    store = RoutingStore({"a/": WaitingStore(DictStore()), "b/": WaitingStore(DictStore())})
    await store.put_many({"a/k": b"1", "b/k": b"2"})

    with anyio.fail_after(10):
        assert {"a/k": b"1", "b/k": b"2"} == await store.get_many(["a/k", "b/k"])


@pytest.mark.parametrize(("data", "most"), [(b"v", 1000), (b"v" * (1 << 20), 8), ([b"v"], 16)])
async def test_bulk_put_gathers_no_more_than_fits(data: Data, most: int) -> None:
    """A million items are taken a part at a time: by number, by bytes, and few of what has no size yet."""
    taken = 0
    ahead: list[int] = []

    class CountingStore(StoreDecorator):
        async def put_many(
            self,
            items: Mapping[str, Data] | Iterable[tuple[str, Data]] | AsyncIterable[tuple[str, Data]],
            *,
            raise_errors: bool = True,
        ) -> dict[str, str | StorageError]:
            ahead.append(taken)
            return await super().put_many(items, raise_errors=raise_errors)

    def items() -> Iterator[tuple[str, Data]]:
        nonlocal taken
        for number in range(2 * most):
            taken += 1
            yield f"{number % 2}/{number}", data

    store = RoutingStore({"0/": CountingStore(DictStore()), "1/": CountingStore(DictStore())})

    assert 2 * most == len(await store.put_many(items()))
    assert [most, most, 2 * most, 2 * most] == ahead


async def test_clear_goes_to_the_stores() -> None:
    """Below a prefix of one route, of several, and everywhere; one that cannot fails for its keys."""
    store = RoutingStore({"a/": DictStore(), "a/b/": DictStore(), "c/": DictStore()})
    keys = ["a/b/1", "a/b/2", "a/c", "c/1"]
    await store.put_many(dict.fromkeys(keys, b"v"))

    await store.clear("a/b/1")
    assert keys[1:] == await _listed(store.keys())
    await store.clear("a/")
    assert ["c/1"] == await _listed(store.keys())
    await store.clear()
    assert [] == await _listed(store.keys())


# -- about itself --------------------------------------------------------------------------------------------------


def test_capabilities_are_what_all_stores_can() -> None:
    """One that is read-only makes the whole no place to write to without looking."""
    able, lacking = DictStore(), ReadonlyStore(HashPrefixStore(DictStore()))

    assert able.capabilities == RoutingStore({"a/": able}, default=able).capabilities
    assert {"writable", "conditional_put", "conditional_delete", "bounded_listing", "multi_process"} == {
        name for name, on in asdict(RoutingStore({"a/": able}, default=lacking).capabilities).items() if not on
    }


def test_every_method_is_routed() -> None:
    """A method added to the contract and forgotten here would miss its native ways in the stores."""
    public = {name for name in vars(ObjectStore) if not name.startswith("_")}

    assert set() == public - set(vars(RoutingStore))


async def test_all_stores_are_open_inside_and_closed_again(tmp_path: Path) -> None:
    """Also one that two routes share; the parts have names."""
    one, other = SqliteStore(tmp_path / "one.db"), SqliteStore(tmp_path / "other.db")
    store = RoutingStore({"a/": one, "b/": one}, patterns={"c.*": other}, default=other)

    async with store:
        await store.put_many({"a/k": b"1", "c": b"2", "d": b"3"})
        assert ["a/k", "c", "d"] == await _listed(store.keys())
    for each in (one, other):
        with pytest.raises(StoreClosedError):
            await each.get("k")

    assert ["routes['a/']", "routes['b/']", "patterns['c.*']", "default"] == list(store._parts())


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda store: RoutingStore(), "a route at least, or a default"),
        (lambda store: RoutingStore({"": store}, default=DictStore()), "takes every key"),
        (lambda store: RoutingStore(patterns={"[": store}), "no regular expression"),
        (lambda store: RoutingStore({"a/": store, "b/": store}, strip_prefix=True), "put PrefixStores over it"),
        (lambda store: RoutingStore({"a/": store}, default=store, strip_prefix=True), "put PrefixStores over it"),
    ],
)
def test_routes_that_make_no_sense_are_refused(make: Callable[[ObjectStore], ObjectStore], says: str) -> None:
    """When the store is built, with what would be right."""
    with pytest.raises(ConfigError, match=re.escape(says)):
        make(DictStore())


def test_route_leads_to_a_store() -> None:
    routes: Any = {"a/": "somewhere"}
    with pytest.raises(TypeError, match="RoutingStore goes over a store, not over str"):
        RoutingStore(routes)


def test_it_shows_its_routes() -> None:
    """And what is not as by default."""
    store = RoutingStore({"a/": DictStore()}, patterns={"b": DictStore()}, default=DictStore(), strip_prefix=True)

    assert "RoutingStore({'a/': DictStore()})" == repr(RoutingStore({"a/": DictStore()}))
    assert (
        "RoutingStore({'a/': DictStore()}, patterns={'b': DictStore()}, default=DictStore(), strip_prefix=True)"
        == repr(store)
    )


async def test_error_of_one_store_ends_the_listing() -> None:
    """A part of the keys is not passed off as all of them."""

    class BrokenStore(StoreDecorator):
        async def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
            raise StoreUnavailableError("gone")
            yield

    store = RoutingStore({"a/": DictStore(), "b/": BrokenStore(DictStore())})

    with pytest.raises(StoreUnavailableError):
        await _listed(store.keys())
    assert [] == await _listed(store.keys("a/"))


@pytest.mark.parametrize("stepped", [True, False])
def test_it_routes_without_await(tmp_path: Path, stepped: bool) -> None:
    """In storage.sync, stepped over stores that can be, else on the loop."""
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
