"""`TieredStore`: several stores, the fastest first; each is a cache of the next one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Literal

from storage._core.lifecycle import enter_all
from storage._core.traits import Trait
from storage.base import ObjectStore
from storage.decorators.bases.store_decorator import StoreDecorator
from storage.decorators.caching.cache import CacheStats
from storage.decorators.caching.store import CachingStore
from storage.decorators.expiring.store import ExpiringStore

__all__ = ["TieredStore"]


class TieredStore(StoreDecorator):
    """
    Objects are read from the first of *tiers* that has them, and copied to all tiers before it.

    It is a stack of `CachingStore`: ``TieredStore([memory, disk, bucket])`` is ``CachingStore(CachingStore(bucket,
    disk), memory)``, with the same guarantees. The last tier has the objects: listings come from it, and writes go to
    it. A failure of another tier makes no read or write fail.

    Args:
        tiers: the stores, the fastest first; all but the last hold copies, and nothing else.
        ttl: seconds for which each tier but the last keeps an object, in the order of *tiers*, None for ever; one value
            for all of them, or a list. A tier with a ttl needs the capability ``attributes``. A tier counts the time
            from when it got the object, no matter how long the next tier has had it: the times add up.
        write: what `put` does to the copies: ``"around"`` deletes them, ``"through"`` replaces them.
        max_object_size: bytes above which an object is in the last tier only.

    Raises:
        ConfigError: a store cannot be used as a tier in its place.
        ValueError: there are no tiers, or *ttl* has not one value for each tier but the last.

    Attributes:
        base: the caches over the last tier.
    """

    _steppable = True
    _traits = frozenset({Trait.CACHES})

    def __init__(
        self,
        tiers: Sequence[ObjectStore],
        *,
        ttl: float | timedelta | Sequence[float | timedelta | None] | None = None,
        write: Literal["around", "through"] = "around",
        max_object_size: int = 8 << 20,
    ) -> None:
        if not tiers:
            raise ValueError("tiers must be a list of at least one store, the fastest first")
        *copies, store = tiers
        times = list(ttl) if isinstance(ttl, Sequence) else [ttl] * len(copies)
        if len(times) != len(copies):
            raise ValueError(f"ttl must have a value for each tier but the last: {len(copies)}, not {len(times)}")
        self._caches: list[CachingStore] = []
        for copy, time in zip(reversed(copies), reversed(times), strict=True):
            kept = copy if time is None else ExpiringStore(copy, time)
            store = CachingStore(store, kept, max_object_size=max_object_size, write=write)
            self._caches.insert(0, store)
        super().__init__(store)
        self.tiers: tuple[ObjectStore, ...] = tuple(tiers)
        self.ttl = ttl
        self.write = write
        self.max_object_size = max_object_size
        self._copies_in = frozenset(f"tiers[{number}]" for number in range(len(copies)))

    async def forget(self, key: str | None = None) -> None:
        """Empty all tiers but the last, or delete the copies of one object: see `CachingStore.forget`."""
        for cache in reversed(self._caches):  # the slowest first: a faster one could copy from it again
            await cache.forget(key)

    @property
    def stats(self) -> list[CacheStats]:
        """What each tier but the last has done so far."""
        return [cache.stats for cache in self._caches]

    def _parts(self) -> dict[str, ObjectStore[Any, Any]]:
        return {f"tiers[{number}]": tier for number, tier in enumerate(self.tiers)}

    async def _open(self) -> None:
        self._entered = await enter_all([self.base])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self.tiers)!r})"
