"""A cache whose store fails: no call fails because of it, and no entry that should have been deleted is returned."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from doubles import ScriptedStore

from storage import (
    BulkError,
    CachingStore,
    DictStore,
    KeyNotFoundError,
    PermissionDeniedError,
    StoreFullError,
    StoreTimeoutError,
    StoreUnavailableError,
)
from storage.decorators.caching import ledger as caching_ledger

#: What may go wrong in a cache store, also in one that does not keep the contract.
ERRORS = [
    StoreUnavailableError("away"),
    StoreTimeoutError("slow"),
    StoreFullError("full"),
    PermissionDeniedError("no"),
    TimeoutError("slow"),
    ConnectionResetError("reset"),
    ValueError("a bug"),
]


@pytest.fixture
def main() -> DictStore:
    """Return the store that has the objects."""
    return DictStore()


@pytest.fixture
def cache() -> ScriptedStore:
    """Return the cache store."""
    return ScriptedStore(DictStore())


@pytest.fixture
def store(main: DictStore, cache: ScriptedStore) -> CachingStore:
    """Return the cache over both stores."""
    return CachingStore(main, cache)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("actions", [["get"], ["put"], ["delete"], ["keys", "scan"], ["get", "put", "delete", "keys"]])
@pytest.mark.parametrize("bound", [None, 100])
async def test_failing_cache_fails_nobody(
    main: DictStore,
    cache: ScriptedStore,
    actions: list[str],
    error: Exception,
    bound: int | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Every call works as it does without a cache; the errors are counted and logged."""
    store = CachingStore(main, cache, max_count=bound)
    cache.fail(*actions, error=lambda: error)

    await store.put("k", b"one")
    assert [b"one", b"one"] == [await store.get("k"), await store.get("k")]
    await store.put("k", b"two")
    assert b"two" == await store.get("k")
    assert 3 == (await store.head("k")).size
    async with store.open("k") as reader:
        assert b"two" == await reader.read()
    await store.copy("k", "copy")
    await store.rename("copy", "renamed")
    assert {"k": b"two", "renamed": b"two"} == await store.get_many(["k", "renamed"])
    await store.put_many({"a": b"1", "b": b"2"})
    await store.delete_many(["a", "b"])
    await store.delete("k")
    assert not await store.exists("k")
    with pytest.raises(KeyNotFoundError):
        await store.get("k")
    await store.forget("renamed")
    await store.forget()
    await store.clear()

    assert [] == [key async for key in store.keys()]
    warned = [record for record in caplog.records if record.name == "storage" and record.levelno == logging.WARNING]
    assert 0 < store.stats.errors == len([record for record in warned if "the cache failed to" in record.message])


async def test_cache_that_cannot_be_entered_fails_nobody(main: DictStore, cache: ScriptedStore) -> None:
    """The main store is entered and works; the cache store may work the next time."""
    cache.fail("enter")
    store = CachingStore(main, cache)
    async with store:
        await store.put("k", b"v")
        assert b"v" == await store.get("k")
        assert (1, 1, 0) == (store.stats.errors, main._users, cache._users)

    cache.heal()
    async with store:
        assert (1, 1) == (main._users, cache._users)


async def test_main_store_that_fails_does_fail(store: CachingStore, main: DictStore, cache: ScriptedStore) -> None:
    """A cache hides no errors of the main store; it is closed again if the main store cannot be entered."""
    broken = ScriptedStore(main)
    broken.fail("enter", "open")
    store = CachingStore(broken, cache)

    with pytest.raises(StoreUnavailableError):
        await store.__aenter__()
    with pytest.raises(StoreUnavailableError):
        await store.get("k")
    assert (0, 0) == (cache._users, store.stats.errors)


async def test_entry_that_could_not_be_deleted_answers_nobody(
    store: CachingStore, main: DictStore, cache: ScriptedStore
) -> None:
    """The cache store still has the old value. It is not read for this key until the entry is deleted."""
    for key in "kl":
        await store.put(key, b"old")
        await store.get(key)
    cache.fail("delete")
    await store.put("k", b"new")

    assert b"old" in await cache.get("k")
    assert [b"new", b"new"] == [await store.get("k"), await store.get("k")]
    assert (await main.head("k")) == await store.head("k")
    assert b"old" in await cache.get("k")
    before = store.stats.hits
    assert (b"old", before + 1) == (await store.get("l"), store.stats.hits)

    cache.heal()
    assert b"new" == await store.get("k")
    assert b"new" in await cache.get("k")
    assert 0 == len(store._coherent.ledger.pending_deletions() or ())


async def test_deleted_object_whose_entry_could_not_be_deleted_stays_deleted(
    store: CachingStore, cache: ScriptedStore
) -> None:
    """However it is deleted."""
    for key in "abcd":
        await store.put(key, b"old")
        await store.get(key)
    cache.fail("delete")
    await store.delete("a")
    await store.delete_many(["b"])
    await store.rename("c", "e")
    await store.clear("d")

    for _ in range(2):
        assert [False] * 4 == [await store.exists(key) for key in "abcd"]
        assert b"old" == await store.get("e")
        cache.heal()


async def test_cache_that_could_not_be_cleared_answers_nobody(store: CachingStore, cache: ScriptedStore) -> None:
    """It is emptied, once, before it is read again."""
    for key in "kl":
        await store.put(key, b"v")
        await store.get(key)
    cache.fail("delete")
    await store.clear("k")
    assert not await store.exists("k")
    assert b"v" == await store.get("l")
    assert b"v" in await cache.get("k")

    cache.heal()
    assert not await store.exists("k")
    assert [] == [key async for key in cache.keys()]
    assert b"v" == await store.get("l")
    before = store.stats.hits
    assert (b"v", before + 1) == (await store.get("l"), store.stats.hits)


async def test_too_many_undeleted_entries_count_as_all(
    store: CachingStore, cache: ScriptedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of pending deletions is bounded: beyond it the whole cache must be emptied."""
    monkeypatch.setattr(caching_ledger, "LIMIT", 3)
    keys = [f"k{number}" for number in range(10)]
    for key in keys:
        await store.put(key, b"old")
        await store.get(key)
    cache.fail("delete")
    await store.put_many(dict.fromkeys(keys[:8], b"new"))

    assert (None, 0) == (store._coherent.ledger.pending_deletions(), len(store._coherent.ledger._pending))
    assert [b"new"] * 8 + [b"old"] * 2 == [await store.get(key) for key in keys]
    cache.heal()
    assert [b"new"] * 8 + [b"old"] * 2 == [await store.get(key) for key in keys]
    assert [] == store._coherent.ledger.pending_deletions()
    before = store.stats.hits
    await store.get("k9")
    assert before + 1 == store.stats.hits


async def test_whole_cache_is_emptied_by_one(store: CachingStore, cache: ScriptedStore) -> None:
    """Meanwhile the others read the main store, without waiting."""
    await store.put("k", b"v")
    cache.fail("keys")
    await store.forget()
    cache.heal()
    cache.calls.clear()
    gate = cache.hold("keys")
    emptying = asyncio.create_task(store.get("k"))
    await gate.reached()

    assert [b"v"] * 10 == await asyncio.gather(*(store.get("k") for _ in range(10)))
    gate.open()
    assert b"v" == await emptying
    assert 1 == cache.count("keys")


@pytest.mark.parametrize("failing", ["delete", "keys"])
async def test_forget_deletes_what_is_pending(store: CachingStore, cache: ScriptedStore, failing: str) -> None:
    """When the cache store works again, `forget` empties it, so that no read has to."""
    await store.put("k", b"v")
    await store.get("k")
    cache.fail(failing)
    await store.put("k", b"w")
    await store.forget()
    assert [] != store._coherent.ledger.pending_deletions()

    cache.heal()
    await store.forget()
    assert [] == store._coherent.ledger.pending_deletions()


async def test_old_value_that_lands_in_an_emptied_cache_answers_nobody(
    store: CachingStore, cache: ScriptedStore
) -> None:
    """The whole cache was emptied while an old value was being put into it."""
    await store.put("k", b"old")
    put = cache.hold("put")
    slow = asyncio.create_task(store.get("k"))
    await put.reached()
    await store.put("k", b"new")
    cache.fail("keys")
    await store.forget()
    cache.heal()
    assert b"new" == await store.get("k")
    landed = cache.hold("put", after=True)
    put.open()
    await landed.reached()

    assert b"old" in await cache.base.get("k")
    assert b"new" == await store.get("k")
    landed.open()
    await slow
    assert b"new" == await store.get("k")


async def test_emptying_deletes_only_what_was_pending_before(store: CachingStore, cache: ScriptedStore) -> None:
    """An entry that is marked while the cache is emptied may have been put after the emptying had passed its key."""
    for key in ("k", "other"):
        await store.put(key, b"old")
    await store.get("other")
    put = cache.hold("put")
    slow = asyncio.create_task(store.get("k"))
    await put.reached()
    cache.fail("keys")
    await store.clear("nothing")
    cache.heal()
    listed = cache.hold("delete", after=True)
    emptying = asyncio.create_task(store.get("other"))
    await listed.reached()
    put.open()
    await slow
    cache.fail("keys")
    await store.clear("k")
    cache.heal()
    listed.open()
    await emptying

    assert b"old" in await cache.base.get("k")
    assert not await store.exists("k")


async def test_bulk_deletion_that_fails_in_part_owes_that_part(main: DictStore) -> None:
    """Only the entries that could not be deleted stay pending."""

    class PickyStore(DictStore):
        """A store that deletes every key except ``b``."""

        picky = True

        async def delete(self, key: str, *, if_match: str | None = None) -> None:
            if self.picky and key == "b":
                raise StoreUnavailableError("not now", key=key)
            await super().delete(key, if_match=if_match)

    cache = PickyStore()
    store = CachingStore(main, cache)
    await store.put_many(dict.fromkeys("abc", b"old"))
    await store.get_many("abc")
    await store.put_many(dict.fromkeys("abc", b"new"))

    assert ["b"] == store._coherent.ledger.pending_deletions()
    assert dict.fromkeys("abc", b"new") == await store.get_many("abc")
    cache.picky = False
    assert dict.fromkeys("abc", b"new") == await store.get_many("abc")
    assert [] == store._coherent.ledger.pending_deletions()


@pytest.mark.parametrize("written", [["k"], ["k", "l"], None], ids=["one", "some", "all"])
async def test_closing_deletes_what_is_pending(
    main: DictStore, cache: ScriptedStore, written: list[str] | None
) -> None:
    """The next process does not know which entries are old."""
    async with CachingStore(main, cache) as store:
        for key in "kl":
            await store.put(key, b"old")
            await store.get(key)
        cache.fail("delete")
        if written is None:
            await store.clear()
            await main.put_many(dict.fromkeys("kl", b"new"))
        else:
            await store.put_many(dict.fromkeys(written, b"new"))
        cache.heal()

    async with CachingStore(main, cache) as store:
        assert dict.fromkeys(written or "kl", b"new") == await store.get_many(written or "kl")


async def test_failing_main_store_leaves_no_old_entry(main: DictStore, cache: ScriptedStore) -> None:
    """A bulk write that fails in part reports the failures, and the entries of all its keys are deleted."""
    store = CachingStore(main, cache)
    await store.put("k", b"old")
    await store.get("k")

    with pytest.raises(BulkError) as caught:
        await store.put_many([("k", b"new"), ("", b"no key")])

    assert {"k", ""} == set(caught.value.results)
    assert b"new" == await store.get("k")


@pytest.mark.parametrize("wrong", [5, None])
async def test_what_is_no_key_at_all_is_the_main_stores_to_refuse(store: CachingStore, wrong: Any) -> None:
    """The cache does not check keys."""
    with pytest.raises(TypeError, match="a key must be a str"):
        await store.put_many([(wrong, b"")])
    with pytest.raises(TypeError, match="a key must be a str"):
        await store.get(wrong)

    assert 0 == store.stats.errors


async def test_error_of_the_callers_stream_passes(store: CachingStore, main: DictStore) -> None:
    """And the old object stays, and can be cached again."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"new"
        raise LookupError("mine")

    await store.put("k", b"old")
    await store.get("k")
    with pytest.raises(LookupError, match="mine"):
        await store.put("k", pieces())

    assert [b"old", b"old"] == [await store.get("k"), await store.get("k")]
