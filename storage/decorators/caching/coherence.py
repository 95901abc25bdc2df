"""`CoherentCache`: a cache that never holds an object older than what was last written through it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from storage._core.keys import is_key
from storage.base import ObjectStore
from storage.decorators.caching.cache import GuardedCache
from storage.decorators.caching.entry import Entry
from storage.decorators.caching.ledger import Ledger, Reading, Way
from storage.errors import KeyNotFoundError

__all__ = ["CoherentCache"]


class CoherentCache:
    """
    A cache and the ledger of what happens to its objects: how reads and writes of the main store go past it.

    Attributes:
        main: the main store, for what errors say; nothing here calls it.
        cache: the entries.
        ledger: the reads and writes that are under way.
    """

    def __init__(self, main: ObjectStore, cache: GuardedCache, ledger: Ledger) -> None:
        self.main = main
        self.cache = cache
        self.ledger = ledger

    async def find(self, key: str) -> Entry | None:
        """
        Return the entry of *key*, None where the main store is to be asked.

        Raises:
            KeyNotFoundError: the main store is known not to have the object.
        """
        way = self.ledger.way(key)
        if way is Way.CACHE:
            return await self.cache.find(key)
        if way is Way.MISSING:
            self.cache.count("missing")
            raise KeyNotFoundError(key, store=self.main)
        if way is Way.DELETE:
            await self._delete_owed([key])
        elif way is Way.CLEAR:
            await self._clear_owed()
        return None

    @contextmanager
    def reading(self, reading: Reading) -> Iterator[None]:
        """Follow a read of the main store, which the body makes."""
        self.ledger.read_begins(reading)
        try:
            yield
        except KeyNotFoundError:
            self.ledger.found_missing(reading)
            raise
        finally:
            self.ledger.read_ends(reading)

    async def keep(self, reading: Reading, entry: Entry) -> bool:
        """Put what is being read into the cache, unless it was written meanwhile, and say whether it is there."""
        if not self.ledger.put_begins(reading):
            return False
        kept = owed = False
        try:
            kept = await self.cache.put(entry)
        finally:
            owed = self.ledger.put_ends(reading)
        if owed:
            await self._delete_owed([reading.key])
        return kept and not owed

    @asynccontextmanager
    async def writing(self, *keys: str) -> AsyncIterator[Callable[[str], Awaitable[None]]]:
        """
        Delete the entries before and after the body, which writes the objects, and keep new ones out meanwhile.

        The body may begin the write of further keys with the function that it is given.
        """
        begun: dict[str, None] = {}

        async def begin(key: str) -> None:
            if is_key(key) and key not in begun:  # what is no key is refused by the main store
                begun[key] = None
                self.ledger.write_begins(key)
                await self.cache.delete([key])

        since = 0
        undeleted: Collection[str] = begun
        try:
            try:
                for key in keys:
                    await begin(key)
                yield begin
            finally:
                self.ledger.written(begun)
                since = self.ledger.now()
                undeleted = await self.cache.delete(list(begun))
        finally:
            self.ledger.write_ends(begun, since, undeleted)

    @asynccontextmanager
    async def clearing(self, prefix: str) -> AsyncIterator[None]:
        """Do as `writing` does with all objects whose keys start with *prefix*."""
        since, done = 0, False
        self.ledger.clear_begins(prefix)
        try:
            try:
                await self.cache.clear(prefix)
                yield
            finally:
                self.ledger.cleared(prefix)
                since = self.ledger.now()
                done = await self.cache.clear(prefix)
        finally:
            self.ledger.clear_ends(prefix, since, done)

    async def settle(self) -> None:
        """Try once more to delete what could not be deleted before."""
        owed = self.ledger.owed()
        if owed is None:
            await self._clear_owed()
        elif owed:
            await self._delete_owed(owed)

    async def _delete_owed(self, keys: Sequence[str]) -> None:
        since = self.ledger.now()
        undeleted = await self.cache.delete(keys)
        for key in keys:
            if key not in undeleted:
                self.ledger.deleted(key, since)

    async def _clear_owed(self) -> None:
        since, done = self.ledger.now(), False
        try:
            done = await self.cache.clear("")
        finally:
            self.ledger.emptied(since, done)
