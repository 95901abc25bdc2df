"""`GuardedCache`: a cache store as `CachingStore` uses it, whose failures fail nobody."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

from storage._concurrency.tasks import for_each, stream
from storage._core.bulk import pages
from storage.base import ObjectStore
from storage.decorators.caching.entry import Entry
from storage.decorators.expiring.bounds import Bounds
from storage.errors import CorruptObjectError, InvalidKeyError, KeyConflictError, KeyNotFoundError
from storage.types import Data

__all__ = ["CacheStats", "GuardedCache"]

_log = logging.getLogger("storage")


@dataclass(frozen=True, slots=True)
class CacheStats:
    """
    What a `CachingStore` has done so far.

    Attributes:
        hits: reads that the cache answered.
        misses: reads for which the main store was asked, alone or together with others.
        missing: reads of objects that were known to be missing, so that nobody was asked.
        stale: hits that could not be compared with the main store, which was unavailable; they count as hits, too.
        errors: calls to the cache store that failed, and entries found in it that were damaged or none of a cache.
    """

    hits: int = 0
    misses: int = 0
    missing: int = 0
    stale: int = 0
    errors: int = 0


class GuardedCache:
    """
    Entries in a store. What goes wrong there is counted and logged, and raises nothing.

    Any `Exception` does: a cache that is broken in a way that nobody thought of is no better a reason to fail.

    Args:
        store: the cache store.
        max_count: entries to hold at most; None for any number.
        max_bytes: bytes to hold at most; None for any number.
    """

    def __init__(self, store: ObjectStore, max_count: int | None, max_bytes: int | None) -> None:
        self.store = store
        self._max_bytes = max_bytes
        self._bounds: Bounds[Data] = Bounds(store, max_count, max_bytes, store)
        self._counting = threading.Lock()
        self._stats: Counter[str] = Counter()

    async def find(self, key: str) -> Entry | None:
        """Return the entry of *key*, or None."""
        try:
            packed = await self.store.get(key)
        except (KeyNotFoundError, InvalidKeyError):
            return None
        except Exception as error:
            self.failed("get", key, error)
            return None
        entry = Entry.unpack(key, packed)
        if entry is None:
            self.failed("get", key, CorruptObjectError("not the entry that was put for this key"))
        else:
            self._bounds.mark_used(key)
        return entry

    async def put(self, entry: Entry) -> bool:
        """Keep *entry*, unless it is too large, and say whether it was kept."""
        key, packed = entry.info.key, entry.pack()
        if self._max_bytes is not None and len(packed) > self._max_bytes:
            return False
        try:
            await self._bounds.put(key, packed, partial(self.store.put, key))
        except (InvalidKeyError, KeyConflictError):  # it can hold others
            return False
        except Exception as error:
            self.failed("put", key, error)
            return False
        return True

    async def delete(self, keys: Collection[str]) -> set[str]:
        """Delete the entries, and return the keys of those that may still be there."""
        undeleted: set[str] = set()
        if len(keys) == 1:
            await self._delete(undeleted, *keys)
        elif self._bounds.bounded:
            await for_each(keys, partial(self._delete, undeleted))
        else:
            async for page in pages(stream(keys)):
                await self._delete_many(page, undeleted)
        return undeleted

    async def clear(self, prefix: str) -> bool:
        """Delete all entries whose keys start with *prefix*, and say whether they are gone."""
        try:
            if prefix and self._bounds.bounded:
                async for page in pages(self.store.keys(prefix)):
                    if await self.delete(page):
                        return False
            else:
                await self.store.clear(prefix)
        except Exception as error:
            self.failed("clear", prefix, error)
            return False
        return True

    def close(self) -> None:
        """Know nothing of the store any more: others may use it."""
        self._bounds.reset()

    def count(self, event: str) -> None:
        """Count what `CacheStats` has a field for."""
        with self._counting:
            self._stats[event] += 1

    def stats(self) -> CacheStats:
        """Return the counts as they are now."""
        with self._counting:
            return CacheStats(**self._stats)

    def failed(self, action: str, key: str | None, error: Exception) -> None:
        """Count a failure and log it."""
        self.count("errors")
        about = "" if key is None else f" {key!r}"
        _log.warning("the cache failed to %s%s: %s: %s", action, about, type(error).__name__, error)

    async def _delete(self, undeleted: set[str], key: str) -> None:
        try:
            with self._bounds.deleting(key):
                await self.store.delete(key)
        except InvalidKeyError:  # so that there is no entry of it
            return
        except Exception as error:
            self.failed("delete", key, error)
            undeleted.add(key)

    async def _delete_many(self, keys: list[str], undeleted: set[str]) -> None:
        try:
            results = await self.store.delete_many(keys, raise_errors=False)
        except Exception as error:
            self.failed(f"delete {len(keys)} entries, of", keys[0], error)
            undeleted.update(keys)
            return
        for key, result in results.items():
            if result is not None and not isinstance(result, InvalidKeyError):
                self.failed("delete", key, result)
                undeleted.add(key)
