"""Bulk calls of the stores on files: many files in one hop to a worker thread, an outcome for each of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from storage._concurrency.offload import WORKERS, offload
from storage._concurrency.tasks import for_each, stream
from storage._core.bulk import pages
from storage.errors import StorageError
from storage.types import Keys

__all__ = ["for_each_key"]

T = TypeVar("T")

#: Files in one hop. The hop costs less than one of them then, and who cancels the call waits for no more than these.
FILES_PER_HOP = 32


async def for_each_key(keys: Keys, work: Callable[[str], T]) -> dict[str, T | StorageError]:
    """Return per key, in the order of the keys, what the blocking *work* gives for it, or its `StorageError`."""
    results: dict[str, T | StorageError] = {}

    def outcome(key: str) -> T | StorageError:
        try:
            return work(key)
        except StorageError as error:
            return error

    def outcomes(handful: list[str]) -> list[T | StorageError]:
        return [outcome(key) for key in handful]

    async def hop(handful: list[str]) -> None:
        new = [key for key in dict.fromkeys(handful) if key not in results]
        results.update(dict.fromkeys(new, cast(T, None)))  # a place in the caller's order, taken at once
        results.update(zip(new, await offload(outcomes, new), strict=True))

    await for_each(pages(stream(keys), FILES_PER_HOP), hop, limit=WORKERS)
    return results
