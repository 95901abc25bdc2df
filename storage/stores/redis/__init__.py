"""`RedisStore`, an object store in the memory of a Redis server."""

from __future__ import annotations

from storage.stores.redis.store import RedisStore as RedisStore

__all__ = ["RedisStore"]
