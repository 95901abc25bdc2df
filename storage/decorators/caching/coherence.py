"""`CoherentCache`: a cache that never returns an object older than what was last written through it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from storage._core.keys import is_key
from storage.base import ObjectStore
from storage.decorators.caching.cache import GuardedCache
from storage.decorators.caching.entry import Entry
from storage.decorators.caching.ledger import Ledger, Reading, Route
from storage.errors import KeyNotFoundError

__all__ = ["CoherentCache"]


class CoherentCache:
    """
    A cache, and the ledger of its reads and writes. The caller reads and writes the main store inside its contexts.

    A write deletes the entry before and after it, and no entry of its object is used or made meanwhile: see `Ledger`.

    Attributes:
        main: the main store, which is named in errors; nothing here calls it.
        cache: the entries.
        ledger: the reads and writes that are under way.
    """

    def __init__(self, main: ObjectStore, cache: GuardedCache, ledger: Ledger) -> None:
        self.main = main
        self.cache = cache
        self.ledger = ledger

    async def find(self, key: str) -> Entry | None:
        """
        Return the entry of *key*, or None if the main store must be read.

        Raises:
            KeyNotFoundError: the main store is known not to have the object.
        """
        route = self.ledger.route(key)
        if route is Route.CACHE:
            return await self.cache.find(key)
        if route is Route.MISSING:
            self.cache.count("missing")
            raise KeyNotFoundError(key, store=self.main)
        if route is Route.DELETE:
            await self._delete_pending([key])
        elif route is Route.CLEAR:
            await self._clear_pending()
        return None

    @contextmanager
    def reading(self, reading: Reading) -> Iterator[None]:
        """Track a read of the main store, which the body makes."""
        self.ledger.read_begins(reading)
        try:
            yield
        except KeyNotFoundError:
            self.ledger.found_missing(reading)
            raise
        finally:
            self.ledger.read_ends(reading)

    async def keep(self, reading: Reading, entry: Entry) -> bool:
        """Put the result of a read into the cache, unless its object has been written; return whether it is there."""
        if not self.ledger.put_begins(reading):
            return False
        kept = outdated = False
        try:
            kept = await self.cache.put(entry)
        finally:
            outdated = self.ledger.put_ends(reading)
        if outdated:
            await self._delete_pending([reading.key])
        return kept and not outdated

    @asynccontextmanager
    async def writing(self, *keys: str) -> AsyncIterator[Callable[[str], Awaitable[None]]]:
        """
        Delete the entries before and after the body, which writes the objects, and make no new entries meanwhile.

        The body gets a function that does the same for further keys; it awaits it before it writes them.
        """
        begun: dict[str, None] = {}

        async def begin(key: str) -> None:
            if is_key(key) and key not in begun:  # the main store refuses what is not a key
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
                self.ledger.main_written(begun)
                since = self.ledger.now()
                undeleted = await self.cache.delete(list(begun))
        finally:
            self.ledger.write_ends(begun, since, undeleted)

    @asynccontextmanager
    async def clearing(self, prefix: str) -> AsyncIterator[None]:
        """Do as `writing` does for all objects whose keys start with *prefix*."""
        since, done = 0, False
        self.ledger.clear_begins(prefix)
        try:
            try:
                await self.cache.clear(prefix)
                yield
            finally:
                self.ledger.main_cleared(prefix)
                since = self.ledger.now()
                done = await self.cache.clear(prefix)
        finally:
            self.ledger.clear_ends(prefix, since, done)

    async def retry_deletions(self) -> None:
        """Try once more to delete the entries whose deletion is pending."""
        pending = self.ledger.pending_deletions()
        if pending is None:
            await self._clear_pending()
        elif pending:
            await self._delete_pending(pending)

    async def _delete_pending(self, keys: Sequence[str]) -> None:
        since = self.ledger.now()
        undeleted = await self.cache.delete(keys)
        for key in keys:
            if key not in undeleted:
                self.ledger.deleted(key, since)

    async def _clear_pending(self) -> None:
        since, done = self.ledger.now(), False
        try:
            done = await self.cache.clear("")
        finally:
            self.ledger.emptied(since, done)
