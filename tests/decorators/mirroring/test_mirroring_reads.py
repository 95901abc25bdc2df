"""How a mirror reads while children fail or have lost objects, and which child checks conditions."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from contents import all_of, contents, listed, read
from doubles import ScriptedStore, scripted

from storage import (
    ByteRange,
    ChecksumStore,
    CorruptObjectError,
    DictStore,
    KeyExistsError,
    KeyNotFoundError,
    MirroringStore,
    PreconditionFailedError,
    RangeNotSatisfiableError,
    StoreUnavailableError,
)

OLD, NEW = b"old", b"new"


# -- reading -----------------------------------------------------------------------------------------------------------


async def test_first_healthy_child_answers() -> None:
    """A child that is down is skipped, and no more children are read than necessary."""
    children = scripted(3)
    store = MirroringStore(children)
    await store.put("k", b"v")
    children[0].fail()
    for child in children:
        child.calls.clear()

    assert [b"v"] * 3 == await read(store, "k")
    assert [["k"]] * 3 == await listed(store)
    assert [] == children[2].asked("get", "head", "exists", "open")


async def test_failing_child_is_told_of_once_until_it_works_again(caplog: pytest.LogCaptureFixture) -> None:
    """One warning is logged, not one for each read."""
    first, second = scripted(2)
    store = MirroringStore([first, second])
    await store.put("k", b"v")

    with caplog.at_level(logging.WARNING, "storage"):
        for _ in range(2):
            first.fail("get")
            await store.get("k")
            await store.get("k")
            first.heal()
            await store.get("k")

    assert 2 == len(caplog.records)
    assert "failed and is skipped: made to fail, key 'k'" in caplog.records[0].getMessage()


async def test_object_that_a_child_lost_is_served_and_put_back() -> None:
    """The loss of one copy loses no object."""
    children = scripted(3)
    store = MirroringStore(children)
    for key in ("a", "b", "c"):
        await store.put(key, b"v", attributes={"color": "red"})
        await children[0].base.delete(key)
        await children[1].base.delete(key)

    assert b"v" == await store.get("a")
    assert {"b": b"v"} == await store.get_many(["b"])
    async with store.open("c") as reader:
        assert b"v" == await reader.read()

    assert [dict.fromkeys("abc", b"v")] * 3 == await all_of(*children)
    assert {"color": "red"} == (await children[1].head("a")).attributes


async def test_object_that_was_put_while_it_was_read_was_not_lost(caplog: pytest.LogCaptureFixture) -> None:
    """A read that tries one child before a put and the next one after it logs no loss, and copies nothing."""
    first = ScriptedStore(DictStore())
    store = MirroringStore([first, DictStore()])
    answered = first.hold("get", after=True)

    read = asyncio.create_task(store.get("k"))
    await answered.reached()
    etag = await store.put("k", b"v")
    answered.open()

    assert b"v" == await read
    assert etag == (await store.head("k")).etag
    assert [] == caplog.messages


async def test_looking_repairs_nothing() -> None:
    """`head` and `exists` find that a child lost an object, and copy no data."""
    first, second = scripted(2)
    store = MirroringStore([first, second])
    await second.put("k", b"v")

    assert await store.exists("k")
    assert 1 == (await store.head("k")).size
    assert {} == await contents(first.base)


async def test_damaged_object_is_read_from_the_next_child_and_mended() -> None:
    """A child whose checksum is wrong gets the object again."""
    below = DictStore()
    store = MirroringStore([ChecksumStore(below), DictStore()])
    await store.put("k", b"v")
    await below.put("k", b"rotten", attributes=(await below.head("k")).attributes)
    with pytest.raises(CorruptObjectError):
        await store.stores[0].get("k")

    assert b"v" == await store.get("k")
    assert b"v" == await store.stores[0].get("k")


async def test_object_that_is_damaged_is_not_copied_onto_itself() -> None:
    """The child's `head` works, but what is read is damaged."""
    first, second = scripted(2)
    store = MirroringStore([first, second])
    await second.base.put("k", b"good")
    await first.base.put("k", b"rotten")
    first.fail("get", error=lambda: CorruptObjectError("rotten"))

    assert b"good" == await store.get("k")
    assert {"k": b"good"} == await contents(first.base)


async def test_without_repair_reads_change_nothing() -> None:
    """If other processes delete, an object deleted on some children looks like one that others lost."""
    first, second = scripted(2)
    store = MirroringStore([first, second], repair=False)
    await second.put("k", b"v")

    assert [b"v"] * 3 == await read(store, "k")
    assert {} == await contents(first.base)


@pytest.mark.parametrize(
    ("require", "children", "down", "known"),
    [
        ("all", 2, 1, True),  # a put that succeeded is on both
        ("all", 3, 2, True),
        ("quorum", 3, 1, True),  # it is on two of three, so on one of the two that answer
        ("quorum", 3, 2, False),
        ("quorum", 4, 2, True),
        ("any", 2, 1, False),  # it may be on the silent one only
        ("any", 2, 0, True),
    ],
)
async def test_key_is_missing_only_if_that_can_be_known(require: Any, children: int, down: int, known: bool) -> None:
    """If only the failing children could have the object, that is an error, not a missing key."""
    stores = scripted(children)
    store = MirroringStore(stores, require=require)
    for child in stores[:down]:
        child.fail()

    if known:
        assert [None] * 3 == await read(store, "k")
        assert [[], [], []] == await listed(store)
    else:
        for reading in (store.get("k"), store.head("k"), store.exists("k"), store.open("k").__aenter__()):
            with pytest.raises(StoreUnavailableError):
                await reading
        with pytest.raises(StoreUnavailableError):
            await listed(store)


async def test_key_that_was_seen_to_be_deleted_is_missing_though_a_child_is_silent() -> None:
    """With "any", the failing child could have an object that the others lack; but this one was deleted there, too."""
    children = scripted(3)
    store = MirroringStore(children, require="any", repair=False)
    await store.put("k", OLD)
    children[0].fail("delete")
    await store.delete("k")
    children[1].fail()

    with pytest.raises(KeyNotFoundError):
        await store.get("k")
    with pytest.raises(StoreUnavailableError):
        await store.get("never")


async def test_range_behind_the_end_is_no_reason_to_ask_another_child() -> None:
    """The object exists, and every child would raise the same error."""
    first, second = scripted(2)
    store = MirroringStore([first, second])
    await store.put("k", b"v")

    with pytest.raises(RangeNotSatisfiableError):
        await store.get("k", byte_range=ByteRange(5))
    assert [] == second.asked("get")


async def test_failing_child_ends_a_listing_early_and_the_others_go_on() -> None:
    """It failed in the middle; the other child has all objects, too."""

    class Breaking(DictStore):
        async def keys(self, prefix: str = "", *, start_after: str = "") -> Any:
            yield "a"
            raise StoreUnavailableError("down")

    store = MirroringStore([Breaking(), DictStore()])
    for key in ("a", "b", "c"):
        await store.put(key, b"v")

    assert ["a", "b", "c"] == [key async for key in store.keys()]


# -- conditions --------------------------------------------------------------------------------------------------------


async def test_condition_that_fails_on_the_first_child_reaches_no_other() -> None:
    """The others are not called."""
    first, second = scripted(2)
    store = MirroringStore([first, second], require="any")
    await store.put("k", OLD)
    second.calls.clear()

    with pytest.raises(KeyExistsError):
        await store.put("k", NEW, if_absent=True)
    with pytest.raises(PreconditionFailedError):
        await store.put("k", NEW, if_match="nonsense")
    with pytest.raises(PreconditionFailedError):
        await store.delete("k", if_match="nonsense")
    with pytest.raises(KeyExistsError):
        await store.copy("k", "k", if_absent=True)
    with pytest.raises(KeyExistsError):
        await store.put("k", iter([b"x" * 1_500_000] * 2), if_absent=True)

    assert [] == second.asked("delete", "copy")
    assert [{"k": OLD}] * 2 == await all_of(first, second)


async def test_nothing_is_written_on_a_condition_without_the_first_child() -> None:
    """One child checks conditions, as two could decide differently: even with require="any"."""
    first, second = scripted(2)
    store = MirroringStore([first, second], require="any")
    etag = await store.put("k", OLD)
    first.fail()
    second.calls.clear()

    for work in (
        store.put("new", NEW, if_absent=True),
        store.put("k", NEW, if_match=etag),
        store.delete("k", if_match=etag),
        store.put("k", iter([b"x" * 1_500_000] * 2), if_match=etag),
    ):
        with pytest.raises(StoreUnavailableError):
            await work

    assert {"k": OLD} == await contents(second.base)
    assert [] == second.asked("delete")


async def test_first_child_catches_up_before_it_judges() -> None:
    """It holds an old version, whose etag a caller still has: compare-and-swap must not succeed with it."""
    first, second = scripted(2)
    store = MirroringStore([first, second], require="any", repair=False)
    stale = await store.put("k", OLD)
    first.fail("put")
    await store.put("k", NEW)
    await store.put("created", NEW)
    first.heal()

    with pytest.raises(PreconditionFailedError):
        await store.put("k", b"swapped", if_match=stale)
    with pytest.raises(KeyExistsError):
        await store.put("created", b"again", if_absent=True)
    with pytest.raises(PreconditionFailedError):
        await store.put("k", iter([b"x" * 1_500_000] * 2), if_match=stale)

    assert {"k": NEW, "created": NEW} == await contents(first.base)
    await store.put("k", b"swapped", if_match=(await store.head("k")).etag)
    assert [b"swapped"] * 3 == await read(store, "k")


async def test_stream_on_a_condition_waits_until_the_first_child_has_caught_up() -> None:
    """It missed a delete: `if_absent` must succeed."""
    first, second = scripted(2)
    store = MirroringStore([first, second], require="any", repair=False)
    await store.put("k", OLD)
    first.fail("delete")
    await store.delete("k")
    first.heal()

    await store.put("k", iter([b"x" * 1_500_000] * 2), if_absent=True)

    assert [{"k": b"x" * 3_000_000}] * 2 == await all_of(first, second)


async def test_etag_of_another_child_is_not_taken_for_the_first_ones() -> None:
    """Two stores may use the same etag for different versions."""
    first, second = scripted(2)
    store = MirroringStore([first, second], require="any", repair=False)
    first.fail("put", "get", "head", "open")
    await store.put("k", b"one")
    elsewhere = (await store.head("k")).etag
    assert [elsewhere] == [info.etag async for info in store.scan()]
    first.heal()
    assert (await second.head("k")).etag == await first.put("k", b"other")  # both count from 1
    store._stale.mark_current("k", 0)

    with pytest.raises(PreconditionFailedError):
        await store.put("k", b"two", if_match=elsewhere)
