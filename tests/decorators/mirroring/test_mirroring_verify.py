"""`verify`: how differences between the children of a mirror are found and repaired."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from contents import all_of, contents
from doubles import ScriptedStore, scripted

import storage.sync
from storage import (
    ChecksumStore,
    DictStore,
    Difference,
    FilesystemStore,
    MirroringStore,
    StoreFullError,
    StoreUnavailableError,
)


async def found(store: MirroringStore, *args: Any, **options: Any) -> list[tuple[str, int, str, bool]]:
    """Return the differences."""
    return [(each.key, each.child, each.problem, each.repaired) async for each in store.verify(*args, **options)]


async def test_children_that_are_alike_differ_in_nothing() -> None:
    """Etags and times may differ between stores: they are not compared."""
    store = MirroringStore(scripted(3))
    for number in range(50):
        await store.put(f"k{number}", b"%d" % number, attributes={"number": str(number)})

    assert [] == await found(store)


async def test_differences_come_in_the_order_of_keys_with_child_and_problem() -> None:
    """Nothing is changed without repair=True."""
    children = scripted(2)
    store = MirroringStore(children)
    await store.put_many(dict.fromkeys(("a", "b", "c", "d", "e"), b"same"))
    await children[0].base.delete("e")
    await children[1].base.delete("a")
    await children[1].base.put("b", b"longer")
    await children[1].base.put("c", b"SAME")
    await children[1].base.put("d", b"same", attributes={"color": "red"})
    before = await all_of(*children)

    differences = await found(store)

    assert [
        ("a", 1, "missing", False),
        ("b", 1, "different", False),
        ("c", 1, "different", False),
        ("d", 1, "different", False),
        ("e", 0, "missing", False),
    ] == differences
    assert before == await all_of(*children)
    assert [("a", 1, "missing", False)] == await found(store, "a")
    assert ["a", "b", "d", "e"] == [key for key, *_ in await found(store, content=False)]  # sizes and attributes only


async def test_repair_makes_the_children_alike() -> None:
    """A missing object is put back; of two different versions the first child's is right."""
    children = scripted(2)
    store = MirroringStore(children)
    await children[0].base.put("a", b"a", attributes={"color": "red"})
    await children[1].base.put("b", b"b")
    await children[0].base.put("c", b"first")
    await children[1].base.put("c", b"second")

    differences = await found(store, repair=True)

    assert [("a", 1, "missing", True), ("b", 0, "missing", True), ("c", 1, "different", True)] == differences
    assert [{"a": b"a", "b": b"b", "c": b"first"}] * 2 == await all_of(*children)
    assert {"color": "red"} == (await children[1].head("a")).attributes
    assert [] == await found(store)


async def test_what_most_children_have_is_right() -> None:
    """One child of three is wrong, even if it is the first."""
    children = scripted(3)
    store = MirroringStore(children)
    await store.put("k", b"right")
    await children[0].base.put("k", b"wrong")

    assert [("k", 0, "different", True)] == await found(store, repair=True)
    assert [{"k": b"right"}] * 3 == await all_of(*children)


async def test_damaged_object_is_found_and_mended() -> None:
    """A child that verifies its objects raises when they are read."""
    below = DictStore()
    store = MirroringStore([ChecksumStore(below), DictStore()])
    await store.put("k", b"v")
    await below.put("k", b"rotten", attributes=(await below.head("k")).attributes)

    assert [("k", 0, "corrupt", True)] == await found(store, repair=True)
    assert b"v" == await store.stores[0].get("k")


async def test_object_that_is_damaged_everywhere_is_left_as_it_is() -> None:
    """The right version is not known, and the damaged object may still be useful."""
    below = DictStore()
    store = MirroringStore([ChecksumStore(below), DictStore()])
    await store.stores[0].put("k", b"v")
    await below.put("k", b"rotten", attributes=(await below.head("k")).attributes)

    assert [("k", 0, "corrupt", False)] == await found(store, repair=True)
    assert {"k": b"rotten"} == await contents(below)


async def test_what_this_mirror_deleted_is_not_put_back() -> None:
    """A child missed the delete, and the mirror knows."""
    first, second = scripted(2)
    store = MirroringStore([first, second], require="any")
    await store.put_many({"k": b"v", "l": b"old"})
    first.fail("put", "delete")
    await store.delete("k")
    await store.put("l", b"new")
    first.heal()

    assert [("k", 0, "deleted", False), ("l", 0, "different", False)] == await found(store)
    assert [("k", 0, "deleted", True), ("l", 0, "different", True)] == await found(store, repair=True)
    assert [{"l": b"new"}] * 2 == await all_of(first, second)
    second.fail()
    assert b"new" == await store.get("l")  # of a child that has caught up


async def test_child_that_did_the_write_though_its_answer_was_lost_has_caught_up() -> None:
    """It is equal to the others, so it is read again."""
    first, second = scripted(2)
    store = MirroringStore([first, second], require="any", repair=False)
    first.fail("put", after=True, error=lambda: StoreUnavailableError("no answer"))
    await store.put("k", b"v")
    first.heal()

    assert [] == await found(store)
    second.fail()
    assert b"v" == await store.get("k")


async def test_key_that_nobody_has_any_more_is_forgotten() -> None:
    """One child missed a delete and was then emptied by someone else: it is equal to the others, and current again."""
    first, second = scripted(2)
    store = MirroringStore([first, second], require="any", repair=False)
    await store.put("k", b"v")
    first.fail("delete")
    await store.delete("k")
    first.heal()
    await first.base.delete("k")

    assert [] == await found(store)
    assert not store._stale


async def test_object_that_is_just_being_written_does_not_differ() -> None:
    """One child has the new version already; the comparison waits for the other one."""
    first, second = scripted(2)
    store = MirroringStore([first, second])
    await store.put("k", b"old")
    hold, seen = second.hold("put"), second.hold("open", after=True)

    putting = asyncio.create_task(store.put("k", b"new"))
    await hold.reached()
    verifying = asyncio.create_task(found(store, repair=True))
    await seen.reached()
    seen.open()
    hold.open()

    assert [] == await verifying
    await putting
    assert [{"k": b"new"}] * 2 == await all_of(first, second)


async def test_repair_that_fails_is_told() -> None:
    """The others are repaired all the same."""
    first, second = scripted(2)
    store = MirroringStore([first, second])
    await first.base.put("a", b"v")
    await second.base.put("b", b"v")
    second.fail("put", error=lambda: StoreFullError("no room left"))

    assert [("a", 1, "missing", False), ("b", 0, "missing", True)] == await found(store, repair=True)


async def test_child_that_fails_cannot_be_compared() -> None:
    """Its objects must not be reported as missing."""
    first, second = scripted(2)
    store = MirroringStore([first, second])
    await store.put("k", b"v")
    second.fail()

    with pytest.raises(StoreUnavailableError):
        await found(store)


async def test_it_can_be_stopped_and_leaves_nothing() -> None:
    """Between two differences nothing runs and no key is locked."""
    first, second = scripted(2)
    store = MirroringStore([first, second])
    await first.base.put_many({f"k{number:03}": b"v" for number in range(100)})

    differences = store.verify(repair=True)
    assert Difference("k000", 1, "missing", True) == await anext(differences)
    assert {asyncio.current_task()} == asyncio.all_tasks()
    await store.put("k000", b"new")
    assert "k001" == (await anext(differences)).key
    assert 100 > len(second.asked("open"))


def test_synchronous_mirror_verifies(tmp_path: Any) -> None:
    """In storage.sync."""
    mirror = storage.sync.MirroringStore(
        [storage.sync.FilesystemStore(tmp_path / "one"), storage.sync.FilesystemStore(tmp_path / "two")]
    )
    mirror.put("k", b"v")
    (tmp_path / "two" / "k").write_bytes(b"w")

    assert [Difference("k", 1, "different", True)] == list(mirror.verify(repair=True))
    assert b"v" == (tmp_path / "two" / "k").read_bytes()


async def test_verify_reads_large_objects_in_pieces(tmp_path: Any) -> None:
    """Two versions of an object differ in the last byte only."""
    one, two = FilesystemStore(tmp_path / "one"), FilesystemStore(tmp_path / "two")
    await one.put("k", b"x" * 3_000_000 + b"1")
    await two.put("k", b"x" * 3_000_000 + b"2")
    seen = ScriptedStore(one)

    assert [("k", 1, "different", False)] == await found(MirroringStore([seen, two]))
    assert [] == seen.asked("get")
    assert 8 == len(seen.asked("read"))  # three pieces and the end, and once more to be sure
