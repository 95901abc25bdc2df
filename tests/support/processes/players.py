"""Players: each makes random calls for a few objects of a store that others use at the same time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import storage.sync
from storage import Capabilities, KeyNotFoundError, StoreUnavailableError
from storage.errors import ANSWERS

__all__ = ["KEYS", "InPlace", "Player"]

#: What all players write and read, and what only comes and goes, for the listings.
KEYS = ("a", "b/1", "b/2")
OTHERS = tuple(f"c/{number}" for number in range(12))

#: Bytes of a large object, which every store and decorator treats as such.
LARGE = 1_200_000

#: What a player does, and how often.
CALLS = {
    "get": 4,
    "read": 2,
    "head": 1,
    "exists": 1,
    "get_many": 1,
    "put": 3,
    "put_stream": 1,
    "create": 2,
    "swap": 4,
    "put_many": 1,
    "delete": 1,
    "delete_version": 1,
    "delete_many": 0.5,
    "copy": 0.5,
    "rename": 0.5,
    "list": 1,
    "come_and_go": 2,
    "cancel": 1,
}


class InPlace:
    """A synchronous store whose methods can be awaited, and block."""

    def __init__(self, face: storage.sync.ObjectStore) -> None:
        self._face = face
        self.capabilities = face.capabilities

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def call(*args: Any, **options: Any) -> Any:
            return getattr(self._face, name)(*args, **options)

        return call

    async def keys(self, prefix: str = "") -> AsyncIterator[str]:
        for key in self._face.keys(prefix):
            yield key

    @asynccontextmanager
    async def open(self, key: str) -> AsyncIterator[_File]:
        with self._face.open(key) as file:
            yield _File(file)


class _File:
    def __init__(self, file: storage.sync.ObjectFile) -> None:
        self.info = file.info
        self._file = file

    async def read(self) -> bytes:
        return self._file.read()


class Player:
    """
    Makes calls to a store, awaited or `InPlace`, by chance.

    Args:
        store: the store.
        name: goes into all that is put, so that no two objects are equal.
        failures: what calls may raise besides answers.
        tasks: whether there are tasks, to take turns with and to cancel; else there are threads.
    """

    def __init__(
        self,
        store: Any,
        name: str,
        *failures: type[Exception],
        tasks: bool = False,
    ) -> None:
        self.store = store
        self._name = name
        self._chance = random.Random(name)
        self._tasks = tasks
        self._expected: tuple[type[Exception], ...] = (*ANSWERS, *failures)
        self._number = 0
        left_out = set[str]() if tasks else {"cancel"}
        able: Capabilities = store.capabilities
        if not able.conditional_put:
            left_out |= {"create", "swap"}
        if not able.conditional_delete:
            left_out |= {"delete_version"}
        self._calls = {call: often for call, often in CALLS.items() if call not in left_out}

    async def play(self, steps: int) -> None:
        """Make so many calls."""
        calls = self._chance.choices(list(self._calls), list(self._calls.values()), k=steps)
        for call in calls:
            with suppress(*self._expected):
                await getattr(self, f"_{call}")(self._chance.choice(KEYS))
            await self._turn()

    async def _turn(self) -> None:
        """Let others have their turn; to threads the interpreter gives it."""
        if self._tasks:
            await asyncio.sleep(0)

    def _data(self) -> bytes:
        """Return bytes that nobody else puts."""
        self._number += 1
        data = f"{self._name}-{self._number} ".encode()
        size = LARGE if self._chance.random() < 0.03 else self._chance.choice([1, 1, 30])
        return data * (size // len(data) + 1)

    async def _get(self, key: str) -> None:
        await self.store.get(key)

    async def _read(self, key: str) -> str | None:
        async with self.store.open(key) as reader:
            await self._turn()
            await reader.read()
        etag: str | None = reader.info.etag
        return etag

    async def _head(self, key: str) -> None:
        await self.store.head(key)

    async def _exists(self, key: str) -> None:
        await self.store.exists(key)

    async def _get_many(self, key: str) -> None:
        await self.store.get_many(KEYS)

    async def _put(self, key: str) -> None:
        await self.store.put(key, self._data())

    async def _put_stream(self, key: str) -> None:
        data = self._data()
        await self.store.put(key, iter([data[:10], data[10:]]))

    async def _create(self, key: str) -> None:
        await self.store.put(key, self._data(), if_absent=True)

    async def _swap(self, key: str) -> None:
        etag = await self._read(key)
        await self._turn()
        await self.store.put(key, self._data(), if_match=etag)

    async def _put_many(self, key: str) -> None:
        await self.store.put_many({each: self._data() for each in (key, *self._chance.sample(OTHERS, 3))})

    async def _delete(self, key: str) -> None:
        await self.store.delete(key)

    async def _delete_version(self, key: str) -> None:
        etag = await self._read(key)
        await self._turn()
        await self.store.delete(key, if_match=etag)

    async def _delete_many(self, key: str) -> None:
        await self.store.delete_many([key, *self._chance.sample(OTHERS, 3)])

    async def _copy(self, key: str) -> None:
        await self.store.copy(key, self._chance.choice(KEYS))

    async def _rename(self, key: str) -> None:
        with suppress(StoreUnavailableError):  # it gives up where the object changes too often meanwhile
            await self.store.rename(key, self._chance.choice(OTHERS))

    async def _list(self, key: str) -> None:
        async for _ in self.store.keys(self._chance.choice(["", "b/", "c/"])):
            if self._chance.random() < 0.2:
                await self._turn()

    async def _come_and_go(self, key: str) -> None:
        other = self._chance.choice(OTHERS)
        await (self.store.put(other, self._data()) if self._chance.random() < 0.6 else self.store.delete(other))

    async def _cancel(self, key: str) -> None:
        """Begin a call, and give it up."""
        call = self.store.put(key, self._data()) if self._chance.random() < 0.7 else self.store.delete(key)
        task = asyncio.ensure_future(call)
        for _ in range(self._chance.randrange(8)):
            await self._turn()
        task.cancel()
        with suppress(asyncio.CancelledError, KeyNotFoundError):
            await task
