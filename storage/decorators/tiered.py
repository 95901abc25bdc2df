"""`TieredStore`: several stores, the fastest first, each of which is a cache of the next."""

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
    Objects are read from the first of *tiers* that has them, and put into all before it on the way.

    It is a stack of `CachingStore`: ``TieredStore([memory, disk, bucket])`` is ``CachingStore(CachingStore(bucket,
    disk), memory)``, and what holds there holds here. The last tier has the objects: listings come from it, writes go
    to it, and the failure of a tier above it fails nobody.

    Args:
        tiers: the stores, the fastest first; all but the last hold copies, and nothing else.
        ttl: seconds that each tier but the last keeps an object, in the order of *tiers*, None for ever; one value for
            all of them, or a list. A tier with a time needs the capability ``attributes``. An object comes into a tier
            as old as it is in the next one, so that the times add up.
        write: what a put does to the copies: ``"around"`` deletes them, ``"through"`` replaces
            them.
        max_object_size: bytes above which an object is in the last tier only.

    Raises:
        ConfigError: a tier cannot do what is needed of it.
        ValueError: there are no tiers, or not as many times as tiers that hold copies.

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
            raise ValueError("tiers is a list of one store or more, the fastest first")
        *copies, store = tiers
        times = list(ttl) if isinstance(ttl, Sequence) else [ttl] * len(copies)
        if len(times) != len(copies):
            raise ValueError(f"ttl has a time, or None, for each tier but the last: {len(copies)}, not {len(times)}")
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
        """Empty all tiers but the last, or forget the copies of one object: see `CachingStore.forget`."""
        for cache in reversed(self._caches):  # from below, or a copy could come up again
            await cache.forget(key)

    @property
    def stats(self) -> list[CacheStats]:
        """What each tier but the last has done so far, as it is now."""
        return [cache.stats for cache in self._caches]

    def _parts(self) -> dict[str, ObjectStore[Any, Any]]:
        return {f"tiers[{number}]": tier for number, tier in enumerate(self.tiers)}

    async def _open(self) -> None:
        self._entered = await enter_all([self.base])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self.tiers)!r})"
