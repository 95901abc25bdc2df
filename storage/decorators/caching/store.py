"""`CachingStore`: objects of a slow store, kept in a fast one."""

from __future__ import annotations

import math
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal

import anyio

from storage._concurrency.offload import is_stepping
from storage._concurrency.tasks import stream
from storage._core.bulk import pairs_of
from storage._core.data import as_bytes, is_stream
from storage._core.durations import seconds
from storage._core.keys import check_key
from storage.base import ObjectStore
from storage.decorators.bases.stacking import stack
from storage.decorators.bases.store_decorator import StoreDecorator
from storage.decorators.caching.cache import CacheStats, GuardedCache
from storage.decorators.caching.coherence import CoherentCache
from storage.decorators.caching.entry import Entry
from storage.decorators.caching.ledger import Ledger, Reading
from storage.decorators.caching.recent_keys import Recent, now
from storage.decorators.caching.single_flight import Flight, Flights
from storage.errors import ConfigError, KeyNotFoundError, StorageError
from storage.reader import BytesReader, ObjectReader
from storage.types import Attributes, ByteRange, Capabilities, Data, ObjectInfo

__all__ = ["CacheStats", "CachingStore"]

#: Seconds that closing may take to delete what could not be deleted from the cache before.
GRACE = 2.0


class CachingStore(StoreDecorator):
    """
    Objects of *main_store* that have been read are kept in *cache_store*, and read from there.

    The main store has the truth: listings come from it, writes go to it, and before and after each write the cached
    object is deleted. What is read through this store is never older than what was last written through it. What other
    processes write is seen when the object is no longer cached; see *revalidate*.

    A cache that fails never fails a read or a write. That is logged, and counted in `stats`.

    Args:
        main_store: the store that has the objects.
        cache_store: holds the copies, and nothing else. Put an `ExpiringStore` over it to drop them after some time.
        max_object_size: bytes above which an object is not cached, nor held in memory by `open`.
        max_bytes: bytes that the cached objects may have, each with some 200 for its description; the least recently
            used are deleted. None for no bound.
        max_count: how many objects may be cached, likewise.
        write: what becomes of the cached copy of an object that is put: ``"around"`` deletes it, ``"through"`` replaces
            it where the data is one buffer, at the cost of a `head` of the main store.
        negative: seconds for which a key is remembered that the main store does not have; None not to.
        revalidate: seconds after which a cached object is compared with the main store's by its etag, 0 for each time;
            None for never.
        stale_on_error: give the cached object when it cannot be compared because the main store is unavailable (its
            error is ``retryable``), rather than raise the error.

    Raises:
        ConfigError: the main store cannot be read, the cache store not read and written, they are the same, or
            *revalidate* is given for a main store whose `head` reads the object.
    """

    _steppable = True
    _traits = frozenset({"caches"})
    _copies_in = frozenset({"cache_store"})

    def __init__(
        self,
        main_store: ObjectStore,
        cache_store: ObjectStore,
        *,
        max_object_size: int = 8 << 20,
        max_bytes: int | None = None,
        max_count: int | None = None,
        write: Literal["around", "through"] = "around",
        negative: float | timedelta | None = None,
        revalidate: float | timedelta | None = None,
        stale_on_error: bool = False,
    ) -> None:
        super().__init__(main_store)
        _check_stores(main_store, cache_store, revalidate is not None)
        for name, bound in {"max_bytes": max_bytes, "max_count": max_count, "max_object_size": max_object_size}.items():
            if bound is not None and bound < 1:
                raise ValueError(f"{name} is at least 1, not {bound}")
        if write not in ("around", "through"):
            raise ValueError(f"write is 'around' or 'through', not {write!r}")
        self.main_store = main_store
        self.cache_store = cache_store
        self.max_object_size = max_object_size
        self.max_bytes = max_bytes
        self.max_count = max_count
        self.write = write
        self.negative: float | None = None if negative is None else seconds("negative", negative)
        self.revalidate: float | None = None
        if revalidate is not None:
            self.revalidate = seconds("revalidate", revalidate, or_none_at_all=True)
        self.stale_on_error = stale_on_error

        self._cache = GuardedCache(cache_store, max_count, max_bytes)
        self._current = None if self.revalidate is None else Recent(self.revalidate)
        self._large = Recent(math.inf)  # objects that need not be opened again only to learn that they are too large
        missing = None if self.negative is None else Recent(self.negative)
        self._coherent = CoherentCache(main_store, self._cache, Ledger(missing, self._large, self._current))
        self._reads: Flights[Entry | None] = Flights()

    # -- reading -------------------------------------------------------------------------------------------------

    async def get(self, key: str, *, byte_range: ByteRange | None = None) -> bytes:
        entry = await self._cached(key)
        if entry is None:
            if byte_range is not None:
                return await self.main_store.get(key, byte_range=byte_range)
            entry = await self._fetched(key)
        if byte_range is None:
            return entry.data
        start, stop = byte_range.within(len(entry.data), key)
        return entry.data[start:stop]

    async def exists(self, key: str) -> bool:
        try:
            if await self._cached(key) is not None:
                return True
        except KeyNotFoundError:
            return False
        reading = Reading(key)
        with self._coherent.reading(reading):
            found = await self.main_store.exists(key)
            if not found:
                self._coherent.ledger.found_missing(reading)
            return found

    async def head(self, key: str) -> ObjectInfo:
        entry = await self._cached(key)
        if entry is not None:
            return entry.described()
        with self._coherent.reading(Reading(key)):
            return await self.main_store.head(key)

    @asynccontextmanager
    async def open(self, key: str, *, byte_range: ByteRange | None = None) -> AsyncIterator[ObjectReader]:
        entry = await self._cached(key)
        if entry is None and byte_range is None and key not in self._large:
            entry = await self._fetched_if_small(key)
        if entry is not None:
            yield BytesReader(entry.described(), entry.data, byte_range)
            return
        async with self.main_store.open(key, byte_range=byte_range) as reader:
            yield reader

    def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        return self.main_store.scan(prefix, start_after=start_after)

    # -- writing -------------------------------------------------------------------------------------------------

    async def put(
        self,
        key: str,
        data: Data,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        attributes: Attributes | None = None,
    ) -> str:
        content = as_bytes(data) if self.write == "through" and not is_stream(data) else None
        async with self._coherent.writing(check_key(key, self)):
            etag = await self.main_store.put(
                key,
                data if content is None else content,
                if_absent=if_absent,
                if_match=if_match,
                attributes=attributes,
            )
        if content is not None and len(content) <= self.max_object_size:
            await self._keep_written(key, content, etag)
        return etag

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        async with self._coherent.writing(check_key(key, self)):
            await self.main_store.delete(key, if_match=if_match)

    async def put_many(
        self,
        items: Mapping[str, Data] | Iterable[tuple[str, Data]] | AsyncIterable[tuple[str, Data]],
        *,
        raise_errors: bool = True,
    ) -> dict[str, str | StorageError]:
        async with self._coherent.writing() as begin:

            async def announced() -> AsyncIterator[tuple[str, Data]]:
                async for key, data in stream(pairs_of(items)):
                    await begin(key)
                    yield key, data

            return await self.main_store.put_many(announced(), raise_errors=raise_errors)

    async def delete_many(
        self, keys: Iterable[str] | AsyncIterable[str], *, raise_errors: bool = True
    ) -> dict[str, None | StorageError]:
        async with self._coherent.writing() as begin:

            async def announced() -> AsyncIterator[str]:
                async for key in stream(keys):
                    await begin(key)
                    yield key

            return await self.main_store.delete_many(announced(), raise_errors=raise_errors)

    async def copy(self, source: str, target: str, *, if_absent: bool = False) -> str:
        async with self._coherent.writing(check_key(target, self)):
            return await self.main_store.copy(source, target, if_absent=if_absent)

    async def rename(self, source: str, target: str, *, if_absent: bool = False) -> str:
        async with self._coherent.writing(check_key(source, self), check_key(target, self)):
            return await self.main_store.rename(source, target, if_absent=if_absent)

    async def clear(self, prefix: str = "") -> None:
        async with self._coherent.clearing(prefix):
            await self.main_store.clear(prefix)

    # -- about itself --------------------------------------------------------------------------------------------

    async def forget(self, key: str | None = None) -> None:
        """
        Empty the cache, or forget what is cached of one object; the objects stay in the main store.

        Reads that begin after it ask the main store, also where the cache failed to delete: then it is logged.
        """
        if key is None:
            async with self._coherent.clearing(""):
                return
        async with self._coherent.writing(check_key(key, self)):
            return

    @property
    def stats(self) -> CacheStats:
        """What the cache has done so far, as it is now."""
        return self._cache.stats()

    @property
    def capabilities(self) -> Capabilities:
        main = self.main_store.capabilities
        fresh = self.revalidate == 0 and self.negative is None
        stepping = main.steppable and self.cache_store.capabilities.steppable
        return self._supported(replace(main, multi_process=main.multi_process and fresh, steppable=stepping))

    def _parts(self) -> dict[str, ObjectStore[Any, Any]]:
        return {"main_store": self.main_store, "cache_store": self.cache_store}

    async def _open(self) -> None:
        async with AsyncExitStack() as entered:
            await entered.enter_async_context(self.main_store)
            try:
                await entered.enter_async_context(self.cache_store)
            except Exception as error:
                self._cache.failed("open", None, error)
            self._entered = entered.pop_all()

    async def _close(self) -> None:
        try:
            if is_stepping():
                await self._coherent.settle()
            else:
                with anyio.move_on_after(GRACE, shield=True):
                    await self._coherent.settle()
        finally:
            self._cache.close()
            await super()._close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.main_store!r}, {self.cache_store!r})"

    # -- on a hit ------------------------------------------------------------------------------------------------

    async def _cached(self, key: str) -> Entry | None:
        """Return what the cache has of the object, None where the main store is to be asked."""
        entry = await self._coherent.find(check_key(key, self))
        if entry is not None and self._current is not None and key not in self._current:
            entry = await self._compared(entry, self._current)
        self._cache.count("misses" if entry is None else "hits")
        return entry

    async def _compared(self, entry: Entry, current: Recent) -> Entry | None:
        """Return the entry if the main store still has this version of the object, described as it is there now."""
        key, since = entry.info.key, now()
        try:
            info = await self.main_store.head(key)
        except KeyNotFoundError:
            await self.forget(key)
            return None
        except StorageError as error:
            if not (self.stale_on_error and error.retryable):
                raise
            self._cache.count("stale")
            return entry
        if info.etag != entry.info.etag:
            return None
        current.remember(key, since)
        return Entry(info, entry.data)

    # -- on a miss -----------------------------------------------------------------------------------------------

    async def _fetched(self, key: str) -> Entry:
        """Return the object from the main store, together with whoever wants it at the same time."""
        entry = None
        while entry is None:  # who opened it did not want all of it, if it was large
            entry = await self._together(key, None)
        return entry

    async def _fetched_if_small(self, key: str) -> Entry | None:
        """Return the object as `_fetched` does; None for one that is too large to be cached."""
        entry = await self._together(key, self.max_object_size)
        if entry is None:
            self._large.remember(key)
        return entry

    async def _together(self, key: str, limit: int | None) -> Entry | None:
        reading = Reading(key)
        if is_stepping():
            return await self._fetch(reading, limit)
        return await self._reads.join(key, lambda: Flight(self._fetch(reading, limit), lambda: reading.current))

    async def _fetch(self, reading: Reading, limit: int | None) -> Entry | None:
        """Read the object, keep it in the cache if it may be, and return it; None if it is larger than *limit*."""
        with self._coherent.reading(reading):
            since = now()
            async with self.main_store.open(reading.key) as reader:
                if limit is not None and reader.info.size > limit:
                    return None
                entry = Entry(reader.info, await reader.read())
            await self._keep(reading, entry, since)
            return entry

    async def _keep(self, reading: Reading, entry: Entry, since: float) -> None:
        """Put what was read at the time *since* into the cache, unless it is too large."""
        if len(entry.data) > self.max_object_size:
            return
        if await self._coherent.keep(reading, entry) and self._current is not None:
            self._current.remember(reading.key, since)

    async def _keep_written(self, key: str, content: bytes, etag: str) -> None:
        """Put what was just written into the cache, described by the main store, if it has this very version."""
        reading, since = Reading(key), now()
        try:
            with self._coherent.reading(reading):
                info = await self.main_store.head(key)
                if info.etag == etag:
                    await self._keep(reading, Entry(info, content), since)
        except StorageError:  # the object is written; it is only not cached
            return


def _check_stores(main: ObjectStore, cache: ObjectStore, compares: bool) -> None:
    """Refuse stores that a `CachingStore` cannot be made of."""
    if not isinstance(cache, ObjectStore):
        raise TypeError(f"a cache_store is a store, not {type(cache).__name__}")
    able = cache.capabilities
    if not main.capabilities.readable:
        raise ConfigError(f"there is nothing to cache of {main!r}, which cannot be read")
    if not (able.readable and able.writable):
        raise ConfigError(f"a cache_store is read and written, but {cache!r} cannot be both")
    if any("values" in store._traits for store in stack(cache)):
        raise ConfigError(f"a cache_store keeps bytes, but {cache!r} takes and gives other values")
    if main is cache:
        raise ConfigError("main_store and cache_store are the same, so that copies would overwrite the objects")
    if compares and not main.capabilities.cheap_head:
        raise ConfigError(
            f"revalidate needs a head that does not read the object, unlike that of {main!r}; "
            "put an ExpiringStore over the cache_store instead"
        )
