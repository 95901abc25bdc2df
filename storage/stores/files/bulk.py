"""Bulk calls of the stores on files: many files in one hop to a worker thread, with a result for each file."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar, cast

from storage._concurrency.offload import WORKERS, offload
from storage._concurrency.tasks import for_each, stream
from storage._core.bulk import pages, result_of
from storage.errors import StorageError
from storage.stores.files.locks import DirectoryLockedError
from storage.stores.files.waiting import when_unlocked
from storage.types import Keys

__all__ = ["for_each_key"]

T = TypeVar("T")

#: Files per hop. A hop then costs less than reading one file, and a cancelled call waits for no more than these files.
FILES_PER_HOP = 32


async def for_each_key(keys: Keys, work: Callable[[str], T], store: object) -> dict[str, T | StorageError]:
    """
    Return, in the order of *keys*, what the blocking *work* returns for each key, or its `StorageError`.

    Where the directory of a key is locked, *work* is run again for it alone.
    """
    results: dict[str, T | StorageError] = {}

    def result(key: str) -> T | StorageError:
        try:
            return work(key)
        except StorageError as error:
            return error

    def batch_results(batch: list[str]) -> list[T | StorageError]:
        return [result(key) for key in batch]

    async def again(key: str) -> T:
        return await offload(work, key)

    async def hop(batch: list[str]) -> None:
        new = [key for key in dict.fromkeys(batch) if key not in results]
        results.update(dict.fromkeys(new, cast(T, None)))  # reserves their places in the caller's order
        results.update(zip(new, await offload(batch_results, new), strict=True))
        for key in new:
            if isinstance(found := results[key], DirectoryLockedError):
                results[key] = await result_of(when_unlocked(found, partial(again, key), store))

    await for_each(pages(stream(keys), FILES_PER_HOP), hop, limit=WORKERS)
    return results
