"""What a mirror's children do natively: copies, renames, and many deletes in one call."""

from __future__ import annotations

from typing import Any

import pytest
from contents import all_of, contents
from doubles import ScriptedStore, scripted

from storage import MirrorError, MirroringStore, StoreUnavailableError


@pytest.mark.parametrize("action", ["copy", "rename"])
async def test_objects_are_copied_and_renamed_inside_of_each_child(action: str) -> None:
    """No data passes through the mirror if the children can copy natively."""
    children = scripted(2)
    store = MirroringStore(children)
    await store.put("k", b"v", attributes={"color": "red"})
    for child in children:
        child.calls.clear()

    etag = await getattr(store, action)("k", "l")

    assert [[(action, "k")]] * 2 == [child.calls for child in children]
    assert etag == (await store.head("l")).etag
    assert {"color": "red"} == (await children[1].head("l")).attributes


@pytest.mark.parametrize("action", ["copy", "rename"])
async def test_child_that_lost_the_source_gets_it_first(action: str) -> None:
    """What the child lost or missed is not missing from its copy."""
    children = scripted(3)
    store = MirroringStore(children, require="quorum")
    await store.put("k", b"old")
    children[2].fail("put")
    await store.put("k", b"v")
    children[2].heal()
    await children[0].base.delete("k")

    await getattr(store, action)("k", "l")

    expected = {"k": b"v", "l": b"v"} if action == "copy" else {"l": b"v"}
    assert [expected] * 3 == await all_of(*children)


@pytest.mark.parametrize("action", ["copy", "rename"])
async def test_child_that_missed_a_move_catches_up(action: str) -> None:
    """For both keys: neither the old source nor an old target is read from it."""
    first, second = scripted(2)
    store = MirroringStore([first, second], require="any")
    await store.put("k", b"v")
    await store.put("l", b"old")
    first.fail(action)

    await getattr(store, action)("k", "l")
    first.heal()

    assert b"v" == await store.get("l")
    assert (action == "copy") is await store.exists("k")
    await store.get_many(["k", "l"])
    assert await contents(second.base) == await contents(first.base)


async def test_source_that_is_behind_is_not_copied_inside_of_a_child() -> None:
    """It cannot catch up now, so it misses the copy, too."""
    first, second = scripted(2)
    store = MirroringStore([first, second], require="any")
    await store.put("k", b"old")
    first.fail("put")
    await store.put("k", b"new")

    await store.copy("k", "l")

    assert b"new" == await store.get("l")
    assert {"k": b"old"} == await contents(first.base)


async def test_many_deletes_are_one_call_to_each_child() -> None:
    """A page of keys goes to each child's own bulk delete."""
    pages = []

    class Bulk(ScriptedStore):
        async def delete_many(self, keys: Any, *, raise_errors: bool = True) -> Any:
            pages.append(list(keys))
            return await super().delete_many(pages[-1], raise_errors=raise_errors)

    store = MirroringStore([Bulk(), Bulk()])
    await store.put_many({f"k{number}": b"v" for number in range(5)})

    await store.clear("k")

    assert [[f"k{number}" for number in range(5)]] * 2 == pages
    assert [] == [key async for key in store.keys()]


async def test_bulk_delete_that_a_child_fails_as_a_whole() -> None:
    """Each key gets its error."""
    first, second = scripted(2)

    async def refused(keys: Any, *, raise_errors: bool = True) -> Any:
        raise StoreUnavailableError("down")

    store = MirroringStore([first, second])
    await store.put_many({"a": b"1", "b": b"2"})
    vars(second)["delete_many"] = refused

    results = await store.delete_many(["a", "b"], raise_errors=False)

    assert {"a": [1], "b": [1]} == {
        key: list(error.failed) for key, error in results.items() if isinstance(error, MirrorError)
    }
    assert not await store.exists("a")
