"""Bulk: `get_many`, `put_many` and `delete_many`, with a result or an error for each item."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, TypeVar, cast

import pytest

from storage.base import ObjectStore
from storage.errors import BulkError, InvalidKeyError, KeyNotFoundError
from storage.testing.suite.harness import Harness, listed, needs
from storage.types import Data

__all__ = ["Bulk"]

T = TypeVar("T")

#: A key that no store takes.
INVALID = "\ud800"


async def _async(items: Iterable[T]) -> AsyncIterator[T]:
    for item in items:
        yield item


_FORMS: dict[str, Callable[[list[Any]], Any]] = {"list": list, "tuple": tuple, "generator": iter, "async": _async}


class Bulk(Harness):
    """All items of a bulk call are tried, and each has its own result."""

    @needs(writable=None, listable=None)
    async def test_get_many_gives_bytes_or_errors(self, store: ObjectStore) -> None:
        """Each key has its bytes, or the error that get would have raised; the error has the caller's key."""
        await self.fill(store, {"a": b"1", "b/c": b"", "d": b"3"})

        for name, form in _FORMS.items():
            results = await store.get_many(form(["a", "missing", "b/c", "d", INVALID]))

            assert {"a", "missing", "b/c", "d", INVALID} == set(results), name
            assert [b"1", b"", b"3"] == [results["a"], results["b/c"], results["d"]], name
            missing, invalid = results["missing"], results[INVALID]
            assert isinstance(missing, KeyNotFoundError), name
            assert "missing" == missing.key
            assert isinstance(invalid, InvalidKeyError), name
            assert INVALID == invalid.key

    @needs(writable=None, listable=None)
    async def test_get_many_of_more_than_one_page(self, store: ObjectStore) -> None:
        """A call takes any number of keys, and a key that is given twice has one result."""
        objects = {f"k{number}": b"%d" % number for number in range(self.many // 2)}
        await self.fill(store, objects)

        assert objects == await store.get_many([*objects, *reversed(objects)])

    async def test_delete_many_takes_every_key(self, store: ObjectStore) -> None:
        """Every key that can be put can be deleted in bulk, also one that XML escapes or cannot contain."""
        held = await self.fill_some(
            store, ["k", "x\x01y", "x\x1by", "x\ny", "x\ry", "<&'\">", "]]>", "x\ufffe", "\uffff"]
        )

        assert dict.fromkeys(held) == await store.delete_many(held)
        assert [] == await listed(store.keys())

    @needs(writable=None, listable=None)
    async def test_get_many_of_nothing(self, store: ObjectStore) -> None:
        """`get_many` without keys returns an empty dict."""
        assert {} == await store.get_many([])

    async def test_put_many_puts(self, store: ObjectStore) -> None:
        """Each pair is put, and its result is the etag of what was put."""
        for name, form in _FORMS.items():
            objects: dict[str, bytes] = {f"{name}/a": b"1", f"{name}/b/c": b"", f"{name}/d": b"3" * 1000}

            results = await store.put_many(form(list(objects.items())))

            assert objects == {key: await self.raw(store, key) for key in objects}
            assert {key: (await store.head(key)).etag for key in objects} == results

    async def test_put_many_takes_a_mapping_and_streams(self, store: ObjectStore) -> None:
        """`put_many` takes a mapping or pairs, and any data that put takes."""
        objects: dict[str, Data] = {"bytes": b"1", "buffer": bytearray(b"2"), "list": [b"3", b"4"]}
        await store.put_many({**objects, "async": _async([b"5"])})

        assert {"bytes": b"1", "buffer": b"2", "list": b"34", "async": b"5"} == {
            key: await self.raw(store, key) for key in ("bytes", "buffer", "list", "async")
        }

    async def test_put_many_tries_all_and_tells_each_outcome(self, store: ObjectStore) -> None:
        """One bad item does not prevent the others from being put; the BulkError has a result for every key."""
        with pytest.raises(BulkError) as caught:
            await store.put_many([("a", b"1"), (INVALID, b"2"), ("c", b"3")])

        results = caught.value.results
        assert {"a", INVALID, "c"} == set(results)
        assert isinstance(results[INVALID], InvalidKeyError)
        assert {key: (await store.head(key)).etag for key in ("a", "c")} == {key: results[key] for key in ("a", "c")}
        assert [b"1", b"3"] == [await self.raw(store, "a"), await self.raw(store, "c")]

    async def test_put_many_returns_the_errors_when_told_to(self, store: ObjectStore) -> None:
        """With raise_errors=False the results are returned, errors included."""
        results = await store.put_many({"a": b"1", "": b"2"}, raise_errors=False)

        assert isinstance(results[""], InvalidKeyError)
        assert (await store.head("a")).etag == results["a"]

    async def test_put_many_of_one_key_twice_leaves_the_later(self, store: ObjectStore) -> None:
        """Of two items with one key, the later one is stored."""
        for _ in range(5):
            results = await store.put_many([("k", b"one"), ("other", b"x"), ("k", b"two")])

            assert {"k", "other"} == set(results)
            assert b"two" == await self.raw(store, "k")
            assert (await store.head("k")).etag == results["k"]

    async def test_put_many_overwrites_and_clears_attributes(self, store: ObjectStore) -> None:
        """`put_many` replaces the old object, its attributes included, as put does."""
        attributes = {"color": "red"} if store.capabilities.attributes else None
        await store.put("k", b"a longer old one", attributes=attributes)

        await store.put_many({"k": b"new"})

        assert b"new" == await self.raw(store, "k")
        assert not store.capabilities.attributes or {} == (await store.head("k")).attributes

    async def test_put_many_refuses_text(self, store: ObjectStore) -> None:
        """Data that is a str is a TypeError, as in put."""
        with pytest.raises(TypeError, match="bytes"):
            await store.put_many({"k": cast(bytes, "text")})

        assert not await store.exists("k")

    async def test_error_of_the_items_passes(self, store: ObjectStore) -> None:
        """An exception of the caller's iterable is raised as it is: not in an exception group, not as a result."""

        def failing(item: T) -> Iterator[T]:
            yield item
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await store.put_many(failing(("k", b"v")))
        with pytest.raises(ZeroDivisionError):
            await store.get_many(failing("k"))
        with pytest.raises(ZeroDivisionError):
            await store.delete_many(_async(failing("k")))

        await store.put("another", b"works")
        assert b"works" == await self.raw(store, "another")

    async def test_delete_many_deletes(self, store: ObjectStore) -> None:
        """Each given key is gone, a missing key is no error, and other objects stay."""
        gone: dict[str, object] = {"a": None, "missing": None, "b/c": None}
        for name, form in _FORMS.items():
            await self.fill(store, {"a": b"1", "b/c": b"2", "d": b"3"})

            assert gone == await store.delete_many(form(["a", "missing", "b/c", "a"])), name

            assert ["d"] == await listed(store.keys()), name
            assert None is await self.raw(store, "a"), name

    async def test_delete_many_tries_all_and_tells_each_outcome(self, store: ObjectStore) -> None:
        """One bad key does not prevent the others from being deleted."""
        await self.fill(store, {"a": b"1", "b": b"2"})

        with pytest.raises(BulkError) as caught:
            await store.delete_many(["a", "", "b"])
        results = await store.delete_many(["a", INVALID], raise_errors=False)

        assert {"a": None, "b": None} == {key: caught.value.results[key] for key in ("a", "b")}
        assert isinstance(caught.value.results[""], InvalidKeyError)
        assert isinstance(results[INVALID], InvalidKeyError)
        assert [] == await listed(store.keys())

    async def test_bulk_of_nothing(self, store: ObjectStore) -> None:
        """A bulk call without items returns an empty dict and changes nothing."""
        await self.fill(store, {"k": b"v"})

        assert {} == await store.put_many([])
        assert {} == await store.put_many({})
        assert {} == await store.delete_many(_async([]))
        assert ["k"] == await listed(store.keys())

    async def test_many_small_objects_at_once(self, store: ObjectStore) -> None:
        """Hundreds of objects can be put in one call, read in one call and deleted in one call."""
        objects = {f"d{number % 10}/k{number:03}": b"%d" % number for number in range(self.many // 40 * 10)}

        await store.put_many(objects)

        assert sorted(objects) == await listed(store.keys())
        assert objects == await store.get_many(objects)
        await store.delete_many(store.keys("d1/"))
        assert len(objects) * 9 // 10 == len(await listed(store.keys()))
