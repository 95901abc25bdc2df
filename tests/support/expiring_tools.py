"""What the tests of `ExpiringStore` do with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from contents import opened

from storage import ByteRange, ExpiringStore, KeyNotFoundError, ObjectStore
from storage._core.clock import Clock

__all__ = ["ASKING", "expiring", "found", "held"]


def expiring(base: ObjectStore, clock: Clock, ttl: float | None = None, **options: Any) -> ExpiringStore:
    """Return an expiring store that goes by *clock*; two that share one are in one process, say."""
    store = ExpiringStore(base, ttl, **options)
    store._expiry.clock = clock
    return store


async def found(store: ObjectStore, key: str) -> bytes | None:
    try:
        return await store.get(key)
    except KeyNotFoundError:
        return None


async def held(store: ObjectStore) -> tuple[int, int]:
    """Return how many objects a store holds, and how many bytes."""
    sizes = [info.size async for info in store.scan()]
    return len(sizes), sum(sizes)


#: What raises when there is no object; each begins anew at every call.
ASKING: dict[str, Callable[[ExpiringStore], Awaitable[object]]] = {
    "get": lambda store: store.get("a/k"),
    "a range": lambda store: store.get("a/k", byte_range=ByteRange(1, 2)),
    "a range after its end": lambda store: store.get("a/k", byte_range=ByteRange(100)),
    "head": lambda store: store.head("a/k"),
    "open": lambda store: opened(store, "a/k"),
    "copy": lambda store: store.copy("a/k", "a/copy"),
    "rename": lambda store: store.rename("a/k", "a/renamed"),
    "rename to itself": lambda store: store.rename("a/k", "a/k"),
    "expires": lambda store: store.expires("a/k"),
    "touch": lambda store: store.touch("a/k"),
}
