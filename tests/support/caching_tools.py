"""What the tests of `CachingStore` share: a store over two scripted ones, and what it says of its work."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, TypeVar

from doubles import ScriptedStore

from storage import CachingStore, DictStore, KeyNotFoundError

__all__ = ["Cached", "or_none", "under_way"]

T = TypeVar("T")


class Cached:
    """A `CachingStore` over two scripted stores; *main* holds ``k``."""

    def __init__(self, **options: Any) -> None:
        self.below, self.copies = DictStore(), DictStore()
        self.main, self.cache = ScriptedStore(self.below), ScriptedStore(self.copies)
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
