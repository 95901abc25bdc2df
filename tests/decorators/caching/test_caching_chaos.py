"""A cache under random calls, delays and failures: no read returns an older version than the last one written."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from caching_tools import under_way

from storage import (
    Attributes,
    ByteRange,
    CachingStore,
    Data,
    DictStore,
    KeyNotFoundError,
    ObjectInfo,
    ObjectReader,
    ObjectStore,
    StoreDecorator,
    StoreUnavailableError,
    TieredStore,
)

KEYS = ("a", "b/1", "b/2")
READERS, ROUNDS = 4, 40

OPTIONS: list[dict[str, Any]] = [
    {},
    {"max_count": 2},
    {"write": "through", "negative": 60},
    {"revalidate": 60, "max_bytes": 400, "negative": 60},
    {"revalidate": 0, "stale_on_error": True},
]


class ChaoticStore(StoreDecorator):
    """Waits some turns of the loop before and after each call; some calls fail, with or without taking effect."""

    def __init__(self, base: ObjectStore, chance: random.Random, failing: float) -> None:
        super().__init__(base)
        self._chance = chance
        self._failing = failing

    async def get(self, key: str, *, byte_range: ByteRange | None = None) -> bytes:
        async with self._chaos():
            return await self.base.get(key, byte_range=byte_range)

    async def put(
        self,
        key: str,
        data: Data,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        attributes: Attributes | None = None,
    ) -> str:
        async with self._chaos():
            return await self.base.put(key, data, if_absent=if_absent, if_match=if_match, attributes=attributes)

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        async with self._chaos():
            await self.base.delete(key, if_match=if_match)

    async def exists(self, key: str) -> bool:
        async with self._chaos():
            return await self.base.exists(key)

    async def head(self, key: str) -> ObjectInfo:
        async with self._chaos():
            return await self.base.head(key)

    @asynccontextmanager
    async def open(self, key: str, *, byte_range: ByteRange | None = None) -> AsyncIterator[ObjectReader]:
        async with self._chaos(), self.base.open(key, byte_range=byte_range) as reader:
            await self._turns()
            yield reader

    @asynccontextmanager
    async def _chaos(self) -> AsyncIterator[None]:
        await self._turns()
        self._fail()
        yield
        await self._turns()
        self._fail()

    async def _turns(self) -> None:
        for _ in range(self._chance.randrange(6)):
            await asyncio.sleep(0)

    def _fail(self) -> None:
        if self._chance.random() < self._failing:
            raise StoreUnavailableError("by chance")


class Players:
    """
    One writer for each key and some readers of all keys, on one store.

    Attributes:
        written: of each key the number that is in the store, negative where it was deleted after it.
    """

    def __init__(self, store: CachingStore | TieredStore, chance: random.Random) -> None:
        self.store = store
        self.written = dict.fromkeys(KEYS, 0)
        self._chance = chance
        self._over = False
        self._numbers = dict.fromkeys(KEYS, 0)

    async def play(self) -> None:
        """Run all of them to their end."""
        writers = [asyncio.create_task(self._write(key)) for key in KEYS]
        readers = [asyncio.create_task(self._read()) for _ in range(READERS)]
        await asyncio.gather(*writers)
        self._over = True
        await asyncio.gather(*readers)

    async def _write(self, key: str) -> None:
        for _ in range(ROUNDS):
            self._numbers[key] += 1
            number = self._numbers[key]
            data = b"%d" % number
            match self._chance.randrange(6):
                case 0:
                    await self.store.delete(key)
                    number = -number
                case 1:
                    await self.store.delete_many([key])
                    number = -number
                case 2:
                    await self.store.put_many({key: data})
                case 3:
                    await self._cancelled_put(key, data)
                case 4:
                    await self.store.forget(self._chance.choice([key, None]))
                    await self.store.put(key, data)
                case _:
                    await self.store.put(key, data)
            self.written[key] = number
            await self._turns(40)  # in which it is cached

    async def _cancelled_put(self, key: str, data: bytes) -> None:
        """Begin a put, cancel it, and put again."""
        task = asyncio.create_task(self.store.put(key, data))
        await self._turns(20)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await self.store.put(key, data)

    async def _turns(self, most: int) -> None:
        for _ in range(self._chance.randrange(most)):
            await asyncio.sleep(0)

    async def _read(self) -> None:
        while not self._over:
            key = self._chance.choice(KEYS)
            before = self.written[key]
            found = await self._found(key)
            after = self._numbers[key]
            if found is None:
                assert before <= 0 or after > before, f"{key} was put as {before}, and is missing"
            else:
                assert abs(before) + (before < 0) <= found <= after, f"{key}: {found}, but {before} was there before"

    async def _found(self, key: str) -> int | None:
        try:
            match self._chance.randrange(4):
                case 0:
                    async with self.store.open(key) as reader:
                        return int(await reader.read())
                case 1:
                    task = asyncio.create_task(self.store.get(key))
                    await asyncio.sleep(0)
                    task.cancel()
                    with suppress(asyncio.CancelledError):
                        await task
                    return int(await self.store.get(key))
                case 2:
                    if not await self.store.exists(key):
                        return None
                    return int(await self.store.get(key))
                case _:
                    return int(await self.store.get(key))
        except KeyNotFoundError:
            return None


@pytest.mark.slow
@pytest.mark.parametrize("failing", [0, 0.1, 0.5])
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "+".join(options) or "plain")
@pytest.mark.parametrize("seed", range(4))
async def test_reads_are_never_behind_the_writes(seed: int, options: dict[str, Any], failing: float) -> None:
    """Whatever overlaps and however the cache fails; at the end no state of a read or write is left."""
    chance = random.Random(seed)
    below = DictStore()
    store = CachingStore(ChaoticStore(below, chance, 0), ChaoticStore(DictStore(), chance, failing), **options)
    players = Players(store, chance)

    await players.play()

    assert {key: number for key, number in players.written.items() if number > 0} == {
        key: int(await below.get(key)) async for key in below.keys()
    }
    for key, number in players.written.items():
        assert (number > 0) is await store.exists(key)
    assert {asyncio.current_task()} == asyncio.all_tasks()
    assert 0 == under_way(store)


@pytest.mark.parametrize("failing", [0, 0.2])
@pytest.mark.parametrize("seed", range(4))
async def test_reads_through_tiers_are_never_behind_the_writes(seed: int, failing: float) -> None:
    """The same for caches over caches."""
    chance = random.Random(seed)
    tiers = [ChaoticStore(DictStore(), chance, failing), ChaoticStore(DictStore(), chance, failing)]

    await Players(TieredStore([*tiers, ChaoticStore(DictStore(), chance, 0)]), chance).play()

    assert {asyncio.current_task()} == asyncio.all_tasks()
