"""`get_or`: an object's bytes, or a default."""

from __future__ import annotations

from typing import TypeVar

from storage.base import ObjectStore
from storage.errors import KeyNotFoundError

__all__ = ["get_or"]

T = TypeVar("T")


async def get_or(store: ObjectStore, key: str, default: T) -> bytes | T:
    """Return the object's bytes, or *default* if there is no object."""
    try:
        return await store.get(key)
    except KeyNotFoundError:
        return default
