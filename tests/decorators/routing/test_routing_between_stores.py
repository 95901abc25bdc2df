"""`RoutingStore`: copies and renames from store to store, conditions and bulk calls."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterator

import anyio
import pytest
from doubles import WatchedStore

from storage import (
    BulkError,
    Data,
    DictStore,
    KeyExistsError,
    PreconditionFailedError,
    ReadonlyStore,
    RoutingStore,
    StorageError,
    StoreDecorator,
    UnsupportedOperationError,
    ValueTransform,
)
from storage.testing.suite.harness import listed
from storage.types import Items, Keys

# -- between stores ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["copy", "rename"])
async def test_objects_go_from_store_to_store_with_their_attributes(method: str) -> None:
    """As a stream; the etag returned is that of the copy."""
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

    assert ["a/k", "b/plain"] == await listed(store.keys())


async def test_copy_within_a_store_is_its_own() -> None:
    """Even between two routes to one store: nothing is streamed."""
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
    assert ["a/k", "b/k"] == await listed(store.keys())


class NumberStore(ValueTransform[int, int]):
    """Numbers, as decimal digits."""

    def encode(self, value: int) -> bytes:
        return str(value).encode()

    def decode(self, data: bytes) -> int:
        return int(data)


async def test_values_are_not_streamed_between_stores() -> None:
    """`open` reads the bytes of a value, which a store of values would take for a value: the copy is refused."""
    store = RoutingStore({"a/": NumberStore(DictStore()), "b/": NumberStore(DictStore())})
    await store.put_many({"a/k": 5, "b/k": 7})
    await store.copy("a/k", "a/copy")

    for method in (store.copy, store.rename):
        with pytest.raises(UnsupportedOperationError, match="use get and put"):
            await method("a/k", "b/copy")

    assert {"a/copy": 5, "a/k": 5, "b/k": 7} == await store.get_many(store.keys())


async def test_conditions_are_those_of_the_store_of_the_key() -> None:
    """An etag of one store is not compared in another."""
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
    """Not in the order of the stores, and refused keys are in their places."""
    store = RoutingStore({"a/": DictStore(), "b/": DictStore()})
    keys = ["b/2", "a/1", "", "b/1", "c", "a/2", "b/2"]

    assert [*keys[:-1]] == list(await store.put_many([(key, key.encode()) for key in keys], raise_errors=False))
    assert [*keys[:-1]] == list(await store.get_many(keys))
    assert [*keys[:-1]] == list(await store.delete_many(keys, raise_errors=False))


async def test_store_that_fails_as_a_whole_fails_for_its_keys_only() -> None:
    """Each of its keys has an error with this key; the other keys succeed."""
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
    """Each waits for the other here: called one after the other they would never end."""
    begun = {name: anyio.Event() for name in "ab"}

    class WaitingStore(StoreDecorator):
        async def get_many(self, keys: Keys) -> dict[str, bytes | StorageError]:
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
    """Many items are read in parts, limited by number and by bytes; parts of items without a size are small."""
    taken = 0
    ahead: list[int] = []

    class CountingStore(StoreDecorator):
        async def put_many(
            self,
            items: Items[Data],
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
    """For a prefix of one route, of several, and all keys; a store that cannot clear raises for its keys."""
    store = RoutingStore({"a/": DictStore(), "a/b/": DictStore(), "c/": DictStore()})
    keys = ["a/b/1", "a/b/2", "a/c", "c/1"]
    await store.put_many(dict.fromkeys(keys, b"v"))

    await store.clear("a/b/1")
    assert keys[1:] == await listed(store.keys())
    await store.clear("a/")
    assert ["c/1"] == await listed(store.keys())
    await store.clear()
    assert [] == await listed(store.keys())
