"""Stores with objects, and what a store holds."""

from __future__ import annotations

from storage import DictStore

__all__ = ["filled"]


async def filled(*keys: str) -> DictStore:
    store = DictStore()
    await store.put_many(dict.fromkeys(keys, b"v"))
    return store
