"""A cache under concurrent writes: what was read before a write is never returned after it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from caching_tools import Cached, or_none, under_way

import storage.sync
from storage import (
    PreconditionFailedError,
    StoreTimeoutError,
    StoreUnavailableError,
)


@pytest.fixture
async def cached() -> AsyncIterator[Cached]:
    """Yield a cache whose main store has an object; check afterwards that no state of a call is left."""
    cached = Cached()
    await cached.below.put("k", b"old")
    yield cached
    assert (0, []) == (under_way(cached.store), cached.store._coherent.ledger.pending_deletions())
    assert {asyncio.current_task()} == asyncio.all_tasks()


# -- never an old value ------------------------------------------------------------------------------------------------


async def _aside(cached: Cached) -> None:
    await cached.below.put("aside", b"from aside")


async def _copied(cached: Cached) -> object:
    await _aside(cached)
    return await cached.store.copy("aside", "k")


async def _renamed(cached: Cached) -> object:
    await _aside(cached)
    return await cached.store.rename("aside", "k")


async def _beaten(cached: Cached) -> object:
    """A conditional put that fails, as the object was changed without the cache: the caller then sees the change."""
    await cached.below.put("k", b"past the cache")
    with pytest.raises(PreconditionFailedError):
        await cached.store.put("k", b"new", if_match="no version")
    return None


async def _changed_and_forgotten(cached: Cached, key: str | None) -> object:
    await cached.below.put("k", b"past the cache")
    await cached.store.forget(key)
    return None


Write = Callable[[Cached], Coroutine[Any, Any, object]]

#: Everything that changes what ``k`` is.
WRITES: dict[str, Write] = {
    "put": lambda cached: cached.store.put("k", b"new"),
    "put of a stream": lambda cached: cached.store.put("k", [b"n", b"ew"]),
    "put if_match": lambda cached: _matching(cached),
    "beaten put": _beaten,
    "delete": lambda cached: cached.store.delete("k"),
    "put_many": lambda cached: cached.store.put_many({"j": b"", "k": b"new"}),
    "put_many of pairs": lambda cached: cached.store.put_many((key, b"new") for key in "jkk"),
    "delete_many": lambda cached: cached.store.delete_many(["j", "k"]),
    "copy": _copied,
    "rename onto it": _renamed,
    "rename it": lambda cached: cached.store.rename("k", "elsewhere"),
    "clear": lambda cached: cached.store.clear(),
    "clear a prefix": lambda cached: cached.store.clear("k"),
    "forget": lambda cached: _changed_and_forgotten(cached, "k"),
    "forget all": lambda cached: _changed_and_forgotten(cached, None),
}
each_write = pytest.mark.parametrize("write", WRITES.values(), ids=list(WRITES))


async def _matching(cached: Cached) -> object:
    return await cached.store.put("k", b"new", if_match=(await cached.below.head("k")).etag)


@each_write
async def test_write_is_seen_at_once(cached: Cached, write: Write) -> None:
    """An entry made before a write is not used after it."""
    assert b"old" == await cached.store.get("k")

    await write(cached)

    assert await cached.truth() == await cached.reads()
    assert await cached.truth() == await cached.reads()


@each_write
async def test_slow_miss_does_not_bring_the_old_value_back(cached: Cached, write: Write) -> None:
    """The main store is read before the write, and the result arrives after it."""
    gate = cached.main.hold("open", after=True)
    slow = asyncio.create_task(cached.store.get("k"))
    await gate.reached()

    await write(cached)
    assert await cached.truth() == await cached.reads()

    gate.open()
    assert b"old" == await slow
    assert await cached.truth() == await cached.reads()


@each_write
async def test_slow_fill_does_not_bring_the_old_value_back(cached: Cached, write: Write) -> None:
    """The old value is being put into the cache when the write begins, and is there when the write has ended."""
    gate = cached.cache.hold("put")
    slow = asyncio.create_task(cached.store.get("k"))
    await gate.reached()

    await write(cached)
    assert await cached.truth() == await cached.reads()

    gate.open()
    assert b"old" == await slow
    assert await cached.truth() == await cached.reads()


@each_write
async def test_entry_that_lands_after_a_write_answers_nobody(cached: Cached, write: Write) -> None:
    """The old value is in the cache again, after its deletion, while the call that put it there still runs."""
    gate = cached.cache.hold("put")
    slow = asyncio.create_task(cached.store.get("k"))
    await gate.reached()
    await write(cached)
    landed = cached.cache.hold("put", after=True)
    gate.open()
    await landed.reached()

    assert await cached.copies.exists("k")
    assert await cached.truth() == await cached.reads()
    landed.open()
    await slow
    assert not await cached.copies.exists("k")
    assert await cached.truth() == await cached.reads()


async def test_entry_that_lands_while_it_is_deleted_answers_nobody(cached: Cached) -> None:
    """The deletion takes effect before the old value is put, and returns after it."""
    put = cached.cache.hold("put")
    slow = asyncio.create_task(cached.store.get("k"))
    await put.reached()
    held = cached.main.hold("put", after=True)
    writing = asyncio.create_task(cached.store.put("k", b"new"))
    await held.reached()
    deleted = cached.cache.hold("delete", after=True)
    held.open()
    await deleted.reached()
    deleting_again = cached.cache.hold("delete")
    put.open()
    await deleting_again.reached()
    deleted.open()
    await writing

    assert await cached.copies.exists("k")
    assert await cached.truth() == await cached.reads()
    deleting_again.open()
    await slow
    assert await cached.truth() == await cached.reads()


#: Writes, and the call of the main store that a test holds amid them.
HELD: dict[str, Write] = {
    "put": lambda cached: cached.store.put("k", b"new"),
    "delete": lambda cached: cached.store.delete("k"),
    "keys": lambda cached: cached.store.clear(),
}
each_held = pytest.mark.parametrize(("action", "write"), HELD.items(), ids=["put", "delete", "clear"])


@each_held
async def test_entry_is_gone_before_the_main_store_is_written(cached: Cached, action: str, write: Write) -> None:
    """A process that dies during a write leaves no old entry."""
    await cached.store.get("k")
    held = cached.main.hold(action)
    writing = asyncio.create_task(write(cached))
    await held.reached()

    assert not await cached.copies.exists("k")
    held.open()
    await writing


@each_held
async def test_cache_has_nothing_of_what_is_being_written(cached: Cached, action: str, write: Write) -> None:
    """Neither what was read before the write nor what is read during it."""
    late = cached.main.hold("open", after=True)
    early = asyncio.create_task(cached.store.get("k"))
    await late.reached()
    held = cached.main.hold(action)
    writing = asyncio.create_task(write(cached))
    await held.reached()
    late.open()
    assert [b"old", b"old"] == [await early, await cached.store.get("k")]

    assert not await cached.copies.exists("k")
    held.open()
    await writing
    assert await cached.truth() == await cached.reads()


@each_held
async def test_read_during_a_write_is_not_kept(cached: Cached, action: str, write: Write) -> None:
    """A read during a write may return the old value, but it is not cached, and not returned after the write."""
    held = cached.main.hold(action)
    writing = asyncio.create_task(write(cached))
    await held.reached()
    late = cached.main.hold("open", after=True)
    reading = asyncio.create_task(cached.store.get("k"))
    await late.reached()

    held.open()
    await writing
    assert await cached.truth() == await cached.reads()
    late.open()
    assert b"old" == await reading
    assert await cached.truth() == await cached.reads()


async def test_read_that_begins_after_a_write_does_not_join_one_from_before(cached: Cached) -> None:
    """A read that began before or during a write is shared only with callers that came before the write ended."""
    gates = [cached.main.hold("open", after=True)]
    early = asyncio.create_task(cached.store.get("k"))
    await gates[0].reached()
    held = cached.main.hold("put")
    writing = asyncio.create_task(cached.store.put("k", b"new"))
    await held.reached()
    gates.append(cached.main.hold("open", after=True))
    between = [asyncio.create_task(cached.store.get("k")) for _ in range(20)]
    await gates[1].reached()
    held.open()
    await writing

    assert b"new" == await cached.store.get("k")
    for gate in gates:
        gate.open()
    assert {b"old"} == set(await asyncio.gather(early, *between))
    assert 3 == cached.main.count("open")


async def test_two_writes_at_once_keep_the_object_out_until_both_are_over(cached: Cached) -> None:
    """When the first write has ended, what is read before the second takes effect is still not cached."""
    held = cached.main.hold("put")
    slow = asyncio.create_task(cached.store.put("k", b"newest"))
    await held.reached()
    await cached.store.put("k", b"new")

    assert b"new" == await cached.store.get("k")
    assert not await cached.copies.exists("k")
    held.open()
    await slow
    assert b"newest" == await cached.store.get("k")


@pytest.mark.parametrize("late", [False, True], ids=["before it took effect", "after"])
@pytest.mark.parametrize("action", ["put", "delete"])
async def test_cancelled_write_leaves_nothing_old(cached: Cached, action: str, late: bool) -> None:
    """Whether it took effect or not, the cache returns what the main store has."""
    gate = cached.main.hold(action, after=late)
    call = cached.store.put("k", b"new") if action == "put" else cached.store.delete("k")
    writing = asyncio.create_task(call)
    await gate.reached()
    await cached.copies.put("k", b"an entry that another process put there, say")
    writing.cancel()
    with suppress(asyncio.CancelledError):
        await writing

    assert not await cached.copies.exists("k")
    assert await cached.truth() == await cached.reads()


async def test_write_that_is_cancelled_while_it_deletes_its_entry_leaves_nothing_old(cached: Cached) -> None:
    """The deletion is completed before the cache is read for this key again."""
    await cached.store.get("k")
    entry = await cached.copies.get("k")
    held = cached.main.hold("put", after=True)
    writing = asyncio.create_task(cached.store.put("k", b"new"))
    await held.reached()
    await cached.copies.put("k", entry)
    deleting = cached.cache.hold("delete")
    held.open()
    await deleting.reached()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing

    assert entry == await cached.copies.get("k")
    assert await cached.truth() == await cached.reads()
    assert entry != await cached.copies.get("k")


@pytest.mark.parametrize("error", [StoreTimeoutError("slow"), StoreUnavailableError("away"), RuntimeError("a bug")])
async def test_write_of_unknown_outcome_leaves_nothing_old(cached: Cached, error: Exception) -> None:
    """The write took effect in the main store, but its result was lost."""
    await cached.store.get("k")
    put = cached.main.base.put

    async def put_and_fail(*args: Any, **options: Any) -> str:
        await put(*args, **options)
        raise error

    cached.main.base.put = put_and_fail  # type: ignore[method-assign]
    with pytest.raises(type(error)):
        await cached.store.put("k", b"new")

    assert [b"new", b"new", 3] == await cached.reads()


@pytest.mark.parametrize("finding", ["open", "exists", "head"])
async def test_object_that_is_created_meanwhile_is_not_remembered_as_missing(finding: str) -> None:
    """The same race with a missing object, whichever method finds it missing."""
    cached = Cached(negative=60)
    gate = cached.main.hold(finding, after=True)
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "open": cached.opened,
        "exists": cached.size,
        "head": partial(cached.store.head, "k"),
    }
    slow = asyncio.create_task(or_none(calls[finding]()))
    await gate.reached()
    await cached.store.put("k", b"new")
    gate.open()

    assert None is await slow
    assert [b"new", b"new", 3] == await cached.reads()


async def test_write_through_that_was_overtaken_is_not_kept() -> None:
    """Two concurrent puts: the cache gets the value that the main store has in the end, or none."""
    cached = Cached(write="through")
    held = cached.main.hold("head", after=True)
    first = asyncio.create_task(cached.store.put("k", b"first"))
    await held.reached()
    await cached.store.put("k", b"second")
    held.open()
    await first

    assert [b"second", b"second", 6] == await cached.reads()
    assert 0 == cached.main.count("open")


# -- from many threads -------------------------------------------------------------------------------------------------


def test_threads_never_see_an_older_value_than_was_written() -> None:
    """Without an event loop, in threads: what one thread has written another one reads, or something newer."""
    store = storage.sync.CachingStore(storage.sync.DictStore(), storage.sync.DictStore())
    store.put("k", b"0")
    written = 0
    done = threading.Event()

    def write() -> None:
        nonlocal written
        for number in range(1, 2000):
            store.put("k", b"%d" % number)
            written = number
        done.set()

    def read() -> int:
        count = 0
        while not done.is_set():
            at_least = written
            assert at_least <= int(store.get("k"))
            count += 1
        return count

    with ThreadPoolExecutor(4) as threads:
        readers = [threads.submit(read) for _ in range(3)]
        threads.submit(write).result()

        assert all(reader.result() for reader in readers)
    assert b"1999" == store.get("k")
