"""What a mirror knows after its process ended: which children missed writes that were acknowledged."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from contents import all_of, contents, listed, read
from doubles import ScriptedStore, scripted

from storage import DictStore, Difference, InvalidKeyError, MirrorError, MirroringStore
from storage.decorators.mirroring import marks
from storage.decorators.mirroring.marks import KEY

OLD, NEW = b"old", b"new"


async def missed(require: Any, count: int, action: str = "put", first_fails: int = 1) -> list[ScriptedStore]:
    """Return children the first of which missed the last write of ``k``, and whose mirror is gone."""
    children = scripted(count)
    store = MirroringStore(children, require=require)
    await store.put("k", OLD)
    for child in children[:first_fails]:
        child.fail(action)
    await (store.put("k", NEW) if action == "put" else store.delete("k"))
    for child in children:
        child.heal()
    return children


async def everything(store: MirroringStore) -> list[Difference]:
    return [difference async for difference in store.verify(repair=True)]


@pytest.mark.parametrize(("require", "count"), [("any", 2), ("any", 3), ("quorum", 3)])
async def test_acknowledged_put_is_read_after_a_restart(require: Any, count: int) -> None:
    """The first child has the old version, and would be read first."""
    children = await missed(require, count)

    store = MirroringStore(children, require=require)

    assert [NEW] * 3 == await read(store, "k")
    assert [["k"]] * 3 == await listed(store)
    assert [3] == [info.size async for info in store.scan()]


async def test_deleted_object_does_not_come_back_after_a_restart() -> None:
    """Only one child took the delete."""
    store = MirroringStore(await missed("any", 2, "delete"), require="any")

    assert [None] * 3 == await read(store, "k")
    assert [[]] * 3 == await listed(store)


async def test_comparison_after_a_restart_takes_the_acknowledged_version() -> None:
    """Most children have the old one. Then no mark is left, and all children are read again."""
    children = await missed("any", 3, first_fails=2)
    store = MirroringStore(children, require="any")

    assert [(0, "different"), (1, "different")] == [(each.child, each.problem) for each in await everything(store)]

    assert [{"k": NEW}] * 3 == await all_of(*children)
    children[1].fail()
    children[2].fail()
    assert NEW == await store.get("k")


async def test_comparison_after_a_restart_deletes_what_was_deleted() -> None:
    """It is not put back from the child that missed the delete."""
    children = await missed("any", 2, "delete")

    await everything(MirroringStore(children, require="any"))

    assert [{}, {}] == await all_of(*children)


async def test_newer_copy_wins_where_nothing_else_tells() -> None:
    """Without marks, one copy against one copy: the time of the last change decides, whichever child is first."""
    for older, newer in ((0, 1), (1, 0)):
        children = [DictStore(), DictStore()]
        await children[older].put("k", OLD)
        await children[newer].put("k", NEW)

        await everything(MirroringStore(children, require="any"))

        assert [NEW, NEW] == [await child.get("k") for child in children]


async def test_mark_goes_when_all_children_have_caught_up() -> None:
    """The next process trusts them all."""
    children = await missed("any", 2)
    store = MirroringStore(children, require="any")
    await everything(store)
    children[0].fail("put")
    await store.put("k", OLD)
    assert KEY in await contents(children[1].base)
    children[0].heal()

    await store.put("k", NEW)

    assert [{"k": NEW}] * 2 == await all_of(*children)


async def test_one_failure_costs_one_mark_however_many_writes_it_lasts() -> None:
    children = scripted(2)
    store = MirroringStore(children, require="any")
    children[0].fail("put", "delete")

    for number in range(20):
        await store.put(f"k{number}", NEW)
    await store.delete_many(["k1", "k2"])

    assert 1 == children[1].asked("put").count(KEY)


async def test_write_that_all_must_do_needs_no_mark() -> None:
    """If a child misses it, it is not acknowledged."""
    children = scripted(2)
    store = MirroringStore(children)
    children[0].fail("put")

    with pytest.raises(MirrorError):
        await store.put("k", NEW)

    assert KEY not in await contents(children[1].base)
    assert KEY not in children[0].asked("get")


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize(("require", "failing"), [("any", 1), ("any", 2), ("quorum", 1)])
@pytest.mark.parametrize("action", ["put", "delete"])
async def test_order_of_the_children_may_change(order: Sequence[int], require: Any, failing: int, action: str) -> None:
    """Those with a mark have all that was acknowledged; of the others nobody knows which one is which."""
    children = await missed(require, 3, action, failing)
    store = MirroringStore([children[number] for number in order], require=require)
    expected = NEW if action == "put" else None

    assert [expected] * 3 == await read(store, "k")
    await everything(store)

    assert [{"k": NEW} if expected else {}] * 3 == await all_of(*children)
    assert [expected] * 3 == await read(store, "k")


@pytest.mark.parametrize("order", [[1, 0], [1]])
async def test_mark_of_children_in_another_order_trusts_only_the_child_that_has_it(order: Sequence[int]) -> None:
    children = await missed("any", 2)

    store = MirroringStore([children[number] for number in order], require="any", repair=False)

    assert NEW == await store.get("k")


@pytest.mark.parametrize("mark", [b"", b"{", b"[" * 60_000, b"7", b'{"child": 1, "children": 2, "behind": "01"}'])
async def test_damaged_mark_is_no_error(mark: bytes) -> None:
    """The child that has one is trusted, as if all others had missed writes; bytes of others do no more harm."""
    children = scripted(2)
    for child in children:
        await child.put("k", NEW)
    await children[1].put(KEY, mark)

    assert [NEW] * 3 == await read(MirroringStore(children, require="any"), "k")


async def test_children_that_each_missed_writes_are_read_in_their_order(caplog: pytest.LogCaptureFixture) -> None:
    """No child has everything: that is logged as an error, and a comparison takes the newer copies."""
    children = scripted(2)
    store = MirroringStore(children, require="any", repair=False)
    for failing in (0, 1):
        children[failing].fail("put")
        await store.put(f"k{failing}", NEW)
        children[failing].heal()

    again = MirroringStore(children, require="any", repair=False)

    assert NEW == await again.get("k0") == await again.get("k1")
    assert "call verify(repair=True)" in caplog.text
    await everything(again)
    assert [{"k0": NEW, "k1": NEW}] * 2 == await all_of(*children)


async def test_child_that_is_away_at_the_restart_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its mark is read when it is back; until then the old version is all there is."""
    children = await missed("any", 2)
    children[1].fail()
    now = [1000.0]
    monkeypatch.setattr(marks, "monotonic", lambda: now[0])
    store = MirroringStore(children, require="any", repair=False)
    assert OLD == await store.get("k")
    children[1].heal()

    now[0] += marks.PAUSE

    assert NEW == await store.get("k")


async def test_key_of_the_marks_is_no_key_of_a_mirror() -> None:
    store = MirroringStore(await missed("any", 2), require="any")

    for call in (store.get(KEY), store.put(KEY, NEW), store.delete(KEY), store.head(KEY), store.copy("k", KEY)):
        with pytest.raises(InvalidKeyError):
            await call
    assert isinstance((await store.get_many([KEY]))[KEY], InvalidKeyError)
    assert isinstance((await store.delete_many([KEY], raise_errors=False))[KEY], InvalidKeyError)
