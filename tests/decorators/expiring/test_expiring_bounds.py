"""`ExpiringStore` with bounds: the most recently used objects, and no more of them than there is room for."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from clocks import HandClock, expiring
from examples import MinimalStore

import storage.sync
from storage import (
    ConfigError,
    Data,
    DictStore,
    ExpiringStore,
    FilesystemStore,
    JsonStore,
    ObjectInfo,
    ObjectStore,
    SqliteStore,
    StoreDecorator,
    StoreFullError,
    StoreUnavailableError,
)
from storage.testing.suite.harness import listed


@pytest.fixture(params=["dict", "filesystem", "sqlite"])
async def base(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ObjectStore]:
    made: dict[str, Callable[[], ObjectStore]] = {
        "dict": DictStore,
        "filesystem": lambda: FilesystemStore(tmp_path),
        "sqlite": lambda: SqliteStore(tmp_path / "objects.db"),
    }
    async with made[request.param]() as store:
        yield store


async def held(store: ObjectStore) -> tuple[int, int]:
    """Return how many objects a store holds, and how many bytes."""
    sizes = [info.size async for info in store.scan()]
    return len(sizes), sum(sizes)


# -- which go --------------------------------------------------------------------------------------------------------


async def test_least_recently_used_goes_first(base: ObjectStore) -> None:
    """To put, to read and to open is to use; to look is not."""
    store = ExpiringStore(base, max_count=4)
    for key in "abcd":
        await store.put(key, b"v")
    await store.get("a")
    async with store.open("b") as reader:
        await reader.read()
    await store.head("c")
    await store.exists("c")
    await listed(store.scan())
    await store.put("d", b"w")

    await store.put("e", b"v")
    assert ["a", "b", "d", "e"] == await listed(base.keys())
    await store.get_many(["a"])
    await store.put("f", b"v")
    assert ["a", "d", "e", "f"] == await listed(base.keys())


async def test_bytes_are_bounded_too(base: ObjectStore) -> None:
    """As many go as it takes, and an overwritten object counts once."""
    store = ExpiringStore(base, max_bytes=10)
    for key in "abcde":
        await store.put(key, b"12")
    await store.put("e", b"34")
    assert 5 == (await held(base))[0]

    await store.put("f", b"12345")

    assert ["d", "e", "f"] == await listed(base.keys())


async def test_object_may_have_as_many_bytes_as_there_is_room(base: ObjectStore) -> None:
    """Then it is the only one."""
    store = ExpiringStore(base, max_bytes=10)
    await store.put("a", b"1")
    await store.put("b", b"0123456789")

    assert ["b"] == await listed(base.keys())


@pytest.mark.parametrize("data", [b"01234567890", memoryview(b"01234567890"), [b"0123456", b"7890"]], ids=type)
async def test_larger_object_is_refused(base: ObjectStore, data: Data) -> None:
    """Nothing is put, the old one stays, and so do all the others."""
    store = ExpiringStore(base, max_bytes=10)
    await store.put("k", b"old")
    await store.put("other", b"v")

    with pytest.raises(StoreFullError) as caught:
        await store.put("k", data)

    assert "k" == caught.value.key
    assert {"k": b"old", "other": b"v"} == await store.get_many(["k", "other"])


async def test_endless_stream_is_broken_off(base: ObjectStore) -> None:
    """As soon as it has more than there is room for: nobody waits for its end."""
    given = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given
        while True:
            given += 1
            yield b"x" * 1000

    with pytest.raises(StoreFullError):
        await ExpiringStore(base, max_bytes=10_000).put("k", endless())

    assert 11 == given


@pytest.mark.parametrize("size", [1, 3])
async def test_streams_are_counted_as_well(base: ObjectStore, size: int) -> None:
    """Their size is known when they end."""
    store = ExpiringStore(base, max_bytes=10)
    for key in "abcdef":
        await store.put(key, [b"x"] * size)

    assert list("abcdef")[-(10 // size) :] == await listed(base.keys())


async def test_all_ways_to_make_objects_are_bounded(base: ObjectStore) -> None:
    """Bulk calls, copies and renames make room like puts."""
    store = ExpiringStore(base, max_count=3, max_bytes=9)
    await store.put_many({f"k{number}": b"123" for number in range(10)})
    assert (3, 9) == await held(base)

    await store.put("a", b"1")
    await store.copy("a", "b")
    await store.copy("a", "c")
    await store.rename("b", "d")
    assert ["a", "c", "d"] == await listed(base.keys())
    await store.put("e", b"1")
    assert ["c", "d", "e"] == await listed(base.keys())


async def test_what_is_deleted_makes_room(base: ObjectStore) -> None:
    """By whatever method: nothing else has to go for what is put instead, though it was used before."""
    store = ExpiringStore(base, max_count=7, max_bytes=7)
    etags = {key: await store.put(key, b"v") for key in ("oldest", "a", "b", "c", "d/1", "d/2", "e")}
    await store.delete("a")
    await store.delete("b", if_match=etags["b"])
    await store.delete_many(["c"])
    await store.clear("d/")
    await store.rename("e", "f")
    await store.put_many(dict.fromkeys("vwxyz", b"v"))

    assert ["f", "oldest", "v", "w", "x", "y", "z"] == await listed(base.keys())


async def test_what_has_expired_makes_room_when_it_is_removed(base: ObjectStore) -> None:
    """Until then it counts, as it takes the room."""
    clock = HandClock()
    store = expiring(base, clock, max_count=3)
    await store.put("live", b"v")
    await store.put("found", b"v", ttl=60)
    await store.put("swept", b"v", ttl=60)
    clock.go_on(60)
    assert not await store.exists("found")
    await store.put("a", b"v")
    assert ["a", "live", "swept"] == await listed(base.keys())

    await store.sweep()
    await store.put("b", b"v")

    assert ["a", "b", "live"] == await listed(base.keys())


# -- what was there before -------------------------------------------------------------------------------------------


async def test_what_the_store_held_counts_from_the_first_put(base: ObjectStore) -> None:
    """In the order in which it was written, and behind what was read meanwhile."""
    for key in ("c", "a", "d", "b"):
        await base.put(key, b"v")
        await asyncio.sleep(0.001)
    async with ExpiringStore(base, max_count=4) as store:
        await store.get("c")
        await store.put("e", b"v")
        assert ["b", "c", "d", "e"] == await listed(base.keys())
        await store.put("f", b"v")
        assert ["b", "c", "e", "f"] == await listed(base.keys())


async def test_store_that_is_opened_again_counts_again(base: ObjectStore) -> None:
    """Others may have put there meanwhile."""
    store = ExpiringStore(base, max_count=3)
    async with store:
        await store.put("a", b"v")
    await base.put("b", b"v")
    await base.put("c", b"v")
    async with store:
        await store.put("d", b"v")
        await store.put("e", b"v")

    assert 3 == (await held(base))[0]


async def test_what_was_too_large_goes_alone(base: ObjectStore) -> None:
    """An object that the store held before takes none of the others along, and neither does a copy of it."""
    await base.put("a", b"v")
    await base.put("large", b"0123456789")
    await base.put("b", b"v")
    store = ExpiringStore(base, max_bytes=5)

    await store.copy("large", "copy")

    assert ["a", "b"] == await listed(base.keys())


async def test_many_first_puts_count_once() -> None:
    """A store with ten million keys is not listed by each of them."""
    listings = 0

    class Counted(StoreDecorator):
        async def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
            nonlocal listings
            listings += 1
            async for info in self.base.scan(prefix, start_after=start_after):
                await asyncio.sleep(0)
                yield info

    base = DictStore()
    await base.put_many({f"old{number}": b"v" for number in range(10)})
    store = ExpiringStore(Counted(base), max_count=5)

    await asyncio.gather(*(store.put(f"new{number}", b"v") for number in range(20)))

    assert (1, 5) == (listings, (await held(base))[0])


async def test_minimal_store_can_be_bounded() -> None:
    """A bound asks for no capability at all, that of values is one in number."""
    base = MinimalStore()
    store = ExpiringStore(base, max_count=2, max_bytes=100)
    for key in "abc":
        await store.put(key, b"v")
        await store.get("a")
    assert ["a", "c"] == sorted(base.objects)

    values: Any = ExpiringStore(JsonStore(DictStore()), max_count=2)
    for key in "abc":
        await values.put(key, {"key": key})
    assert ["b", "c"] == await listed(values.keys())
    with pytest.raises(ConfigError, match="put it below the store that makes bytes of them"):
        ExpiringStore(JsonStore(DictStore()), max_bytes=100)


# -- never more ------------------------------------------------------------------------------------------------------


async def test_concurrent_puts_never_leave_more(base: ObjectStore) -> None:
    """However they run into each other, on few keys and many, in one piece and in several."""
    store = ExpiringStore(base, max_count=5, max_bytes=200)
    chances = random.Random(5)

    async def work(number: int) -> None:
        key = f"k{chances.randrange(12)}"
        data = b"x" * chances.randrange(80)
        await asyncio.sleep(0)
        match number % 8:
            case 0:
                await store.delete(key)
            case 1:
                await store.put(key, [data[:40], data[40:]])
            case 2 if await store.exists(key):
                await asyncio.gather(store.copy(key, "copy"), return_exceptions=True)
            case _:
                await store.put(key, data)

    for _ in range(12):
        await asyncio.gather(*(work(number) for number in range(40)))

        count, size = await held(base)
        assert count <= 5
        assert size <= 200


class Gated(StoreDecorator):
    """A store whose puts land one after the other, in the order in which they are let through, by their data."""

    def __init__(self, base: ObjectStore) -> None:
        super().__init__(base)
        self.begun: dict[bytes, asyncio.Event] = {}
        self.gates: dict[bytes, asyncio.Event] = {}

    async def put(self, key: str, data: Any, **options: Any) -> str:
        if data in self.gates:
            self.begun[data].set()
            await self.gates[data].wait()
        return await self.base.put(key, data, **options)

    def hold(self, *data: bytes) -> None:
        for each in data:
            self.begun[each] = asyncio.Event()
            self.gates[each] = asyncio.Event()


async def test_overlapping_puts_of_one_key_never_count_too_little() -> None:
    """The one that began first lands last, and it is the larger one."""
    base = DictStore()
    gated = Gated(base)
    store = ExpiringStore(gated, max_bytes=10)
    small, large = b"s", b"l" * 8
    gated.hold(small, large)
    first = asyncio.create_task(store.put("k", large))
    await gated.begun[large].wait()
    second = asyncio.create_task(store.put("k", small))
    await gated.begun[small].wait()
    gated.gates[small].set()
    await second
    gated.gates[large].set()
    await first

    await store.put("other", b"123")

    assert (1, 3) == await held(base)


async def test_put_that_landed_first_and_ends_last_does_not_hide_the_other() -> None:
    """What is there is the large object, though the put of the small one is the last to return."""
    base = DictStore()
    landed, gate = asyncio.Event(), asyncio.Event()

    class Late(StoreDecorator):
        async def put(self, key: str, data: Any, **options: Any) -> str:
            etag = await self.base.put(key, data, **options)
            if data == b"s":
                landed.set()
                await gate.wait()
            return etag

    store = ExpiringStore(Late(base), max_bytes=10)
    small = asyncio.create_task(store.put("k", b"s"))
    await landed.wait()
    await store.put("k", b"l" * 8)
    gate.set()
    await small

    await store.put("other", b"123")

    assert (1, 3) == await held(base)


async def test_put_that_lands_after_a_delete_counts() -> None:
    """The delete ends while the put is still under way."""
    base = DictStore()
    gated = Gated(base)
    store = ExpiringStore(gated, max_count=1)
    await store.put("k", b"old")
    gated.hold(b"new")
    put = asyncio.create_task(store.put("k", b"new"))
    await gated.begun[b"new"].wait()
    await store.delete("k")
    gated.gates[b"new"].set()
    await put

    await store.put("other", b"v")

    assert ["other"] == await listed(base.keys())


async def test_delete_that_overlaps_a_put_leaves_it_counted() -> None:
    """The put ends while the delete is still under way, and had landed before or after it."""
    base = DictStore()
    begun, gate = asyncio.Event(), asyncio.Event()

    class Deleting(StoreDecorator):
        async def delete(self, key: str, *, if_match: str | None = None) -> None:
            if if_match is None:
                await self.base.delete(key)
                begun.set()
                await gate.wait()
            else:
                await self.base.delete(key, if_match=if_match)

    store = ExpiringStore(Deleting(base), max_count=1)
    await store.put("k", b"old")
    delete = asyncio.create_task(store.delete("k"))
    await begun.wait()
    await store.put("k", b"new")
    gate.set()
    await delete

    await store.put("other", b"v")

    assert ["other"] == await listed(base.keys())


async def test_cancelled_put_that_landed_counts() -> None:
    """Nobody was told, but it takes room."""
    base = DictStore()
    landed = asyncio.Event()

    class Late(StoreDecorator):
        async def put(self, key: str, data: Any, **options: Any) -> str:
            etag = await self.base.put(key, data, **options)
            if key == "k":
                landed.set()
                await asyncio.Event().wait()
            return etag

    store = ExpiringStore(Late(base), max_count=1)
    task = asyncio.create_task(store.put("k", b"v"))
    await landed.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await store.put("other", b"v")

    assert ["other"] == await listed(base.keys())


async def test_refused_put_makes_nothing_go(base: ObjectStore) -> None:
    """A creator that comes too late, again and again, empties no store."""
    store = ExpiringStore(base, max_count=2)
    await store.put("a", b"v")
    await store.put("b", b"v")

    for _ in range(5):
        with pytest.raises(FileExistsError):
            await store.put("b", b"w", if_absent=True)

    assert ["a", "b"] == await listed(base.keys())


async def test_victim_that_was_written_by_another_is_spared_as_it_is() -> None:
    """The version that was not used for long has to go, and it is gone: what another process put is newer."""
    base = DictStore()
    store = ExpiringStore(base, max_count=1)
    await store.put("k", b"old")
    await base.put("k", b"of another process")

    await store.put("other", b"v")

    assert ["k", "other"] == await listed(base.keys())
    await store.put("third", b"v")
    assert ["third"] == await listed(base.keys())


async def test_victim_that_cannot_be_deleted_goes_later(caplog: pytest.LogCaptureFixture) -> None:
    """The put has succeeded and says so; the next one makes good for it."""
    away = True

    class Undeletable(StoreDecorator):
        async def delete(self, key: str, *, if_match: str | None = None) -> None:
            if away:
                raise StoreUnavailableError("away")
            await self.base.delete(key, if_match=if_match)

    base = DictStore()
    store = ExpiringStore(Undeletable(base), max_count=1)
    with caplog.at_level(logging.WARNING, "storage"):
        for key in "abc":
            await store.put(key, b"v")
    assert ["ExpiringStore(Undeletable(DictStore())) is over its bounds until the next put: away"] * 2 == (
        caplog.messages
    )

    away = False
    await store.put("d", b"v")

    assert ["d"] == await listed(base.keys())


async def test_cancelled_while_victims_are_deleted() -> None:
    """What did not go then goes with the next put."""
    base = DictStore()
    begun = asyncio.Event()

    class Slow(StoreDecorator):
        async def delete(self, key: str, *, if_match: str | None = None) -> None:
            if not begun.is_set():
                begun.set()
                await asyncio.Event().wait()
            await self.base.delete(key, if_match=if_match)

    store = ExpiringStore(Slow(base), max_count=1)
    await store.put("a", b"v")
    task = asyncio.create_task(store.put("b", b"v"))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    await store.put("c", b"v")

    assert ["c"] == await listed(base.keys())


def test_threads_keep_within_the_bounds() -> None:
    """Stepped in eight threads at once, over one store."""
    base = DictStore()
    store = storage.sync.ExpiringStore(storage.sync.ObjectStore(base), 3600, max_count=5, max_bytes=200)
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        chances = random.Random(seed)
        try:
            for _ in range(200):
                key = f"k{chances.randrange(12)}"
                if chances.random() < 0.2:
                    store.delete(key)
                else:
                    store.put(key, b"x" * chances.randrange(80))
                    store.exists(key)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert [] == failures
    sizes = [info.size for info in store.scan()]
    assert len(sizes) <= 5
    assert sum(sizes) <= 200


async def test_time_alone_takes_no_memory_for_each_key() -> None:
    """The deadlines are with the objects, and nowhere else."""
    store = ExpiringStore(DictStore(), 60)
    for number in range(100):
        await store.put(f"k{number}", b"v")
        await store.get(f"k{number}")

    assert [] == [value for value in vars(store._bounds).values() if isinstance(value, dict) and value]
