"""`CachingStore`: copies of the objects of a slow store in a fast one."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal

import anyio

from storage._concurrency.stepping import is_stepping
from storage._concurrency.tasks import stream
from storage._core.bulk import pairs_of, raise_failures
from storage._core.claims import claimed
from storage._core.data import as_bytes, is_stream
from storage._core.durations import seconds
from storage._core.keys import check_key
from storage._core.lazy import lazy
from storage._core.traits import Trait
from storage.base import ObjectStore
from storage.decorators.bases.stacking import stack
from storage.decorators.bases.store_decorator import StoreDecorator
from storage.decorators.caching.cache import CacheStats, GuardedCache
from storage.decorators.caching.coherence import CoherentCache
from storage.decorators.caching.entry import Entry
from storage.decorators.caching.ledger import Ledger, Reading
from storage.decorators.caching.recent_keys import RecentKeys, now
from storage.decorators.caching.single_flight import SharedTask, SingleFlight
from storage.errors import ConfigError, KeyNotFoundError, StorageError
from storage.reader import BytesReader, ObjectReader
from storage.types import Attributes, ByteRange, Capabilities, Data, Items, Keys, ObjectInfo

__all__ = ["CacheStats", "CachingStore"]

#: Seconds that `aclose` may spend on deletions that have failed before.
GRACE = 2.0


class CachingStore(StoreDecorator):
    """
    Objects of *main_store* that have been read are kept in *cache_store*, and read from there.

    Writes go to the main store, and the cached copy is deleted before and after each write; listings come from the main
    store. A read through this store never returns an older version than the last one written through it. What other
    processes write is seen when the object is no longer cached; see *revalidate*. A write that got no answer, or was
    cancelled, may land later: its key is not cached for five minutes; one that lands later still may stay hidden. An
    object that expires in the main store is not returned after its deadline, `ObjectInfo.expires`.

    A failure of the cache store never makes a read or a write fail. It is logged, and counted in `stats`.

    Args:
        main_store: the store that has the objects.
        cache_store: holds the copies, and nothing else. Put an `ExpiringStore` over it to drop them after some time.
        max_object_size: bytes above which an object is not cached, and not read into memory by `open`.
        max_bytes: the bytes of all cached objects at most, each with some 200 for its description; the least recently
            used are deleted. Processes that share *cache_store* keep the bound together, within a fifth, if its
            capabilities have ``multi_process`` and its listing is not a call for each object, as that of a bucket; else
            each process has a bound of its own. None for no bound.
        max_count: the number of cached objects at most, likewise.
        write: what `put` does to the cached copy: ``"around"`` deletes it, ``"through"`` replaces it if the data is one
            buffer, which takes a `head` of the main store.
        negative: seconds for which the store remembers that the main store lacks a key; None not to remember it.
        revalidate: seconds after which a cached object is compared with the main store's by its etag, 0 for each time;
            None for never.
        stale_on_error: return the cached object, and do not raise the error, if it cannot be compared because the main
            store is unavailable (the error is ``retryable``).

    Raises:
        ConfigError: the main store cannot be read, the cache store cannot be read and written, both are the same, or
            *revalidate* is given for a main store whose `head` reads the object. If that is because of a file system,
            entering the store or the first comparison raises it.
    """

    _steppable = True
    _traits = frozenset({Trait.CACHES})
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
                raise ValueError(f"{name} must be at least 1, not {bound}")
        if write not in ("around", "through"):
            raise ValueError(f"write must be 'around' or 'through', not {write!r}")
        self.main_store = main_store
        self.cache_store = cache_store
        self.max_object_size = max_object_size
        self.max_bytes = max_bytes
        self.max_count = max_count
        self.write = write
        self.negative: float | None = None if negative is None else seconds("negative", negative)
        self.revalidate: float | None = None
        if revalidate is not None:
            self.revalidate = seconds("revalidate", revalidate, allow_zero=True)
        self.stale_on_error = stale_on_error

        self._cache = GuardedCache(cache_store, max_count, max_bytes)
        self._validated = None if self.revalidate is None else RecentKeys(self.revalidate)
        self._large = RecentKeys(math.inf)  # objects known to be too large: `open` need not find that out again
        missing = None if self.negative is None else RecentKeys(self.negative)
        self._coherent = CoherentCache(main_store, self._cache, Ledger(missing, self._large, self._validated))
        self._reads: SingleFlight[Entry | None] = SingleFlight()

    # -- reading -------------------------------------------------------------------------------------------------

    async def get(self, key: str, *, byte_range: ByteRange | None = None) -> bytes:
        entry = await self._cached(key)
        if entry is None:
            if byte_range is not None:
                return await self.main_store.get(key, byte_range=byte_range)
            entry = await self._fetch(key)
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
        entry = await self._cached(key, described=True)
        if entry is not None:
            return entry.info_copy()
        with self._coherent.reading(Reading(key)):
            return await self.main_store.head(key)

    @asynccontextmanager
    async def open(self, key: str, *, byte_range: ByteRange | None = None) -> AsyncIterator[ObjectReader]:
        entry = await self._cached(key, described=True)
        if entry is None and byte_range is None and key not in self._large:
            entry = await self._fetch_if_small(key)
        if entry is not None:
            yield BytesReader(entry.info_copy(), entry.data, byte_range)
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
            await self._cache_written(key, content, etag)
        return etag

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        async with self._coherent.writing(check_key(key, self)):
            await self.main_store.delete(key, if_match=if_match)

    async def put_many(
        self,
        items: Items[Data],
        *,
        raise_errors: bool = True,
    ) -> dict[str, str | StorageError]:
        async with self._coherent.writing(bulk=True) as write:

            async def announced() -> AsyncIterator[tuple[str, Data]]:
                async for key, data in stream(pairs_of(items)):
                    await write.begin(key)
                    yield key, data

            results = await self.main_store.put_many(announced(), raise_errors=False)
            write.note_results(results)
        return raise_failures(results, self, raise_errors)

    async def delete_many(self, keys: Keys, *, raise_errors: bool = True) -> dict[str, None | StorageError]:
        async with self._coherent.writing(bulk=True) as write:

            async def announced() -> AsyncIterator[str]:
                async for key in stream(keys):
                    await write.begin(key)
                    yield key

            results = await self.main_store.delete_many(announced(), raise_errors=False)
            write.note_results(results)
        return raise_failures(results, self, raise_errors)

    async def copy(self, source: str, target: str, *, if_absent: bool = False) -> str:
        async with self._coherent.writing(check_key(target, self)):
            return await self.main_store.copy(source, target, if_absent=if_absent)

    async def rename(self, source: str, target: str, *, if_absent: bool = False) -> str:
        async with self._coherent.writing(check_key(source, self), check_key(target, self)):
            return await self.main_store.rename(source, target, if_absent=if_absent)

    async def clear(self, prefix: str = "") -> None:
        async with self._coherent.clearing(prefix):
            await self.main_store.clear(prefix)

    # -- the cache itself ----------------------------------------------------------------------------------------

    async def forget(self, key: str | None = None) -> None:
        """
        Empty the cache, or delete the cached copy of one object; the objects stay in the main store.

        Reads that begin after it read the main store, even if the cache failed to delete, which is logged.
        """
        if key is None:
            async with self._coherent.clearing(""):
                return
        async with self._coherent.writing(check_key(key, self)):
            return

    @property
    def stats(self) -> CacheStats:
        """What the cache has done so far."""
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
        _ = self._compares
        async with AsyncExitStack() as entered:
            await entered.enter_async_context(self.main_store)
            try:
                await entered.enter_async_context(self.cache_store)
            except Exception as error:
                self._cache.record_failure("open", None, error)
            self._entered = entered.pop_all()

    async def _close(self) -> None:
        try:
            if is_stepping():
                await self._coherent.retry_deletions()
            else:
                with anyio.move_on_after(GRACE, shield=True):
                    await self._coherent.retry_deletions()
        finally:
            self._cache.close()
            await super()._close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.main_store!r}, {self.cache_store!r})"

    # -- on a hit ------------------------------------------------------------------------------------------------

    async def _cached(self, key: str, *, described: bool = False) -> Entry | None:
        """Return the cached entry of the object, *described* if that is needed; None to read the main store."""
        described = described or self._validated is not None
        entry = await self._coherent.find(check_key(key, self), described=described)
        if entry is not None and self._validated is not None and key not in self._validated:
            entry = await self._revalidated(entry, self._validated) if self._compares else None
        self._cache.count("misses" if entry is None else "hits")
        return entry

    @lazy
    def _compares(self) -> bool:
        """True; an error where the file system of the main store has no etags, which its constructor does not ask."""
        if self.revalidate is not None:
            _check_head(self.main_store, self.main_store.capabilities)
        return True

    async def _revalidated(self, entry: Entry, validated: RecentKeys) -> Entry | None:
        """Return the entry, with the main store's description, if the main store still has this version; else None."""
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
        validated.remember(key, since)
        return Entry(info, entry.data)

    # -- on a miss -----------------------------------------------------------------------------------------------

    async def _fetch(self, key: str) -> Entry:
        """Return the object from the main store; concurrent callers share one read."""
        entry = None
        while entry is None:  # the shared read was one of `open`, which does not read a large object
            entry = await self._fetch_shared(key, None)
        return entry

    async def _fetch_if_small(self, key: str) -> Entry | None:
        """Do the same; None for an object that is too large to be cached."""
        entry = await self._fetch_shared(key, self.max_object_size)
        if entry is None:
            self._large.remember(key)
        return entry

    async def _fetch_shared(self, key: str, limit: int | None) -> Entry | None:
        reading = Reading(key)
        if is_stepping():
            return await self._read_main(reading, limit)
        return await self._reads.join(key, lambda: SharedTask(self._read_main(reading, limit), lambda: reading.current))

    async def _read_main(self, reading: Reading, limit: int | None) -> Entry | None:
        """Read the object, put it into the cache if that is allowed, and return it; None if larger than *limit*."""
        with self._coherent.reading(reading):
            since = now()
            async with self.main_store.open(reading.key) as reader:
                if limit is not None and reader.info.size > limit:
                    return None
                entry = Entry(reader.info, await reader.read())
            await self._cache_read(reading, entry, since)
            return entry

    async def _cache_read(self, reading: Reading, entry: Entry, since: float) -> None:
        """Put an object that was read at the time *since* into the cache, unless it is too large."""
        if len(entry.data) > self.max_object_size:
            return
        if await self._coherent.keep(reading, entry) and self._validated is not None:
            self._validated.remember(reading.key, since)

    async def _cache_written(self, key: str, content: bytes, etag: str) -> None:
        """Put an object that was just written into the cache, if the main store still has this version."""
        reading, since = Reading(key), now()
        try:
            with self._coherent.reading(reading):
                info = await self.main_store.head(key)
                if info.etag == etag:
                    await self._cache_read(reading, Entry(info, content), since)
        except StorageError:  # the write has succeeded; the object is just not cached
            return


def _check_stores(main: ObjectStore, cache: ObjectStore, revalidates: bool) -> None:
    """Raise the error of stores that a `CachingStore` cannot use."""
    if not isinstance(cache, ObjectStore):
        raise TypeError(f"cache_store must be a store, not {type(cache).__name__}")
    able = claimed(cache)
    if not claimed(main).readable:
        raise ConfigError(f"main_store must be readable, which {main!r} is not: there is nothing to cache")
    if not (able.readable and able.writable):
        raise ConfigError(f"cache_store must be readable and writable, which {cache!r} is not")
    if any(Trait.VALUES in store._traits for store in stack(cache)):
        raise ConfigError(f"cache_store must store bytes, but {cache!r} stores other values: use the store below it")
    if main is cache:
        raise ConfigError("main_store and cache_store must be different stores, or copies would overwrite the objects")
    if revalidates:
        _check_head(main, claimed(main))


def _check_head(main: ObjectStore, able: Capabilities) -> None:
    if not able.cheap_head:
        raise ConfigError(
            f"revalidate needs a main_store whose head does not read the object, but the head of {main!r} does: "
            "put an ExpiringStore over the cache_store instead"
        )
