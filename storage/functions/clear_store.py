"""`clear_store`: deletes every object of a store."""

from __future__ import annotations

from storage.base import ObjectStore

__all__ = ["clear_store"]


async def clear_store(store: ObjectStore, prefix: str = "") -> None:
    """
    Delete every object whose key starts with *prefix*, by default all: `ObjectStore.clear` as a function.

    Raises:
        BulkError: some objects could not be deleted; all were tried.
    """
    await store.clear(prefix)
