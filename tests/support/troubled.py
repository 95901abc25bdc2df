"""For tests of stores over several: a child that fails, answers late or loses its answers, as a test directs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar, cast

from storage import DictStore, Interceptor, KeyNotFoundError, ObjectStore, StoreUnavailableError
from storage.decorators.bases.interceptor import Call

__all__ = ["Hold", "TroubledStore", "all_of", "contents", "listed", "pieces", "read", "trouble"]

T = TypeVar("T")


class Hold:
    """Where a call waits until it is let go."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.released = asyncio.Event()

    async def wait(self) -> None:
        """Be held."""
        self.reached.set()
        await self.released.wait()


class TroubledStore(Interceptor):
    """
    A child with trouble.

    Attributes:
        broken: what an action raises instead of being done, by its name; of every action under ``"*"``.
        lost: what an action raises after it was done.
        before: where the next call of an action waits before it is done.
        after: where it waits when it is done, before it returns.
        calls: what was asked for, and for which key.
    """

    def __init__(self, base: ObjectStore | None = None) -> None:
        super().__init__(base or DictStore())
        self.broken: dict[str, Exception] = {}
        self.lost: dict[str, Exception] = {}
        self.before: dict[str, Hold] = {}
        self.after: dict[str, Hold] = {}
        self.calls: list[tuple[str, str | None]] = []

    def hold(self, action: str, *, after: bool = False) -> Hold:
        """Hold the next call of an action."""
        holds = self.after if after else self.before
        hold = holds[action] = Hold()
        return hold

    def fails(self, *actions: str, error: Exception | None = None) -> None:
        """Let these actions fail from now on, all of them if none is given."""
        self.broken.update(dict.fromkeys(actions or ["*"], error or StoreUnavailableError("down")))

    def works(self) -> None:
        """Let everything work again."""
        self.broken.clear()
        self.lost.clear()

    def asked(self, *actions: str) -> list[str | None]:
        """Return the keys for which these actions were asked for."""
        return [key for action, key in self.calls if action in actions]

    async def _intercept(self, action: str, key: str | None, call: Call[T]) -> T:
        self.calls.append((action, key))
        if action in self.before:
            await self.before.pop(action).wait()
        if error := self.broken.get(action) or self.broken.get("*"):
            raise error
        result = await call()
        if action in self.after:
            await self.after.pop(action).wait()
        if action in self.lost:
            raise self.lost[action]
        return result


def trouble(count: int) -> list[TroubledStore]:
    """Return so many children over dicts."""
    return [TroubledStore() for _ in range(count)]


async def contents(store: ObjectStore) -> dict[str, bytes]:
    """Return all that a store holds."""
    return {key: await store.get(key) async for key in store.keys()}


async def all_of(*stores: TroubledStore) -> list[dict[str, bytes]]:
    """Return what each of the stores below holds, past all trouble."""
    return [await contents(store.base) for store in stores]


async def listed(store: ObjectStore) -> list[list[str]]:
    """Return what the three listings give."""
    return [
        [key async for key in store.keys()],
        [info.key async for info in store.scan()],
        [name async for name in store.children()],
    ]


async def read(store: ObjectStore, key: str) -> list[bytes | None]:
    """Return the object as each way of reading gives it; None where it finds none."""
    try:
        async with store.open(key) as reader:
            opened: bytes | None = await reader.read()
    except KeyNotFoundError:
        opened = None
    many = (await store.get_many([key]))[key]
    try:
        got: bytes | None = await store.get(key)
    except KeyNotFoundError:
        got = None
    assert (got is not None) is await store.exists(key)
    assert got is None or (await store.head(key)).size == len(got)
    return [got, opened, None if isinstance(many, KeyNotFoundError) else cast(bytes, many)]


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    """Yield these parts, each after other tasks had their turn."""
    for part in parts:
        await asyncio.sleep(0)
        yield part
