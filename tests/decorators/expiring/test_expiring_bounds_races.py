"""`ExpiringStore` with bounds under concurrent calls: it never keeps more than allowed, and counts right."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from typing import Any

import pytest
from expiring_tools import held

import storage.sync
from storage import DictStore, ExpiringStore, ObjectStore, StoreDecorator, StoreUnavailableError
from storage.testing.suite.harness import listed


async def test_concurrent_puts_never_leave_more(base: ObjectStore) -> None:
    """In every order of the puts, on few keys and many, in one piece and in several."""
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
    """A store whose puts take effect one after the other, in the order in which a test allows them, by their data."""

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
    """The first put takes effect last, and it is the larger one."""
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
    """The large object is stored, although the put of the small one returns last."""
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
    """The delete ends while the put is still running."""
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
    """The put ends while the delete is still running, and took effect before or after it."""
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
    """The caller does not know that it took effect, but it takes space."""
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
    """Repeated creates that fail because the key exists delete no other object."""
    store = ExpiringStore(base, max_count=2)
    await store.put("a", b"v")
    await store.put("b", b"v")

    for _ in range(5):
        with pytest.raises(FileExistsError):
            await store.put("b", b"w", if_absent=True)

    assert ["a", "b"] == await listed(base.keys())


async def test_victim_that_was_written_by_another_is_spared_as_it_is() -> None:
    """Only the least recently used version is deleted; a newer one of another process is kept."""
    base = DictStore()
    store = ExpiringStore(base, max_count=1)
    await store.put("k", b"old")
    await base.put("k", b"of another process")

    await store.put("other", b"v")

    assert ["k", "other"] == await listed(base.keys())
    await store.put("third", b"v")
    assert ["third"] == await listed(base.keys())


async def test_victim_that_cannot_be_deleted_goes_later(caplog: pytest.LogCaptureFixture) -> None:
    """The put succeeds, and the next put deletes the object."""
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
    """Objects that were not deleted are deleted by the next put."""
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
    """Eight threads step one store concurrently."""
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
    """Deadlines are kept with the objects only."""
    store = ExpiringStore(DictStore(), 60)
    for number in range(100):
        await store.put(f"k{number}", b"v")
        await store.get(f"k{number}")

    assert [] == [value for value in vars(store._bounds).values() if isinstance(value, dict) and value]
