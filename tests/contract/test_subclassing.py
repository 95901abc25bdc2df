"""How subclasses of `ObjectStore` are completed: options supplied, overrides respected, lost capabilities left out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from typing import Any

import pytest
from doubles import WatchedStore
from examples import BackwardsStore, MinimalStore, SaltedStore

from storage import (
    ByteRange,
    Capabilities,
    Data,
    DictStore,
    GzipStore,
    ObjectStore,
    PrefixStore,
    ReadonlyStore,
    StorageError,
    StoreDecorator,
    UnsupportedOperationError,
)
from storage._core.subclassing import DERIVED_FROM

PUBLIC = {name for name in vars(ObjectStore) if not name.startswith("_")}


def _on(store: ObjectStore) -> set[str]:
    """Return the names of the capabilities that are true."""
    return {name for name, on in asdict(store.capabilities).items() if on}


def test_every_derived_method_says_what_it_stands_for() -> None:
    """A derived method that is missing in the table would bypass overrides; the table has no other."""
    derived = PUBLIC - ObjectStore.__abstractmethods__ - {"capabilities"}

    assert derived == set(DERIVED_FROM)


def test_repr_shows_the_chain() -> None:
    """A stack is printed as it was built."""
    stack = GzipStore(PrefixStore(ReadonlyStore(DictStore()), "a/"))

    assert "GzipStore(PrefixStore(ReadonlyStore(DictStore()), 'a/'))" == repr(stack)


# -- nothing that is overridden is bypassed --------------------------------------------------------------------------


async def test_overridden_put_sees_what_stands_for_it() -> None:
    """Bulk puts, copies and renames go through a decorator's own put and delete."""
    store = WatchedStore(DictStore())

    await store.put_many({"a": b"1"})
    await store.copy("a", "b")
    await store.rename("b", "c")
    await store.delete_many(["a"])
    await store.clear()

    assert ["put a", "put b stream", "put c stream", "delete b", "delete a", "keys ", "delete c"] == store.seen


async def test_overridden_put_keeps_attributes_and_conditions_of_a_copy() -> None:
    """The contract's copy, with an overridden put, does the same as the native one."""
    store = WatchedStore(DictStore())
    await store.put("a", b"1", attributes={"color": "red"})
    await store.copy("a", "b")

    assert {"color": "red"} == (await store.head("b")).attributes
    with pytest.raises(FileExistsError):
        await store.copy("a", "b", if_absent=True)


async def test_a_subclass_that_overrides_both_keeps_its_own() -> None:
    """A put_many that is overridden too is used."""

    class Both(WatchedStore):
        async def put_many(self, items: Any, *, raise_errors: bool = True) -> dict[str, str | StorageError]:
            self.seen.append("put_many")
            return await self.base.put_many(items, raise_errors=raise_errors)

    store = Both(DictStore())
    await store.put_many({"a": b"1"})

    assert ["put_many"] == store.seen


async def test_overriding_further_down_counts_too() -> None:
    """The rule holds for a subclass of a subclass, and for a mixin that comes first."""

    class Shouting:
        async def get(self, key: str, *, byte_range: ByteRange | None = None) -> bytes:
            data: bytes = await super().get(key, byte_range=byte_range)  # type: ignore[misc]  # a mixin's super
            return data.upper()

    class Mixed(Shouting, DictStore):
        pass

    class Below(Mixed):
        pass

    for kind in (Mixed, Below):
        store: ObjectStore = kind()
        await store.put("k", b"quiet")
        async with store.open("k") as reader:
            assert b"QUIET" == await reader.read()
        assert {"k": b"QUIET"} == await store.get_many(["k"])
        await store.copy("k", "copy")
        assert b"QUIET" == await store.get("copy")


async def test_overridden_keys_are_what_is_listed() -> None:
    """A store that hides some keys hides them from scan, children and clear."""

    class Hiding(StoreDecorator):
        async def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
            async for key in self.base.keys(prefix, start_after=start_after):
                if not key.startswith("."):
                    yield key

    base = DictStore()
    store = Hiding(base)
    await store.put_many({".hidden": b"", "a": b""})

    assert ["a"] == [info.key async for info in store.scan()]
    assert ["a"] == [child async for child in store.children()]
    await store.clear()
    assert [".hidden"] == [key async for key in base.keys()]


async def test_overridden_get_with_a_native_head_describes_what_it_read() -> None:
    """The size is that of the bytes that get returns, and put accepts the etag."""

    class Doubling(StoreDecorator):
        async def get(self, key: str, *, byte_range: ByteRange | None = None) -> bytes:
            return await self.base.get(key) * 2

    store = Doubling(DictStore())
    etag = await store.put("k", b"ab")

    async with store.open("k") as reader:
        assert (b"abab", 4, etag) == (await reader.read(), reader.info.size, reader.info.etag)
    assert 4 == (await store.head("k")).size


# -- options that are left out ---------------------------------------------------------------------------------------


async def test_minimal_store_does_what_can_be_emulated() -> None:
    """Ranges, streams, prefixes and etags are emulated."""
    store: ObjectStore = MinimalStore()
    etag = await store.put("b", [b"01", b"23"])
    await store.put("a/k", b"")

    assert b"12" == await store.get("b", byte_range=ByteRange(1, 3))
    assert etag == (await store.head("b")).etag
    assert ["a/k", "b"] == [key async for key in store.keys()]
    assert ["b"] == [key async for key in store.keys(start_after="a/k")]
    assert ["a/k"] == [key async for key in store.keys("a/")]


async def test_minimal_store_claims_nothing_it_has_not() -> None:
    """Other options are unsupported, and the error names the class and the option."""
    store: ObjectStore = MinimalStore()

    assert {"listable", "readable", "writable"} == _on(store)
    with pytest.raises(UnsupportedOperationError, match=r"MinimalStore.put does not take if_absent"):
        await store.put("k", b"v", if_absent=True)
    with pytest.raises(UnsupportedOperationError, match=r"MinimalStore.delete does not take if_match"):
        await store.delete("k", if_match="x")


async def test_minimal_store_never_sees_an_invalid_key() -> None:
    """A store with five methods need not check keys."""
    minimal = MinimalStore()
    store: ObjectStore = minimal
    calls: list[Callable[[str], Awaitable[object]]] = [
        *(store.get, store.exists, store.delete, store.head),
        lambda key: store.put(key, b"v"),
    ]

    for call in calls:
        with pytest.raises(ValueError, match="key"):
            await call("\ud800")

    assert {} == minimal.objects


async def test_options_may_be_taken_in_part() -> None:
    """Each option counts separately, and ``**options`` takes all."""

    class Some(MinimalStore):
        async def put(self, key: str, data: bytes, *, if_absent: bool = False) -> str:  # type: ignore[override]
            if if_absent and key in self.objects:
                raise FileExistsError(key)
            self.objects[key] = data
            return "etag"

    class All(DictStore):
        async def put(self, key: str, data: Data, **options: Any) -> str:
            return await super().put(key, data, **options)

    some: ObjectStore = Some()
    await some.put("k", b"v", if_absent=True)
    with pytest.raises(UnsupportedOperationError):
        await some.put("k", b"v", if_match="x")

    assert "conditional_put" not in _on(some)
    assert {"conditional_put", "attributes"} <= _on(All())
    etag = await All().put("k", b"v", attributes={"a": "1"}, if_absent=True)
    assert etag


async def test_subclass_that_drops_an_option_loses_the_capability() -> None:
    """An override that cannot pass a condition on does not claim it."""

    class Plain(DictStore):
        async def put(self, key: str, data: bytes) -> str:  # type: ignore[override]
            return await super().put(key, data)

    lost = _on(DictStore()) - _on(Plain())

    assert {"conditional_put", "attributes", "steppable"} == lost
    store: ObjectStore = Plain()
    assert await store.put("k", [b"v"]) == (await store.head("k")).etag


def test_steppable_is_not_inherited_past_an_override() -> None:
    """Only the author knows whether an override suspends."""

    class Silent(DictStore):
        async def get(self, key: str, *, byte_range: ByteRange | None = None) -> bytes:
            return await super().get(key, byte_range=byte_range)

    class Declared(Silent):
        _steppable = True

    class Renamed(DictStore):
        def helper(self) -> None: ...

    assert [False, True, True] == [kind().capabilities.steppable for kind in (Silent, Declared, Renamed)]
    assert not StoreDecorator(Silent()).capabilities.steppable


def test_defining_a_class_again_does_no_harm() -> None:
    """In a notebook the same cell runs many times."""

    def define() -> type[ObjectStore]:
        class Mine(MinimalStore):
            pass

        return Mine

    assert define() is not define()
    assert _on(define()()) == _on(define()())


def test_decorators_pass_on_what_the_store_below_is_able_to() -> None:
    """A decorator claims the capabilities of the store below, without those that it loses."""
    everything = _on(DictStore())

    assert everything == _on(StoreDecorator(DictStore())) == _on(PrefixStore(DictStore(), "a/"))
    assert {"ranges", "cheap_head"} == everything - _on(GzipStore(DictStore()))
    assert {"bounded_listing"} == everything - _on(BackwardsStore(DictStore()))
    assert {"ranges", "cheap_head", "streaming"} == everything - _on(SaltedStore(DictStore()))
    assert {"writable", "conditional_put", "conditional_delete"} == everything - _on(ReadonlyStore(DictStore()))
    assert {"listable", "readable", "writable"} == _on(PrefixStore(MinimalStore(), "a/"))


def test_a_store_declares_its_capabilities_by_overriding() -> None:
    """A class claims the capabilities that it declares, without those that its signatures lose."""

    class Shared(MinimalStore):
        @property
        def capabilities(self) -> Capabilities:
            return self._supported(Capabilities(multi_process=True, conditional_put=True))

    assert {"listable", "readable", "writable", "multi_process"} == _on(Shared())


async def test_derived_methods_work_over_a_minimal_store() -> None:
    """The defaults use only the five methods."""
    store: ObjectStore = MinimalStore()

    await store.put_many((key, key.encode()) for key in "abc")

    assert {"a": b"a", "c": b"c"} == await store.get_many(key for key in "ac")
    await store.rename("a", "z")
    assert ["b", "c", "z"] == [info.key async for info in store.scan()]


async def test_mixin_that_passes_options_on_claims_no_more_than_what_it_is_mixed_into() -> None:
    """Options of any name are passed to the next class, which may not take them."""

    class Watched:
        async def put(self, key: str, data: Data, **options: Any) -> str:
            etag: str = await super().put(key, data, **options)  # type: ignore[misc]  # the next one's
            return etag

    class WatchedMinimal(Watched, MinimalStore):  # type: ignore[misc]  # likewise
        pass

    class WatchedDict(Watched, DictStore):
        pass

    assert {"conditional_put", "attributes"}.isdisjoint(_on(WatchedMinimal()))
    assert {"conditional_put", "attributes"} <= _on(WatchedDict())


async def test_method_under_another_name_claims_no_more_than_it_takes() -> None:
    """The lost capabilities depend on the name in the contract, not on that of the function."""

    class Aliased(MinimalStore):
        async def _keep(self, key: str, data: bytes) -> None:
            self.objects[key] = data

        put = _keep

    assert _on(MinimalStore()) == _on(Aliased())


async def test_abstract_class_on_the_way_hides_no_method() -> None:
    """A class with one method is mixed into a store that has the others."""

    class Shouting(ObjectStore):
        async def get(self, key: str) -> bytes:  # type: ignore[override]  # fewer options
            return (await super().get(key)).upper()  # type: ignore[safe-super]

    class ShoutingDict(Shouting, DictStore):  # type: ignore[misc]  # likewise
        pass

    store = ShoutingDict()
    await store.put("k", b"v")

    assert await store.exists("k")
    assert b"V" == await store.get("k")


async def test_codec_whose_get_is_overridden_describes_objects_of_unknown_size() -> None:
    """The size of a streamed object is found by decoding it, without an endless recursion."""

    class Counting(GzipStore):
        async def get(self, key: str, *, byte_range: ByteRange | None = None) -> bytes:
            return await super().get(key, byte_range=byte_range)

    store = Counting(DictStore())
    await store.put("k", iter([b"abc"]))

    assert 3 == (await store.head("k")).size


async def test_helpers_of_a_users_store_may_have_any_private_name() -> None:
    """The contract's own helpers are functions, or have names that docs/extending.md tells."""

    class Shelf(MinimalStore):
        async def _read_whole(self, key: str) -> bytes:
            return self.objects[key]

        def _open_whole(self) -> None:
            raise AssertionError

    store = Shelf()
    await store.put("k", b"abc")

    assert 3 == (await store.head("k")).size
