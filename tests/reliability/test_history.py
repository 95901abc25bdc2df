"""
Stores with many concurrent users: for each object there is an order of the calls that explains all results.

STORAGE_EXAMPLES=50 makes it a long run: so many times as many histories.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from processes.players import InPlace, Player
from processes.workers import in_processes, play
from stacks import STACKS

import storage.sync
from storage import (
    BulkError,
    ByteRange,
    CachingStore,
    Data,
    DictStore,
    KeyExistsError,
    MirrorError,
    MirroringStore,
    ObjectStore,
    PreconditionFailedError,
    StoreDecorator,
    StoreUnavailableError,
)
from storage._concurrency.stepping import step
from storage.testing import FaultyStore, History, HistoryError, RecordedCall, RecordedListing, RecordingStore

#: How many times as many histories are recorded.
LONGER = int(os.environ.get("STORAGE_EXAMPLES", "1"))

#: Concurrent tasks or threads, and the calls of each; for processes, each of which has two tasks.
PLAYERS, STEPS = 6, 50
PROCESSES = 3

#: Histories of a store that is wrong, of which one is to show it.
WRONG = 10

#: In one process: every store, and decorators with a memory of their own, over stores that wait and that do not.
IN_USE = [
    *("dict", "minimal", "filesystem", "safe-filesystem", "hashdir", "sqlite", "sqlite-memory", "zip"),
    *("mirroring-dict", "mirrored-dict", "mirroring-sqlite", "mirrored-filesystem"),
    *("caching-dict", "caching-all-dict", "caching-filesystem", "caching-sqlite", "tiered-dict", "tiered-sqlite"),
    *("expiring-dict", "expiring-bounded-sqlite", "routing-dict", "fallback-dict", "hash-prefix-dict"),
    *("encrypting-dict", "json-dict", "retrying-dict", "concurrency-limit-dict"),
    *("gzip-caching-mirroring-filesystem", "logging-expiring-caching-gzip-encrypting-prefix-sqlite"),
]
SHARED = ["filesystem", "safe-filesystem", "hashdir", "sqlite", "gzip-prefix-sqlite"]


class Recorder(RecordingStore):
    """Records, but for the etags that a store of several gives of a child but its first: a version has several then."""

    _steppable = True

    def _read(self, key: str, begun: int, outcome: str = "done", *, etag: str | None = None, **told: Any) -> None:
        super()._read(key, begun, outcome, etag=None if etag is None or "@" in etag else etag, **told)


async def play_tasks(store: ObjectStore, name: str, *failures: type[Exception]) -> History:
    """Have players in tasks use a store whose calls may fail, and return their history."""
    async with Recorder(store) as recorder:
        players = [Player(recorder, f"{name}.{number}", *failures, tasks=True) for number in range(PLAYERS)]
        await asyncio.gather(*(player.play(STEPS) for player in players))
        return recorder.history


def play_threads(store: ObjectStore, name: str) -> History:
    """Have players in threads use the synchronous face of a store, and return their history."""
    recorder = Recorder(store)
    errors: list[BaseException] = []

    def run(player: Player) -> None:
        try:
            step(player.play(STEPS))
        except BaseException as error:
            errors.append(error)

    with storage.sync.ObjectStore(recorder) as face:
        players = [Player(InPlace(face), f"{name}.{number}") for number in range(PLAYERS)]
        threads = [threading.Thread(target=run, args=[player]) for player in players]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [] == errors
    return recorder.history


@pytest.fixture
def _often() -> Iterator[None]:
    """Make threads take turns as often as possible."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def check_all(histories: list[History]) -> None:
    """Check all histories."""
    for history in histories:
        history.check()


# -- stores ----------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(60 + 10 * LONGER)
@pytest.mark.parametrize("name", IN_USE)
async def test_tasks_see_one_thing_at_a_time(name: str, tmp_path: Path) -> None:
    """Reads, writes, swaps, bulk calls, copies, listings and cancelled writes of many tasks on a few objects."""
    for number in range(LONGER):
        root = tmp_path / str(number)
        root.mkdir()

        (await play_tasks(STACKS[name].adapted(root), f"{name}-{number}")).check()


@pytest.mark.timeout(60 + 10 * LONGER)
@pytest.mark.parametrize("name", IN_USE)
@pytest.mark.usefixtures("_often")
def test_threads_see_one_thing_at_a_time(name: str, tmp_path: Path) -> None:
    """Threads that use the synchronous face."""
    for number in range(LONGER):
        root = tmp_path / str(number)
        root.mkdir()

        play_threads(STACKS[name].adapted(root), f"{name}-{number}").check()


@pytest.mark.process
@pytest.mark.timeout(60 + 10 * LONGER)
@pytest.mark.parametrize("name", SHARED)
async def test_processes_see_one_thing_at_a_time(name: str, tmp_path: Path) -> None:
    """Processes with several tasks each, on a common clock."""
    for number in range(LONGER):
        root = tmp_path / str(number)
        root.mkdir()
        async with STACKS[name].adapted(root):  # so that no two make the database
            pass

        together = History()
        for history in await asyncio.to_thread(in_processes, play, PROCESSES, name, root, STEPS // 2):
            together.extend(history)

        assert together.events
        together.check()


@pytest.mark.parametrize("require", ["all", "quorum"])
@pytest.mark.parametrize("seed", range(2 * LONGER))
async def test_mirror_of_failing_children_is_one_store(seed: int, require: Any) -> None:
    """A failed write took effect or not, and all later calls agree on that."""
    children = [FaultyStore(DictStore(), seed=seed * 3 + number) for number in range(3)]
    for child in children[1:]:
        child.fail("put", "delete", probability=0.05)
        child.fail("put", "delete", probability=0.05, after=True)

    store = MirroringStore(children, require=require)
    history = await play_tasks(store, f"failing-{require}-{seed}", MirrorError, BulkError, StoreUnavailableError)

    history.check()
    assert all(child.failures for child in children[1:])


@pytest.mark.parametrize("seed", range(2 * LONGER))
async def test_cache_that_fails_is_no_worse_than_none(seed: int) -> None:
    """However the cache fails, reads return what the main store has."""
    cache = FaultyStore(DictStore(), seed=seed)
    cache.fail(probability=0.1)
    cache.fail("put", "delete", probability=0.1, after=True)

    (await play_tasks(CachingStore(DictStore(), cache), f"failing-cache-{seed}")).check()

    assert cache.failures


# -- stores that are wrong -------------------------------------------------------------------------------------------


class LostUpdates(StoreDecorator):
    """Checks the version first, and replaces it later."""

    async def put(self, key: str, data: Data, *, if_match: str | None = None, **options: Any) -> str:
        if if_match is not None and not await _is(self.base, key, if_match):
            raise PreconditionFailedError(key)
        await asyncio.sleep(0)
        return await self.base.put(key, data, **options)


class TwoCreators(StoreDecorator):
    """Checks that there is no object first, and creates one later."""

    async def put(self, key: str, data: Data, *, if_absent: bool = False, **options: Any) -> str:
        if if_absent and await self.base.exists(key):
            raise KeyExistsError(key)
        await asyncio.sleep(0)
        return await self.base.put(key, data, **options)


class StaleCache(StoreDecorator):
    """Keeps what it has read, and forgets it only before a write."""

    def __init__(self, base: ObjectStore) -> None:
        super().__init__(base)
        self.kept: dict[str, bytes] = {}

    async def get(self, key: str, *, byte_range: ByteRange | None = None) -> bytes:
        if key not in self.kept:
            data = await self.base.get(key)
            await asyncio.sleep(0)
            self.kept[key] = data
        return self.kept[key]

    async def put(self, key: str, data: Data, **options: Any) -> str:
        self.kept.pop(key, None)
        return await self.base.put(key, data, **options)

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        self.kept.pop(key, None)
        await self.base.delete(key, if_match=if_match)


class LateCancelled(StoreDecorator):
    """A cancelled write goes on after its caller has returned."""

    async def put(self, key: str, data: Data, **options: Any) -> str:
        async def later() -> str:
            for _ in range(20):
                await asyncio.sleep(0)
            return await self.base.put(key, data, **options)

        return await asyncio.shield(asyncio.ensure_future(later()))


class LosingListing(StoreDecorator):
    """Lists by position, so that it skips an object when an earlier one is deleted."""

    async def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
        position = 0
        while True:
            keys = [key async for key in self.base.keys(prefix, start_after=start_after)]
            if position >= len(keys):
                return
            yield keys[position]
            position += 1
            await asyncio.sleep(0)


async def _is(store: ObjectStore, key: str, etag: str) -> bool:
    return await store.exists(key) and (await store.head(key)).etag == etag


@pytest.mark.parametrize("wrong", [LostUpdates, TwoCreators, StaleCache, LateCancelled, LosingListing])
async def test_store_that_is_wrong_is_found(wrong: type[StoreDecorator]) -> None:
    """A lost update, two creators, an old object, a late write and a key missing in a listing are all found."""
    histories = [await play_tasks(wrong(DictStore()), f"{wrong.__name__}-{number}") for number in range(WRONG)]

    with pytest.raises(HistoryError):
        check_all(histories)


# -- the search itself -----------------------------------------------------------------------------------------------


def call(
    action: str, begun: int, ended: int | None, outcome: str = "done", word: str | None = None, **told: Any
) -> Any:
    """Return a call for ``k``."""
    return RecordedCall(action, "k", begun, ended, outcome, word, **told)


put, read, delete = (partial(call, action) for action in ("put", "read", "delete"))


@pytest.mark.parametrize(
    "calls",
    [
        [put(0, 1, word="1"), read(2, 3, word="1"), delete(4, 5), read(6, 7, "missing")],
        [put(0, 9, word="1"), read(1, 2, "missing"), read(3, 4, word="1")],
        [put(0, 9, word="1"), put(0, 9, word="2"), read(10, 11, word="1")],
        [put(0, 9, "unknown", "1"), read(10, 11, "missing")],
        [put(0, 9, "unknown", "1"), read(10, 11, word="1")],
        [put(0, None, "unknown", "1"), read(10, 11, "missing"), read(12, 13, word="1")],
        [put(0, 1, word="1", etag="e"), put(2, 9, word="2", if_match="e", etag="f"), read(2, 9, "other", if_match="e")],
        [put(0, 9, word="1", if_absent=True), read(0, 9, "there"), delete(0, 9)],
        [put(0, 1, "unknown", "1"), put(2, 3, word="2", if_match="e"), read(4, 5, word="2")],
    ],
)
def test_order_is_found(calls: list[RecordedCall]) -> None:
    """Overlapping calls may have any order, and a failed call may have taken effect or not."""
    history = History()
    history.events = calls

    history.check()


@pytest.mark.parametrize(
    "calls",
    [
        [put(0, 1, word="1"), read(2, 3, "missing")],
        [put(0, 1, word="1"), put(2, 3, word="2"), read(4, 5, word="1")],
        [put(0, 9, word="1"), read(1, 2, word="1"), read(3, 4, "missing")],
        [put(0, 9, word="1"), put(0, 9, word="2"), read(10, 11, word="1"), read(12, 13, word="2")],
        [put(0, 9, word="1", if_absent=True), put(0, 9, word="2", if_absent=True)],
        [put(0, 1, word="1", etag="e"), put(2, 9, word="2", if_match="e", etag="f"), delete(2, 9, if_match="e")],
        [put(0, 1, word="1", etag="e"), delete(2, 9, if_match="e"), delete(2, 9, if_match="e")],
        [put(0, 1, "unknown", "1"), read(2, 3, "missing"), read(4, 5, word="1")],
        [put(0, 1, word="1", etag="e"), read(2, 3, word="1", etag="f")],
        [put(0, 1, word="1", etag="e"), read(2, 3, "other", if_match="e")],
        [read(0, 1, word="never put")],
    ],
)
def test_no_order_is_found(calls: list[RecordedCall]) -> None:
    """An old object, a write that comes and goes, two winners: the error names the key and shows the call."""
    history = History()
    history.events = calls

    with pytest.raises(HistoryError, match=r"'k': after \d calls it is .*\n  "):
        history.check()


@pytest.mark.parametrize(
    ("keys", "what"),
    [
        (["k"], None),
        (["k", "m"], None),
        ([], "misses 'k'"),
        (["m"], "misses 'k'"),
        (["k", "k"], "twice or out of order"),
        (["m", "k"], "twice or out of order"),
        (["gone", "k"], "'gone', which did not exist"),
        (["k", "later"], "'later', which did not exist"),
        (["k", "never"], "'never', which was never put"),
    ],
)
def test_listings_are_of_what_was_there(keys: list[str], what: str | None) -> None:
    """A listing has the objects that existed throughout, none that never did, perhaps those that changed meanwhile."""
    history = History()
    history.events = [
        RecordedCall("put", "k", 0, 1, "done"),
        RecordedCall("put", "m", 0, 1, "done"),
        RecordedCall("delete", "m", 12, 15, "done"),
        RecordedCall("put", "gone", 0, 1, "done"),
        RecordedCall("delete", "gone", 2, 3, "done"),
        RecordedCall("put", "later", 30, 31, "done"),
    ]
    history.listings = [RecordedListing("", "", 10, 20, tuple(keys))]

    if what is None:
        history.check()
    else:
        with pytest.raises(HistoryError, match=what):
            history.check()
