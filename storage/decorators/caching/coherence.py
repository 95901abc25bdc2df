"""`CoherentCache`: a cache that never returns an object older than what was last written through it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager

from storage._core.keys import is_key
from storage._core.outcomes import may_take_effect
from storage.base import ObjectStore
from storage.decorators.caching.cache import GuardedCache
from storage.decorators.caching.entry import Entry
from storage.decorators.caching.ledger import Ledger, Reading, Route
from storage.errors import BulkError, KeyNotFoundError, UnsupportedOperationError

__all__ = ["CoherentCache", "Write"]


class Write:
    """
    A write of the main store that is under way.

    Attributes:
        begun: the keys that are written, as keys of a dict.
        unsettled: those of them whose write may take effect after it has ended.
    """

    __slots__ = ("_cache", "begun", "unsettled")

    def __init__(self, cache: CoherentCache) -> None:
        self._cache = cache
        self.begun: dict[str, None] = {}
        self.unsettled: Collection[str] = ()

    async def begin(self, key: str) -> None:
        """Delete the entry of one more key, before its object is written."""
        if is_key(key) and key not in self.begun:  # the main store refuses what is not a key
            self.begun[key] = None
            self._cache.ledger.write_begins(key)
            await self._cache.cache.delete([key])

    def note_results(self, results: Mapping[str, object]) -> None:
        """Note the results of a bulk call, some of which may be errors."""
        self.unsettled = [key for key in self.begun if key not in results or _is_unsettling(results[key])]

    def note_error(self, error: BaseException) -> None:
        """Note the error of a call for one object."""
        if may_take_effect(error):
            self.unsettled = self.begun

    def note_broken_off(self) -> None:
        """
        Note that a bulk call raised an error, also one that is final by itself, as of the caller's iterable.

        It says nothing of the objects whose writes were under way when it was raised.
        """
        self.unsettled = self.begun


def _is_unsettling(result: object) -> bool:
    return isinstance(result, Exception) and may_take_effect(result)


def _may_clear_later(error: BaseException) -> bool:
    """Return whether a clear that raised this may take effect later. Only results of single objects tell the end."""
    return may_take_effect(error) if isinstance(error, BulkError | UnsupportedOperationError) else True


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

    def find(self, key: str, *, described: bool = False) -> Awaitable[Entry | None]:
        """
        Return the entry of *key*, *described* if its description is needed, or None if the main store must be read.

        Raises:
            KeyNotFoundError: the main store is known not to have the object.
        """
        route = self.ledger.route(key)
        if route is Route.CACHE:  # without a coroutine of its own: 0.2 us less for each hit
            return self.cache.find(key, described=described)
        return self._miss(key, route)

    async def _miss(self, key: str, route: Route) -> None:
        if route is Route.MISSING:
            self.cache.count("missing")
            raise KeyNotFoundError(key, store=self.main)
        if route is Route.DELETE:
            await self._delete_pending([key])
        elif route is Route.CLEAR:
            await self._clear_pending()

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
    async def writing(self, *keys: str, bulk: bool = False) -> AsyncIterator[Write]:
        """
        Delete the entries before and after the body, which writes the objects, and make no new entries meanwhile.

        If the body raises an error after which a write may still take effect, its keys are not cached for some minutes.
        So it is in *bulk*, for many objects, after every error: those of single objects are results, which the body
        notes.
        """
        write = Write(self)
        since = 0
        undeleted: Collection[str] = write.begun
        try:
            try:
                for key in keys:
                    await write.begin(key)
                yield write
            except BaseException as error:
                if bulk:
                    write.note_broken_off()
                else:
                    write.note_error(error)
                raise
            finally:
                self.ledger.main_written(write.begun)
                since = self.ledger.now()
                undeleted = await self.cache.delete(list(write.begun))
        finally:
            self.ledger.write_ends(write.begun, since, undeleted, write.unsettled)

    @asynccontextmanager
    async def clearing(self, prefix: str) -> AsyncIterator[None]:
        """Do as `writing` does for all objects whose keys start with *prefix*."""
        since, done, unsettled = 0, False, False
        self.ledger.clear_begins(prefix)
        try:
            try:
                await self.cache.clear(prefix)
                yield
            except BaseException as error:
                unsettled = _may_clear_later(error)
                raise
            finally:
                self.ledger.main_cleared(prefix)
                since = self.ledger.now()
                done = await self.cache.clear(prefix)
        finally:
            self.ledger.clear_ends(prefix, since, done, unsettled=unsettled)

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
