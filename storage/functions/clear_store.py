"""`clear_store`: every object of a store deleted."""

from __future__ import annotations

from storage.base import ObjectStore

__all__ = ["clear_store"]


async def clear_store(store: ObjectStore, prefix: str = "") -> None:
    """
    Delete every object, or every one whose key starts with *prefix*: `ObjectStore.clear` as a function.

    Raises:
        BulkError: some could not be deleted; all were tried.
    """
    await store.clear(prefix)
