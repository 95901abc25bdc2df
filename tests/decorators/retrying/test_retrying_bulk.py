"""How `RetryingStore` retries bulk calls and whole copies."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from doubles import ScriptedStore

from storage import (
    DictStore,
    KeyNotFoundError,
    ObjectStore,
    RetryingStore,
    StorageError,
    StoreUnavailableError,
    copy_store,
)
from storage._concurrency.tasks import CONCURRENCY

# -- bulk calls -------------------------------------------------------------------------------------------------------


async def test_only_failed_items_are_asked_for_again() -> None:
    """The others have their results already, and the results are in the caller's order."""
    base = DictStore()
    await base.put_many({"a": b"1", "b": b"2", "c": b"3"})
    flaky = ScriptedStore(base, get=["", "before", "", "before", ""])

    results = await RetryingStore(flaky).get_many(["c", "a", "missing", "b"])

    assert [("c", b"3"), ("a", b"1"), ("b", b"2")] == [item for item in results.items() if item[0] != "missing"]
    assert ["c", "a", "missing", "b"] == list(results)
    assert isinstance(results["missing"], KeyNotFoundError)
    assert 6 == flaky.count("get")


@pytest.mark.parametrize("form", [dict, lambda items: list(items.items()), lambda items: iter(items.items())])
async def test_put_many_and_delete_many_make_failed_items_again(form: Callable[..., Any]) -> None:
    """The items may be a mapping, a list or an iterable."""
    base = DictStore()
    flaky = ScriptedStore(base, put=["before", "after", ""] * 2, delete=["before", "after", ""] * 2)
    store = RetryingStore(flaky)
    items: dict[str, Any] = {"a": b"1", "b": [b"2"], "c": iter([b"3"])}

    results = await store.put_many(form(items), raise_errors=False)

    stored = {key: await base.get(key) async for key in base.keys()}
    assert {"a": b"1", "b": b"2"} == {key: data for key, data in stored.items() if key != "c"}
    assert stored.get("c", b"3") == b"3"
    assert all(isinstance(results[key], str) for key in "ab")
    assert {"a": None, "b": None, "c": None} == await store.delete_many("abc")
    assert [] == [key async for key in base.keys()]


async def test_items_that_come_one_by_one_are_not_collected() -> None:
    """One call can put objects that together do not fit in memory."""
    flaky = ScriptedStore(DictStore())
    ahead: list[int] = []

    async def items() -> AsyncIterator[tuple[str, bytes]]:
        for number in range(200):
            ahead.append(number - flaky.count("put"))
            yield f"k{number}", b""
            await asyncio.sleep(0)

    await RetryingStore(flaky).put_many(items())

    assert 200 == flaky.count("put")
    assert max(ahead) <= CONCURRENCY


async def test_used_up_stream_of_a_bulk_call_keeps_its_error() -> None:
    """Its stream cannot be put again; the other items are."""
    flaky = ScriptedStore(DictStore(), put=["after", "before"])

    results = await RetryingStore(flaky).put_many([("a", iter([b"1"])), ("b", b"2")], raise_errors=False)

    assert isinstance(results["a"], StoreUnavailableError)
    assert isinstance(results["b"], str)
    assert 3 == flaky.count("put")


class _BrokenBulkStore(DictStore):
    """A store whose bulk calls fail as a whole a given number of times."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures

    async def delete_many(self, keys: Any, *, raise_errors: bool = True) -> dict[str, None | StorageError]:
        self.failures -= 1
        if self.failures >= 0:
            raise StoreUnavailableError("busy")
        return await super().delete_many(keys, raise_errors=raise_errors)


async def test_bulk_call_that_fails_as_a_whole_is_made_again() -> None:
    """This works for keys that can be iterated only once; if the failure persists, the error is raised."""
    base = _BrokenBulkStore(failures=2)
    await base.put("a", b"")

    assert {"a": None} == await RetryingStore(base).delete_many(iter("a"))

    base.failures = 100
    with pytest.raises(StoreUnavailableError):
        await RetryingStore(base).delete_many(["a"])


async def test_clear_gets_there_in_the_end() -> None:
    """Deletes are retried, and the listing continues."""
    base = DictStore()
    await base.put_many({f"k{number}": b"" for number in range(10)})
    flaky = ScriptedStore(base, delete=["before", ""] * 8, keys=["before"], next=["before", ""] * 5)

    await RetryingStore(flaky).clear()

    assert [] == [key async for key in base.keys()]


# -- all of it --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
async def test_shaky_store_is_as_good_as_a_sound_one(seed: int) -> None:
    """A copy over stores that lose calls and answers of every kind is identical, byte for byte."""
    chance = random.Random(seed)
    source, target = DictStore(), DictStore()
    await source.put_many({f"d{number % 3}/{number}": chance.randbytes(number * 50) for number in range(40)})

    def plan() -> Iterator[Any]:
        while True:
            yield chance.choice(["before", "after", "", "", ""])

    def shaky(base: ObjectStore) -> ObjectStore:
        flaky = ScriptedStore(base)
        for action in ("get", "put", "open", "read", "keys", "next", "exists", "head"):
            endless = plan()
            flaky.plan[action] = [next(endless) for _ in range(500)]
        return RetryingStore(flaky, attempts=30, base_delay=0.001)

    await copy_store(shaky(source), shaky(target), overwrite=False)

    assert await source.get_many([key async for key in source.keys()]) == await target.get_many(
        [key async for key in target.keys()]
    )
