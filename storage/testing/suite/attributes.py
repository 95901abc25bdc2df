"""Attributes: text that is stored with the bytes of an object."""

from __future__ import annotations

from typing import Any

import pytest

from storage.base import ObjectStore
from storage.errors import UnsupportedOperationError
from storage.testing.suite.harness import Harness, listed, needs
from storage.types import ATTRIBUTES_LIMIT

__all__ = ["StoredAttributes"]

GIVEN = {"content-type": "text/plain; charset=utf-8", "cache-control": "max-age=60", "origin": "Zürich 🧀", "x1": ""}


class StoredAttributes(Harness):
    """Attributes stay with their object, and are copied and renamed with it."""

    @needs(attributes=True)
    async def test_attributes_come_back(self, store: ObjectStore) -> None:
        """`head`, `open` and `scan` return the attributes as they were put, also empty and non-ASCII values."""
        objects: dict[str, bytes | list[bytes]] = {"bytes": b"v", "empty": b"", "stream": [b"v", b"w"]}
        for key, data in objects.items():
            await store.put(key, data, attributes=GIVEN)

            assert GIVEN == (await store.head(key)).attributes, key
            async with store.open(key) as reader:
                assert GIVEN == reader.info.attributes, key
        assert dict.fromkeys(objects, GIVEN) == {info.key: dict(info.attributes) async for info in store.scan()}

    @needs(attributes=True)
    async def test_put_without_attributes_clears_them(self, store: ObjectStore) -> None:
        """An object has the attributes of its last put, and no others."""
        await store.put("k", b"v", attributes=GIVEN)
        await store.put("k", b"v", attributes={"color": "red"})
        assert {"color": "red"} == (await store.head("k")).attributes

        await store.put("k", b"v")

        assert {} == (await store.head("k")).attributes

    @needs(attributes=True)
    async def test_attributes_do_not_outlive_their_object(self, store: ObjectStore) -> None:
        """A delete removes the attributes: a new object under the same key has none."""
        await store.put("k", b"v", attributes=GIVEN)
        await store.delete("k")
        await store.put("k", b"v")

        assert {} == (await store.head("k")).attributes

    @needs(attributes=True)
    async def test_attributes_of_one_object_are_not_anothers(self, store: ObjectStore) -> None:
        """Each object has its own attributes."""
        await store.put("a", b"v", attributes={"name": "a"})
        await store.put("b", b"v", attributes={"name": "b"})
        await store.put("c", b"v")

        found = {info.key: dict(info.attributes) async for info in store.scan()}
        assert {"a": {"name": "a"}, "b": {"name": "b"}, "c": {}} == found

    @needs(attributes=True)
    async def test_two_kilobytes_of_attributes_fit(self, store: ObjectStore) -> None:
        """A store with attributes takes 2,048 bytes of them per object, in one value or in many."""
        one = {"a": "x" * (ATTRIBUTES_LIMIT - 1)}
        many = {f"name{number:03}": "é" * 12 + "x" for number in range(64)}
        assert ATTRIBUTES_LIMIT == sum(len(name) + len(value.encode()) for name, value in many.items())

        await store.put("one", b"v", attributes=one)
        await store.put("many", b"v", attributes=many)

        assert one == (await store.head("one")).attributes
        assert many == (await store.head("many")).attributes

    @needs(attributes=True)
    async def test_attributes_are_not_aliased(self, store: ObjectStore) -> None:
        """Changing the dict that was put, or the one that was returned, does not change the object."""
        mine = {"color": "red"}
        await store.put("k", b"v", attributes=mine)

        mine["color"] = "blue"
        handed_out: Any = (await store.head("k")).attributes
        if isinstance(handed_out, dict):
            handed_out["color"] = "green"

        assert {"color": "red"} == (await store.head("k")).attributes

    @needs(attributes=True)
    async def test_bad_name_is_a_value_error(self, store: ObjectStore) -> None:
        """Names consist of a-z, 0-9 and '-'; a put with any other name is a ValueError and puts nothing."""
        await store.put("k", b"old", attributes={"good": "1"})

        for name in ("", "Upper", "under_score", "spa ce", "é", "-first", "dot.ted", "new\nline"):
            with pytest.raises(ValueError, match="name"):
                await store.put("k", b"new", attributes={name: "value"})

            assert b"old" == await self.raw(store, "k"), name
            assert {"good": "1"} == (await store.head("k")).attributes, name

    @needs(attributes=True)
    async def test_value_that_is_not_text_is_a_type_error(self, store: ObjectStore) -> None:
        """An attribute whose value is not a str is a TypeError, and nothing is put."""
        wrong: Any
        for wrong in (5, None, b"bytes"):
            with pytest.raises(TypeError):
                await store.put("k", b"v", attributes={"name": wrong})

        assert [] == await listed(store.keys())

    @needs(attributes=True)
    async def test_attributes_go_with_a_copy_and_a_rename(self, store: ObjectStore) -> None:
        """`copy` and `rename` take the attributes along, and replace those of the target."""
        await store.put("k", b"v", attributes=GIVEN)
        await store.put("copy", b"old", attributes={"old": "1"})

        await store.copy("k", "copy")
        await store.rename("k", "renamed")

        assert GIVEN == (await store.head("copy")).attributes
        assert GIVEN == (await store.head("renamed")).attributes

    @needs(attributes=True, conditional_put=True)
    async def test_refused_put_leaves_the_attributes(self, store: ObjectStore) -> None:
        """A put that fails changes neither the bytes nor the attributes."""
        await store.put("k", b"v", attributes={"color": "red"})

        with pytest.raises(FileExistsError):
            await store.put("k", b"v", if_absent=True, attributes={"color": "blue"})

        assert {"color": "red"} == (await store.head("k")).attributes

    @needs(attributes=False, listable=None)
    async def test_attributes_are_unsupported(self, store: ObjectStore) -> None:
        """A store without attributes refuses them instead of dropping them; an empty dict is allowed."""
        await store.put("k", b"old", attributes={})

        with pytest.raises(UnsupportedOperationError) as caught:
            await store.put("k", b"new", attributes={"color": "red"})

        assert "k" == caught.value.key
        assert b"old" == await self.raw(store, "k")
