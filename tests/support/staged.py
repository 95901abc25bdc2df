"""For tests of races: a store that counts its calls, lets some fail, and holds others where a test wants to look."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

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
)

__all__ = ["Cached", "Gate", "StagedStore", "or_none", "under_way"]

T = TypeVar("T")


class Gate:
    """Where a call is held until it is let go."""

    def __init__(self) -> None:
        self._reached = asyncio.Event()
        self._opened = asyncio.Event()

    async def reached(self) -> None:
        """Wait until the call is held."""
        await self._reached.wait()

    def open(self) -> None:
        """Let the call go."""
        self._opened.set()

    async def hold(self) -> None:
        """Be held."""
        self._reached.set()
        await self._opened.wait()


class StagedStore(StoreDecorator):
    """
    Passes calls on as a test directs; what it has no method of is made of those that it has.

    Attributes:
        calls: how often each method was called.
        errors: what a method raises, by its name, as long as it is here; what it does is not done.
    """

    def __init__(self, base: ObjectStore) -> None:
        super().__init__(base)
        self.calls: Counter[str] = Counter()
        self.errors: dict[str, Exception] = {}
        self._gates: dict[tuple[str, bool], Gate] = {}

    def gate(self, action: str, *, late: bool = False) -> Gate:
        """Hold the next call of a method: before it does anything, or when it has taken effect, before it returns."""
        gate = self._gates[action, late] = Gate()
        return gate

    async def get(self, key: str, *, byte_range: ByteRange | None = None) -> bytes:
        return await self._staged("get", lambda: self.base.get(key, byte_range=byte_range))

    async def put(
        self,
        key: str,
        data: Data,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        attributes: Attributes | None = None,
    ) -> str:
        return await self._staged(
            "put", lambda: self.base.put(key, data, if_absent=if_absent, if_match=if_match, attributes=attributes)
        )

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        await self._staged("delete", lambda: self.base.delete(key, if_match=if_match))

    async def exists(self, key: str) -> bool:
        return await self._staged("exists", lambda: self.base.exists(key))

    async def head(self, key: str) -> ObjectInfo:
        return await self._staged("head", lambda: self.base.head(key))

    @asynccontextmanager
    async def open(self, key: str, *, byte_range: ByteRange | None = None) -> AsyncIterator[ObjectReader]:
        opened = self.base.open(key, byte_range=byte_range)
        reader = await self._staged("open", opened.__aenter__)
        try:
            yield reader
        finally:
            await opened.__aexit__(None, None, None)

    async def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
        await self._staged("keys", _nothing)
        async for key in self.base.keys(prefix, start_after=start_after):
            yield key

    async def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        await self._staged("scan", _nothing)
        async for info in self.base.scan(prefix, start_after=start_after):
            yield info

    async def _open(self) -> None:
        await self._staged("enter", super()._open)

    async def _staged(self, action: str, call: Callable[[], Awaitable[T]]) -> T:
        self.calls[action] += 1
        if action in self.errors:
            raise self.errors[action]
        try:
            if gate := self._gates.pop((action, False), None):
                await gate.hold()
            return await call()
        finally:
            if gate := self._gates.pop((action, True), None):
                await gate.hold()


async def _nothing() -> None:
    pass


class Cached:
    """A `CachingStore` over two staged stores; *main* holds ``k``."""

    def __init__(self, **options: Any) -> None:
        self.below, self.copies = DictStore(), DictStore()
        self.main, self.cache = StagedStore(self.below), StagedStore(self.copies)
        self.store = CachingStore(self.main, self.cache, **options)

    async def reads(self) -> list[object]:
        """Return what all ways of reading ``k`` give, None where there is no such object."""
        return [await or_none(self.store.get("k")), await or_none(self.opened()), await self.size()]

    async def truth(self) -> list[object]:
        """Return what they should."""
        data = await or_none(self.below.get("k"))
        return [data, data, None if data is None else len(data)]

    async def opened(self) -> bytes:
        """Return ``k``, read from a reader."""
        async with self.store.open("k") as reader:
            return await reader.read()

    async def size(self) -> int | None:
        """Return how large ``k`` is; None where it does not exist."""
        return (await self.store.head("k")).size if await self.store.exists("k") else None


def under_way(store: CachingStore) -> int:
    """Return of how many keys something is kept because of reads and writes that are under way; when none is, 0."""
    ledger = store._coherent.ledger
    return sum(len(kept) for kept in (ledger._readings, ledger._putting, ledger._writing, ledger._clearing))


async def or_none(call: Awaitable[T]) -> T | None:
    """Return what *call* gives, None where it finds no object."""
    try:
        return await call
    except KeyNotFoundError:
        return None
