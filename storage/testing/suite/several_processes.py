"""Several stores over the same objects, as several processes have them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from storage.base import ObjectStore
from storage.testing.suite.conditions import CREATORS, STEPS, WORKERS, count_up, winners
from storage.testing.suite.harness import Harness, listed, needs

__all__ = ["SeveralProcesses"]


class SeveralProcesses(Harness):
    """Each store sees the changes of the others, and conditions hold among all of them."""

    async def _others(self, store: ObjectStore, opened: AsyncExitStack, count: int = 1) -> list[ObjectStore]:
        others = []
        for _ in range(count):
            other = self.another(store)
            if other is None:
                pytest.skip("the test class does not override `another`")
            others.append(await opened.enter_async_context(other))
        return others

    @needs(multi_process=True)
    async def test_changes_are_seen_at_once(self, store: ObjectStore) -> None:
        """When a put or delete has returned, the other store sees it."""
        async with AsyncExitStack() as opened:
            [other] = await self._others(store, opened)
            await store.put("a/k", b"one")
            assert b"one" == await other.get("a/k")
            assert ["a/k"] == await listed(other.keys())

            await other.put("a/k", b"two")
            await other.put("b/k", [b"th", b"ree"])
            assert [b"two", b"three"] == [await store.get("a/k"), await store.get("b/k")]
            assert await store.head("a/k") == await other.head("a/k")

            await store.delete("a/k")
            assert not await other.exists("a/k")
            assert ["b/k"] == await listed(other.keys())
            await other.rename("b/k", "c/k")
            assert ["c/k"] == await listed(store.keys())

    @needs(multi_process=True, conditional_put=True)
    async def test_one_of_many_creators_in_several_stores_wins(self, store: ObjectStore) -> None:
        """Of 50 creators in three stores over the same objects exactly one succeeds."""
        async with AsyncExitStack() as opened:
            stores = [store, *await self._others(store, opened, 2)]

            won = await winners([stores[number % 3] for number in range(CREATORS)], "k")

        assert 1 == len(won)
        assert won[0] == await self.raw(store, "k")

    @needs(multi_process=True, conditional_put=True)
    async def test_no_increment_of_several_stores_is_lost(self, store: ObjectStore) -> None:
        """Compare-and-swap works across stores over the same objects: no increment is lost."""
        await store.put("k", b"0")
        async with AsyncExitStack() as opened:
            stores = [store, *await self._others(store, opened, 2)]

            await asyncio.gather(*(count_up(stores[number % 3], "k", STEPS) for number in range(WORKERS)))

        assert b"%d" % (WORKERS * STEPS) == await self.raw(store, "k")

    @needs(multi_process=True)
    async def test_objects_stay_when_the_store_that_put_them_is_closed(self, store: ObjectStore) -> None:
        """Objects stay when the store that put them is closed."""
        async with AsyncExitStack() as opened:
            [other] = await self._others(store, opened)
            await other.put("k", b"kept")

        assert b"kept" == await store.get("k")
        assert b"kept" == await self.raw(store, "k")
