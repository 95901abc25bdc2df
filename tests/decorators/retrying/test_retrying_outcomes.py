"""What `RetryingStore` never does twice: after a lost answer it looks up whether the call took effect."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from doubles import HandClock, ScriptedStore, UnmarkedStore

import storage.sync
from storage import (
    DictStore,
    FilesystemStore,
    KeyExistsError,
    ObjectStore,
    OutcomeUnknownError,
    PreconditionFailedError,
    RetryingStore,
    SqliteStore,
    StoreTimeoutError,
    StoreUnavailableError,
    update,
)

# -- creation ---------------------------------------------------------------------------------------------------------


async def test_creator_whose_answer_was_lost_is_told_that_it_won() -> None:
    """The object turns out to be its own, and its etag is returned."""
    base = DictStore()
    flaky = ScriptedStore(base, put=["after"])
    store = RetryingStore(flaky)

    etag = await store.put("a", b"mine", if_absent=True, attributes={"color": "red"})

    assert (await base.head("a")).etag == etag
    assert 1 == flaky.count("put")
    assert {"color": "red"} == (await store.head("a")).attributes


@pytest.mark.parametrize(
    "make", [FilesystemStore, lambda root: SqliteStore(root / "objects.db")], ids=["files", "sqlite"]
)
async def test_lasting_stores_keep_the_mark(make: Callable[[Path], ObjectStore], tmp_path: Path) -> None:
    """The writer finds its own object there after a create or a swap, also one of a stream."""
    async with make(tmp_path) as base:
        store = RetryingStore(ScriptedStore(base, put=["after", "", "after"]), base_delay=0)
        if not base.capabilities.attributes:
            pytest.skip("these files have no attributes")

        etags = [await store.put("a", iter([b"one"]), if_absent=True), await store.put("b", b"1", if_absent=True)]
        etags.append(await store.put("b", iter([b"2"]), if_match=etags[1]))

        assert [etags[0], etags[2]] == [info.etag async for info in base.scan()]
        assert [{}, {}] == [dict(info.attributes) async for info in store.scan()]


async def test_creation_that_did_not_happen_is_made_again() -> None:
    """If there is still no object, another attempt does no harm."""
    flaky = ScriptedStore(DictStore(), put=["before", "before"])

    await RetryingStore(flaky).put("a", b"mine", if_absent=True)

    assert 3 == flaky.count("put")
    assert b"mine" == await flaky.get("a")


async def test_creator_is_told_of_an_object_that_is_not_its_own() -> None:
    """Equal bytes make no difference: the object is another writer's."""
    base = DictStore()
    await base.put("a", b"same")

    with pytest.raises(KeyExistsError) as caught:
        await RetryingStore(ScriptedStore(base, put=["before"])).put("a", b"same", if_absent=True)

    assert "a" == caught.value.key


async def test_creation_that_lands_late_is_still_ones_own() -> None:
    """The first request takes effect late: the second one is then refused because of the creator's own object."""
    base = DictStore()
    late: list[Any] = []

    class Slow(storage.StoreDecorator):
        """A store whose first put times out without effect, and takes effect after the next lookup."""

        async def put(self, key: str, data: Any, **options: Any) -> str:
            if not late:
                late.append(lambda: base.put(key, data, **options))
                raise StoreTimeoutError("no answer", key=key)
            await late[0]()
            return await base.put(key, data, **options)

    etag = await RetryingStore(Slow(base)).put("a", b"mine", if_absent=True)

    assert (await base.head("a")).etag == etag


async def test_create_without_attributes_cannot_tell_whose_object_it_is() -> None:
    """After a failure there is an object, and nothing tells who created it: the caller has to check."""
    flaky = ScriptedStore(UnmarkedStore(), put=["after"])

    with pytest.raises(OutcomeUnknownError) as caught:
        await RetryingStore(flaky).put("a", b"mine", if_absent=True)

    assert 1 == flaky.count("put")
    assert ("a", False) == (caught.value.key, caught.value.retryable)
    assert isinstance(caught.value.__cause__, StoreUnavailableError)


async def test_create_without_attributes_is_made_again_where_there_is_nothing() -> None:
    """To see that there is no object needs no nonce."""
    flaky = ScriptedStore(UnmarkedStore(), put=["before"])

    await RetryingStore(flaky).put("a", b"mine", if_absent=True)

    assert b"mine" == await flaky.get("a")


async def test_outcome_is_unknown_when_it_cannot_be_looked_up() -> None:
    """A store that does not answer at all tells nothing; the cause of the error is the failure of the put."""
    flaky = ScriptedStore(DictStore(), put=["after"], head=["before"] * 9)

    with pytest.raises(OutcomeUnknownError) as caught:
        await RetryingStore(flaky, attempts=3).put("a", b"mine", if_absent=True)

    assert 3 == flaky.count("head")
    assert isinstance(caught.value.__cause__, StoreUnavailableError)


async def test_last_attempt_is_looked_up_too() -> None:
    """A create whose last attempt took effect succeeds; otherwise it raises its own error."""
    base = DictStore()
    assert await RetryingStore(ScriptedStore(base, put=["before", "after"]), attempts=2).put("a", b"v", if_absent=True)

    with pytest.raises(StoreUnavailableError):
        await RetryingStore(ScriptedStore(base, put=["before"] * 2), attempts=2).put("b", b"v", if_absent=True)


async def test_nothing_is_looked_up_after_the_budget(clock: HandClock) -> None:
    """After the budget nothing is sent."""
    flaky = ScriptedStore(DictStore(), put=["after"])

    def pass_time(action: str) -> None:
        clock.go_on(100)

    flaky.after = pass_time

    with pytest.raises(OutcomeUnknownError):
        await RetryingStore(flaky).put("a", b"v", if_absent=True)
    assert [("put", "a")] == flaky.calls


async def test_looking_up_has_the_time_that_is_left(clock: HandClock) -> None:
    """The budget includes the lookups of a call."""
    flaky = ScriptedStore(DictStore(), put=["after"], head=["before"] * 9)
    took = {"put": 40, "head": 15}

    def pass_time(action: str) -> None:
        clock.go_on(took[action])

    flaky.after = pass_time

    with pytest.raises(OutcomeUnknownError):
        await RetryingStore(flaky, base_delay=0.001).put("a", b"v", if_absent=True)
    assert 2 == flaky.count("head")


@pytest.mark.parametrize("seed", range(20))
async def test_exactly_one_of_many_creators_wins_whatever_is_lost(seed: int) -> None:
    """Whichever calls and answers are lost, one creator succeeds, and the object is its own."""
    chance = random.Random(seed)
    base = DictStore()

    async def create(number: int) -> bytes | None:
        plan: list[Any] = [chance.choice(["before", "after", ""]) for _ in range(4)]
        store = RetryingStore(ScriptedStore(base, put=plan, head=[chance.choice(["before", ""]) for _ in range(4)]))
        await asyncio.sleep(0)
        try:
            await store.put("a", b"%d" % number, if_absent=True)
        except KeyExistsError:
            return None
        return b"%d" % number

    won = [data for data in await asyncio.gather(*map(create, range(10))) if data is not None]

    assert [await base.get("a")] == won


# -- swaps, conditional deletes, copies and renames -------------------------------------------------------------------


async def test_swap_whose_answer_was_lost_is_found() -> None:
    """A compare-and-swap is recognized by its nonce as well, and not repeated."""
    base = DictStore()
    old = await base.put("a", b"1")
    flaky = ScriptedStore(base, put=["after"])

    etag = await RetryingStore(flaky).put("a", b"2", if_match=old)

    assert (await base.head("a")).etag == etag
    assert 1 == flaky.count("put")


@pytest.mark.parametrize("make", [DictStore, UnmarkedStore])
async def test_swap_that_did_not_happen_is_made_again(make: type[DictStore]) -> None:
    """The version that was to be replaced is still there."""
    base = make()
    old = await base.put("a", b"1")

    await RetryingStore(ScriptedStore(base, put=["before"])).put("a", b"2", if_match=old)

    assert b"2" == await base.get("a")


@pytest.mark.parametrize("make", [DictStore, UnmarkedStore])
async def test_outcome_of_a_swap_is_unknown_under_another_version(make: type[DictStore]) -> None:
    """The next writer may have built on our version or an older one: a reported lost race could count twice."""
    base = make()
    old = await base.put("a", b"1")
    flaky = ScriptedStore(base, put=["before"])

    def overwrite(action: str) -> None:
        if action == "put":
            storage.sync.ObjectStore(base).put("a", b"3")

    flaky.after = overwrite

    with pytest.raises(OutcomeUnknownError):
        await RetryingStore(flaky).put("a", b"2", if_match=old)
    assert b"3" == await base.get("a")


async def test_lost_race_is_just_that() -> None:
    """If nothing failed, the refusal is raised."""
    base = DictStore()
    flaky = ScriptedStore(base)
    await base.put("a", b"1")

    with pytest.raises(PreconditionFailedError):
        await RetryingStore(flaky).put("a", b"2", if_match="stale")
    with pytest.raises(KeyExistsError):
        await RetryingStore(flaky).put("a", b"2", if_absent=True)
    assert 0 == flaky.count("head")


async def test_no_increment_is_lost_or_counted_twice() -> None:
    """An update with lost answers counts once for each caller, except where the outcome is reported as unknown."""
    base = DictStore()
    chance = random.Random(1)
    counted = unknown = 0
    for _ in range(200):
        plan: list[Any] = [chance.choice(["before", "after", "", ""]) for _ in range(3)]
        store = RetryingStore(ScriptedStore(base, put=plan))
        try:
            await update(store, "n", lambda old: b"%d" % (int(old or 0) + 1))
            counted += 1
        except OutcomeUnknownError:
            unknown += 1

    assert (200, 0) == (counted, unknown)
    assert b"200" == await base.get("n")


@pytest.mark.parametrize("method", ["delete", "copy", "rename"])
async def test_outcome_is_unknown_where_nothing_bears_a_mark(method: str) -> None:
    """After a lost answer of a conditional delete or copy, or of a rename, nothing tells whose effect is seen."""
    base = DictStore()
    etag = await base.put("a", b"v")
    flaky = ScriptedStore(base, **{method: ["after"]})
    calls: dict[str, Callable[[ObjectStore], Awaitable[object]]] = {
        "delete": lambda store: store.delete("a", if_match=etag),
        "copy": lambda store: store.copy("a", "b", if_absent=True),
        "rename": lambda store: store.rename("a", "b"),
    }

    with pytest.raises(OutcomeUnknownError, match=f"{method} may or may not have taken effect"):
        await calls[method](RetryingStore(flaky))

    assert 1 == flaky.count(method)


@pytest.mark.parametrize("method", ["delete", "copy", "rename"])
async def test_what_was_not_done_is_made_again(method: str) -> None:
    """If everything is as before, the call took no effect."""
    base = DictStore()
    etag = await base.put("a", b"v")
    flaky = ScriptedStore(base, **{method: ["before", "before"]})
    store = RetryingStore(flaky)
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "delete": lambda: store.delete("a", if_match=etag),
        "copy": lambda: store.copy("a", "b", if_absent=True),
        "rename": lambda: store.rename("a", "b"),
    }

    await calls[method]()

    expected = {"delete": [], "copy": ["a", "b"], "rename": ["b"]}
    assert expected[method] == [key async for key in base.keys()]


async def test_rename_does_not_move_what_came_after() -> None:
    """The answer was lost, and a new object was put at the source: a second rename would overwrite the first."""
    base = DictStore()
    await base.put("a", b"first")
    flaky = ScriptedStore(base, rename=["after"])

    def put_another(action: str) -> None:
        if action == "rename":
            storage.sync.ObjectStore(base).put("a", b"second")

    flaky.after = put_another

    with pytest.raises(OutcomeUnknownError):
        await RetryingStore(flaky).rename("a", "b")
    assert [b"second", b"first"] == [await base.get("a"), await base.get("b")]


# -- the mark ---------------------------------------------------------------------------------------------------------


async def test_mark_is_not_seen_from_above() -> None:
    """Descriptions and copies have only the caller's attributes, in every method."""
    base = DictStore()
    store = RetryingStore(base)
    await store.put("a", b"v", if_absent=True, attributes={"color": "red"})
    await store.copy("a", "b")

    assert {"color", "put-nonce"} == set((await base.head("a")).attributes)
    assert [{"color": "red"}] * 2 == [dict(info.attributes) async for info in store.scan()]
    assert {"color": "red"} == (await store.head("b")).attributes
    async with store.open("a") as reader:
        assert {"color": "red"} == reader.info.attributes


@pytest.mark.parametrize("own", ["", " ", "mine", "-", "a -", "x\n", "0" * 32, "a " + "0" * 32])
@pytest.mark.parametrize("create", [True, False])
async def test_callers_own_attribute_of_that_name_is_kept(own: str, create: bool) -> None:
    """This holds for any value, and through two stores that retry."""
    with pytest.warns(storage.StackWarning):
        store = RetryingStore(RetryingStore(DictStore()))

    await store.put("a", b"v", if_absent=create, attributes={"put-nonce": own})

    assert {"put-nonce": own} == (await store.head("a")).attributes


async def test_attribute_that_is_no_mark_is_shown() -> None:
    """Another program may use the name."""
    base = DictStore()
    await base.put("a", b"v", attributes={"put-nonce": "17"})

    assert {"put-nonce": "17"} == (await RetryingStore(base).head("a")).attributes
