"""`scanned`: what a listing yields, and what it left out, for tests of damaged objects."""

from __future__ import annotations

from typing import Any

from storage import IncompleteListingError, ObjectStore

__all__ = ["scanned"]


async def scanned(store: ObjectStore[Any, Any], prefix: str = "") -> tuple[list[str], list[str]]:
    """Return the keys that `scan` yields, and those that the error at its end says were left out."""
    keys: list[str] = []
    try:
        async for info in store.scan(prefix):
            keys.append(info.key)  # noqa: PERF401 - the keys before an error count
    except IncompleteListingError as error:
        return keys, list(error.errors)
    return keys, []
