"""A child of a mirror that missed a write is not read until it has caught up."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest
from contents import all_of, contents, listed, read
from doubles import ScriptedStore, scripted

from storage import (
    FilesystemStore,
    KeyNotFoundError,
    MirrorError,
    MirroringStore,
    StoreFullError,
    StoreTimeoutError,
    StoreUnavailableError,
)
from storage.decorators.mirroring.marks import KEY

OLD, NEW = b"old", b"new"


async def missed(require: Any = "any", **options: Any) -> tuple[MirroringStore, ScriptedStore, ScriptedStore]:
    """Return a mirror whose first child holds the old version and missed the new one."""
    first, second = scripted(2)
    store = MirroringStore([first, second], require=require, **options)
    await store.put("k", OLD)
    first.fail("put")
    await store.put("k", NEW)
    first.heal()
    return store, first, second


async def test_old_version_is_never_read_again() -> None:
    """The first child missed a put and works again; it is not read, although it is the first."""
    store, first, _ = await missed(repair=False)

    assert [NEW] * 3 == await read(store, "k")
    assert OLD == await first.get("k")
    assert [3] == [info.size async for info in store.scan()]


async def test_old_version_is_not_read_even_if_nobody_else_answers() -> None:
    """An error is raised rather than an overwritten value returned."""
    store, first, second = await missed(repair=False)
    second.fail()

    for reading in (store.get("k"), store.head("k"), store.exists("k"), store.open("k").__aenter__()):
        with pytest.raises(StoreUnavailableError):
            await reading
    assert isinstance((await store.get_many(["k"]))["k"], StoreUnavailableError)
    for listing in (store.keys(), store.scan(), store.children()):
        with pytest.raises(StoreUnavailableError):
            _ = [item async for item in cast(Any, listing)]
    assert [KEY] == first.asked("get", "head", "open")  # its mark, when the mirror was first used


async def test_listing_fails_rather_than_lacking_a_key_that_is_known() -> None:
    """Only one child has the object; the others can list all objects but this one."""
    children = scripted(3)
    store = MirroringStore(children, repair=False)
    await store.put("a", OLD)
    for child in children[1:]:
        child.fail("put")
    with pytest.raises(MirrorError):
        await store.put("k", NEW)

    assert ["a", "k"] == [key async for key in store.keys()]
    children[0].fail()
    with pytest.raises(StoreUnavailableError):
        _ = [key async for key in store.keys()]


@pytest.mark.parametrize("failing", [0, 1])
async def test_deleted_object_is_not_found_on_a_child_that_missed_the_delete(failing: int) -> None:
    """It is not read, not listed, and not shown as a prefix."""
    children = scripted(2)
    store = MirroringStore(children, require="any", repair=False)
    await store.put("a/k", OLD)
    children[failing].fail("delete")
    await store.delete("a/k")
    children[failing].heal()

    assert [None] * 3 == await read(store, "a/k")
    assert [[], [], []] == await listed(store)
    assert {"a/k": OLD} == await contents(children[failing])


@pytest.mark.parametrize("action", ["get", "open", "get_many"])
async def test_read_lets_a_child_catch_up(action: str) -> None:
    """What it missed is copied to it, attributes included, or deleted."""
    children = scripted(2)
    store = MirroringStore(children, require="any")
    await store.put("k", OLD)
    await store.put("gone", OLD)
    children[0].fail("put", "delete")
    await store.put("k", NEW, attributes={"color": "red"})
    await store.delete("gone")
    children[0].heal()

    for key in ("k", "gone"):
        with suppress(KeyNotFoundError):
            if action == "open":
                async with store.open(key) as reader:
                    await reader.read()
            else:
                await getattr(store, action)([key] if action == "get_many" else key)

    assert [{"k": NEW}] * 2 == await all_of(*children)
    assert {"color": "red"} == (await children[0].head("k")).attributes
    assert NEW == await store.get("k")


async def test_child_that_can_hold_no_such_object_misses_nothing(tmp_path: Path) -> None:
    """It has no old version, and nothing to catch up on: it is not written to again."""
    able, unable = ScriptedStore(), ScriptedStore(FilesystemStore(tmp_path))
    store = MirroringStore([able, unable], require="any")

    await store.put("not//a//path", NEW)
    assert [NEW] * 3 == await read(store, "not//a//path")

    assert ["not//a//path"] == unable.asked("put")


async def test_next_write_lets_a_child_catch_up() -> None:
    """A child that has a later write of the key is no longer stale: it is read again."""
    store, first, second = await missed(repair=False)

    await store.put("k", b"newest")
    second.fail()

    assert [b"newest"] * 3 == await read(store, "k")
    assert {"k": b"newest"} == await contents(first.base)


async def test_child_that_cannot_catch_up_does_no_harm_to_the_read() -> None:
    """A repair that fails is tried again by the next read."""
    store, first, _ = await missed()
    first.fail("put", "exists")

    assert NEW == await store.get("k")
    first.heal()
    assert NEW == await store.get("k")

    assert {"k": NEW} == await contents(first.base)


async def test_failed_write_leaves_the_old_version_where_it_surely_is() -> None:
    """One child was full, the other has the new version but its result was lost: the old version stays right."""
    first, second = scripted(2)
    store = MirroringStore([first, second])
    await store.put("k", OLD)
    first.fail("put", after=True, error=lambda: StoreTimeoutError("no answer"))
    second.fail("put", error=lambda: StoreFullError("no room left"))
    with pytest.raises(MirrorError) as caught:
        await store.put("k", NEW)
    first.heal()
    second.heal()

    assert () == caught.value.succeeded
    assert [OLD] * 3 == await read(store, "k")
    assert [{"k": OLD}] * 2 == await all_of(first, second)


async def test_reads_do_not_waver_when_no_outcome_is_known() -> None:
    """Every result was lost: from then on the first child's version is the right one."""
    first, second = scripted(2)
    store = MirroringStore([first, second], require="any", repair=False)
    await store.put("k", OLD)
    first.fail("put", after=True, error=lambda: StoreTimeoutError("no answer"))
    second.fail("put")
    with pytest.raises(MirrorError):
        await store.put("k", NEW)
    first.heal()
    second.heal()

    assert NEW == await store.get("k")
    first.fail()
    with pytest.raises(StoreUnavailableError):
        await store.get("k")


async def test_child_with_too_much_to_remember_is_not_read_at_all() -> None:
    """The table of stale children is bounded; beyond that a child is not read at all until `verify` has finished."""
    first, second = scripted(2)
    store = MirroringStore([first, second], require="any", max_behind=2)
    for key in ("a", "b", "c", "other"):
        await store.put(key, OLD)
    first.fail("put")
    for key in ("a", "b", "c"):
        await store.put(key, NEW)
    first.heal()

    assert 0 == len(store._stale._keys)
    assert [[NEW] * 3, [OLD] * 3] == [await read(store, "a"), await read(store, "other")]
    with pytest.raises(StoreUnavailableError):
        await listed(store)  # with "any", an object could be on the first child only
    second.fail()
    with pytest.raises(StoreUnavailableError):
        await store.get("other")

    second.heal()
    problems = [(each.key, each.problem, each.repaired) async for each in store.verify(repair=True)]
    second.fail()
    assert [("a", "different", True), ("b", "different", True), ("c", "different", True)] == problems
    assert [[NEW] * 3, [OLD] * 3] == [await read(store, "a"), await read(store, "other")]
