"""A mirror under concurrent writes, reads, repairs and cancellations: the children end equal, and no state is left."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from contents import all_of, contents
from doubles import scripted

from storage import KeyNotFoundError, MirroringStore
from storage._concurrency.key_locks import KeyLocks
from storage.decorators.mirroring import writes as mirroring_writes


def idle(store: MirroringStore) -> bool:
    """Return whether no lock and no repair is left."""
    return not store._repairs._locks._by_key.get() and not store._repairs._under_way.get()


async def cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait until the cancellation is raised."""
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# -- order -------------------------------------------------------------------------------------------------------------


async def test_two_puts_of_a_key_end_alike_on_all_children() -> None:
    """One child is slow with the first put, the other one with the second."""
    first, second = scripted(2)
    store = MirroringStore([first, second])
    hold = first.hold("put")

    one = asyncio.create_task(store.put("k", b"one"))
    await hold.reached()
    two = asyncio.create_task(store.put("k", b"two"))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not two.done()
    hold.open()
    await asyncio.gather(one, two)

    assert [{"k": b"two"}] * 2 == await all_of(first, second)
    assert idle(store)


async def test_puts_of_other_keys_do_not_wait() -> None:
    """Writes are in order for each key only."""
    first, second = scripted(2)
    store = MirroringStore([first, second])
    hold = first.hold("put")

    slow = asyncio.create_task(store.put("slow", b"v"))
    await hold.reached()
    await store.put("k", b"v")
    await store.delete_many(["l", "m"])
    hold.open()
    await slow

    assert {"slow": b"v", "k": b"v"} == await contents(second.base)


async def test_copy_and_put_of_its_source_end_alike_on_all_children() -> None:
    """Not that one child copies the version before the put, and another one the version after it."""
    first, second = scripted(2)
    store = MirroringStore([first, second])
    await store.put("source", b"old")
    hold = first.hold("copy")

    copying = asyncio.create_task(store.copy("source", "target"))
    await hold.reached()
    putting = asyncio.create_task(store.put("source", b"new"))
    for _ in range(20):
        await asyncio.sleep(0)
    hold.open()
    await asyncio.gather(copying, putting)

    assert [{"source": b"new", "target": b"old"}] * 2 == await all_of(first, second)


async def test_moves_crosswise_do_not_wait_for_each_other_for_ever() -> None:
    """A call that locks two keys always locks them in the same order."""
    store = MirroringStore(scripted(2))
    await store.put_many({"a": b"1", "b": b"2"})

    async with asyncio.timeout(30):
        await asyncio.gather(*(store.copy(*pair) for pair in [("a", "b"), ("b", "a")] * 20))

    assert idle(store)


async def test_waiting_put_that_is_cancelled_leaves_nothing() -> None:
    """It never had the lock: nothing was written, and the next put gets the lock."""
    first, second = scripted(2)
    store = MirroringStore([first, second])
    hold = first.hold("put")
    one = asyncio.create_task(store.put("k", b"one"))
    await hold.reached()
    two = asyncio.create_task(store.put("k", b"two"))
    await asyncio.sleep(0)

    await cancelled(two)
    hold.open()
    await one
    await store.put("k", b"three")

    assert [b"one", b"three"] == [b"one", await store.get("k")]
    assert 4 == len(first.asked("put") + second.asked("put"))
    assert idle(store)


async def test_locks_are_kept_of_no_key_that_nobody_uses() -> None:
    """Locks of keys that are no longer used take no memory."""
    locks = KeyLocks()

    async with locks.hold("k"):
        assert locks.busy("k")
        waiting = [asyncio.create_task(locks.hold("k").__aenter__()) for _ in range(3)]
        await asyncio.sleep(0)
        for task in waiting:
            await cancelled(task)

    assert not locks.busy("k")
    assert {} == locks._by_key.get()


# -- repairs -----------------------------------------------------------------------------------------------------------


async def test_read_does_not_put_back_what_is_being_deleted() -> None:
    """The first child has deleted it, the second not yet: to a reader the first child seems to have lost it."""
    first, second = scripted(2)
    store = MirroringStore([first, second])
    await store.put("k", b"v")
    hold = second.hold("delete")

    deleting = asyncio.create_task(store.delete("k"))
    await hold.reached()
    assert b"v" == await store.get("k")
    hold.open()
    await deleting

    assert [{}, {}] == await all_of(first, second)


async def test_read_does_not_put_back_what_was_deleted_since() -> None:
    """The reader saw the object on the second child only, and repairs when it is deleted there, too."""
    first, second = scripted(2)
    store = MirroringStore([first, second])
    await store.put("k", b"v")
    deleted = second.hold("delete")
    read = second.hold("get", after=True)

    deleting = asyncio.create_task(store.delete("k"))
    await deleted.reached()
    reading = asyncio.create_task(store.get("k"))
    await read.reached()
    deleted.open()
    await deleting
    read.open()

    assert b"v" == await reading
    assert [{}, {}] == await all_of(first, second)
    with pytest.raises(KeyNotFoundError):
        await store.get("k")


async def test_read_does_not_put_back_what_one_child_failed_to_delete() -> None:
    """The second child still has the object when the reader repairs, but is known to be stale."""
    first, second = scripted(2)
    store = MirroringStore([first, second], require="any")
    await store.put("k", b"v")
    read = second.hold("get", after=True)
    await first.base.delete("k")

    reading = asyncio.create_task(store.get("k"))
    await read.reached()
    second.fail("delete")
    await store.delete("k")
    read.open()
    await reading

    assert not await first.base.exists("k")


async def test_repair_does_not_undo_a_put_that_came_since() -> None:
    """The reader would put back an older version than the one put meanwhile."""
    first, second = scripted(2)
    store = MirroringStore([first, second])
    await second.base.put("k", b"old")
    read = second.hold("get", after=True)

    reading = asyncio.create_task(store.get("k"))
    await read.reached()
    await store.put("k", b"new")
    read.open()
    await reading

    assert [{"k": b"new"}] * 2 == await all_of(first, second)


async def test_repair_does_not_undo_what_another_process_put() -> None:
    """The repair checks again before it puts an object back."""
    first, second = scripted(2)
    store = MirroringStore([first, second])
    await second.base.put("k", b"old")
    read = second.hold("get", after=True)

    reading = asyncio.create_task(store.get("k"))
    await read.reached()
    await first.base.put("k", b"from elsewhere")
    read.open()
    await reading

    assert {"k": b"from elsewhere"} == await contents(first.base)


async def test_write_does_not_wait_for_a_repair() -> None:
    """A repair may take long, and the write makes it unnecessary: it is cancelled."""
    first, second = scripted(2)
    store = MirroringStore([first, second])
    await second.base.put("k", b"old")
    repairing = first.hold("put")

    reading = asyncio.create_task(store.get("k"))
    await repairing.reached()
    await store.put("k", b"new")

    assert b"old" == await reading
    assert [{"k": b"new"}] * 2 == await all_of(first, second)
    assert idle(store)


async def test_readers_do_not_queue_for_a_repair() -> None:
    """One of them repairs; the others return what they have read."""
    first, second = scripted(2)
    store = MirroringStore([first, second])
    await second.base.put("k", b"v")
    repairing = first.hold("put")

    reading = asyncio.create_task(store.get("k"))
    await repairing.reached()
    assert [b"v"] * 5 == await asyncio.gather(*(store.get("k") for _ in range(5)))
    repairing.open()
    await reading

    assert ["k"] == first.asked("put")
    assert {"k": b"v"} == await contents(first.base)


# -- cancellation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["put", "delete", "copy", "rename"])
async def test_cancelled_write_goes_on_to_its_end_on_all_children(action: str) -> None:
    """One child has written, so the other one writes, too; then the cancellation is raised."""
    first, second = scripted(2)
    store = MirroringStore([first, second])
    await store.put("k", b"old")
    hold = second.hold(action)
    arguments = {"put": ("k", b"new"), "delete": ("k",), "copy": ("k", "l"), "rename": ("k", "l")}[action]

    task = asyncio.create_task(getattr(store, action)(*arguments))
    await hold.reached()
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    hold.open()
    with pytest.raises(asyncio.CancelledError):
        await task

    one, two = await all_of(first, second)
    assert one == two
    assert {"put": {"k": b"new"}, "delete": {}, "copy": {"k": b"old", "l": b"old"}, "rename": {"l": b"old"}}[
        action
    ] == one
    assert idle(store)
    assert {asyncio.current_task()} == asyncio.all_tasks()


async def test_cancelled_conditional_write_goes_on_to_the_other_children() -> None:
    """The first child checked the condition and wrote; if the write ended there, the others would lack the object."""
    first, second = scripted(2)
    store = MirroringStore([first, second])
    hold = first.hold("put")

    task = asyncio.create_task(store.put("k", b"v", if_absent=True))
    await hold.reached()
    task.cancel()
    await asyncio.sleep(0)
    hold.open()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert [{"k": b"v"}] * 2 == await all_of(first, second)


@pytest.mark.parametrize("action", ["put", "delete_many"])
async def test_child_that_hangs_is_cut_off_from_a_cancelled_write_and_is_behind(
    monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    """A cancellation waits for a bounded time; what the others wrote is valid, and the child that hung catches up."""
    monkeypatch.setattr(mirroring_writes, "GRACE", 0.01)
    first, second = scripted(2)
    store = MirroringStore([first, second])
    await store.put("k", b"old")
    hold = first.hold("put" if action == "put" else "delete")

    work: Any = store.put("k", b"new") if action == "put" else store.delete_many(["k"])
    task = asyncio.create_task(work)
    await hold.reached()
    await cancelled(task)

    assert {asyncio.current_task()} == asyncio.all_tasks()
    assert {"k": b"old"} == await contents(first.base)
    assert (b"new" if action == "put" else None) == (await store.get("k") if await store.exists("k") else None)
    await store.get_many(["k"])
    assert await contents(first.base) == await contents(second.base)
    assert idle(store)


async def test_cancelled_read_leaves_its_repair() -> None:
    """The lock of the key is released."""
    first, second = scripted(2)
    store = MirroringStore([first, second])
    await second.base.put("k", b"v")
    hold = first.hold("put")

    task = asyncio.create_task(store.get("k"))
    await hold.reached()
    await cancelled(task)

    assert idle(store)
    assert b"v" == await store.get("k")
    assert {"k": b"v"} == await contents(first.base)


async def test_read_is_not_ahead_of_the_first_child() -> None:
    """An object that was missing there and has been put twice since: the read returns what the next reader gets."""
    children = scripted(2)
    store = MirroringStore(children)
    late = children[1].hold("get")
    early = asyncio.create_task(store.get("k"))
    await late.reached()
    await store.put("k", b"one")
    pending, landed = children[0].hold("put"), children[1].hold("put", after=True)
    put = asyncio.create_task(store.put("k", b"two"))
    await pending.reached()
    await landed.reached()
    late.open()

    assert [b"one", b"one"] == [await early, await store.get("k")]
    pending.open()
    landed.open()
    await put
