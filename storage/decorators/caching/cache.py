"""`GuardedCache`: a cache store whose failures are logged and counted, but not raised."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Collection
from dataclasses import dataclass, fields
from functools import partial

from storage._concurrency.tasks import for_each, stream
from storage._core.bulk import pages
from storage.base import ObjectStore
from storage.decorators.caching.entry import MARK, Entry
from storage.decorators.caching.recent_keys import RecentKeys
from storage.decorators.expiring.bounds import Bounds
from storage.errors import CorruptObjectError, InvalidKeyError, KeyConflictError, KeyNotFoundError
from storage.types import ByteRange, Data

__all__ = ["CacheStats", "GuardedCache"]

_log = logging.getLogger("storage")

_BEGINNING = ByteRange(0, len(MARK))


@dataclass(frozen=True, slots=True)
class CacheStats:
    """
    What a `CachingStore` has done so far.

    Attributes:
        hits: reads that were answered from the cache.
        misses: reads that were answered by the main store; several of them may share one read of it.
        missing: reads of objects that were known to be missing, so that no store was read.
        stale: hits that could not be compared with the main store because it was unavailable; they count as hits, too.
        errors: calls to the cache store that failed, and entries in it that were damaged or not written by a cache.
    """

    hits: int = 0
    misses: int = 0
    missing: int = 0
    stale: int = 0
    errors: int = 0


class GuardedCache:
    """
    The entries of a cache, kept in a store. Its errors are counted and logged, and no method raises them.

    This covers every `Exception`: a read or write must not fail because of a bug in the cache store, either.

    Under the key of an object that is read or written it replaces and deletes whatever is there. When it makes room or
    empties the store, it deletes only entries. What does not begin as an entry was put by somebody else, and stays.
    For that, the beginning of each object that this cache has not put itself is read before it is deleted.

    Args:
        store: the cache store.
        max_count: the number of entries at most; None for no bound.
        max_bytes: the bytes of all entries at most; None for no bound.
    """

    def __init__(self, store: ObjectStore, max_count: int | None, max_bytes: int | None) -> None:
        self.store = store
        self._max_bytes = max_bytes
        self._bounds: Bounds[Data] = Bounds(store, max_count, max_bytes, store, is_own=self._is_entry)
        self._own = RecentKeys(math.inf)
        # To count is one step in C, of 0.1 us; a lock would take 0.5 us more. A count is read by counting, too, and
        # together with a count of the readings, which is subtracted: no interrupt can come in between.
        self._counts = {each.name: itertools.count() for each in fields(CacheStats)}
        self._readings = {event: zip(count, itertools.count(), strict=False) for event, count in self._counts.items()}

    async def find(self, key: str, *, described: bool = False) -> Entry | None:
        """Return the entry of *key*, *described* if its description must be readable, or None."""
        try:
            packed = await self.store.get(key)
        except (KeyNotFoundError, InvalidKeyError):
            return None
        except Exception as error:
            self.record_failure("get", key, error)
            return None
        entry = Entry.unpack(key, packed)
        if (
            entry is not None
            and (entry.expires is None or not entry.expired)
            and (not described or entry.is_described())
        ):
            self._bounds.mark_used(key)
            return entry
        if entry is None or not entry.expired:
            self.record_failure("get", key, CorruptObjectError("the entry is damaged, or was not put for this key"))
        if packed.startswith(MARK):
            await self.delete([key])
        return None

    async def put(self, entry: Entry) -> bool:
        """Put *entry* into the cache, unless it is too large, and return whether it is there."""
        key, packed = entry.info.key, entry.pack()
        if self._max_bytes is not None and len(packed) > self._max_bytes:
            return False
        if entry.expired:
            return False
        try:
            await self._bounds.put(key, packed, partial(self.store.put, key))
        except (InvalidKeyError, KeyConflictError):  # the store cannot hold this key; it can hold others
            return False
        except Exception as error:
            self.record_failure("put", key, error)
            return False
        self._own.remember(key)
        return True

    async def delete(self, keys: Collection[str]) -> set[str]:
        """Delete the entries, and return the keys of those that may still be there."""
        undeleted: set[str] = set()
        for key in keys:
            self._own.forget(key)
        if len(keys) == 1:
            await self._delete(undeleted, *keys)
        elif self._bounds.bounded:
            await for_each(keys, partial(self._delete, undeleted))
        else:
            async for page in pages(stream(keys)):
                await self._delete_many(page, undeleted)
        return undeleted

    async def clear(self, prefix: str) -> bool:
        """Delete all entries whose keys start with *prefix*, and return whether all were deleted."""
        try:
            async for page in pages(self.store.keys(prefix)):
                entries: list[str] = []
                await for_each(page, partial(self._add_entry, entries))
                if entries and await self.delete(entries):
                    return False
        except Exception as error:
            self.record_failure("clear", prefix, error)
            return False
        return True

    def close(self) -> None:
        """Forget what is in the store: others may change it from now on."""
        self._bounds.reset()

    def count(self, event: str) -> None:
        """Add one to a field of `CacheStats`."""
        next(self._counts[event])

    def stats(self) -> CacheStats:
        """Return the counts as they are now."""
        pairs = {event: next(reading) for event, reading in self._readings.items()}
        return CacheStats(**{event: counted - read for event, (counted, read) in pairs.items()})

    def record_failure(self, action: str, key: str | None, error: Exception) -> None:
        """Count a failure and log it."""
        self.count("errors")
        about = "" if key is None else f" {key!r}"
        _log.warning("the cache failed to %s%s: %s: %s", action, about, type(error).__name__, error)

    async def _delete(self, undeleted: set[str], key: str) -> None:
        try:
            with self._bounds.deleting(key):
                await self.store.delete(key)
        except InvalidKeyError:  # then there is no entry of it
            return
        except Exception as error:
            self.record_failure("delete", key, error)
            undeleted.add(key)

    async def _add_entry(self, entries: list[str], key: str) -> None:
        if await self._is_entry(key):
            entries.append(key)

    async def _is_entry(self, key: str) -> bool:
        """Return whether the cache store has an entry of *key*, of whatever version of the object."""
        if key in self._own:
            return True
        try:
            return (await self.store.get(key, byte_range=_BEGINNING)).startswith(MARK)
        except (KeyNotFoundError, InvalidKeyError):
            return False
        except CorruptObjectError:  # a codec of the cache store cannot read it: it is a copy that was damaged
            return True

    async def _delete_many(self, keys: list[str], undeleted: set[str]) -> None:
        try:
            results = await self.store.delete_many(keys, raise_errors=False)
        except Exception as error:
            self.record_failure(f"delete {len(keys)} entries, beginning with", keys[0], error)
            undeleted.update(keys)
            return
        for key, result in results.items():
            if result is not None and not isinstance(result, InvalidKeyError):
                self.record_failure("delete", key, result)
                undeleted.add(key)
