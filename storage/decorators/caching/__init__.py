"""`CachingStore`, which keeps copies of a store's objects in a faster one, and its parts."""

from __future__ import annotations

from storage.decorators.caching.store import CacheStats as CacheStats
from storage.decorators.caching.store import CachingStore as CachingStore

__all__ = ["CacheStats", "CachingStore"]
