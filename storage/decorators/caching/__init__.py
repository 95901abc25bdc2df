"""See `store`."""

from __future__ import annotations

from storage.decorators.caching.store import CacheStats as CacheStats
from storage.decorators.caching.store import CachingStore as CachingStore

__all__ = ["CacheStats", "CachingStore"]
