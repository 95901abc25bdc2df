"""Bulk calls: a result or an error for each item, and listings by the page."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import TypeVar, cast

from storage._concurrency.tasks import CONCURRENCY, for_each
from storage.errors import BulkError, IncompleteListingError, StorageError
from storage.types import Items, Keys

__all__ = ["PAGE", "pages", "pairs_of", "raise_failures", "result_of", "results_of"]

T = TypeVar("T")

#: Keys that `clear` deletes in one bulk call; S3 takes no more in one request.
PAGE = 1000


async def result_of(call: Awaitable[T]) -> T | StorageError:
    """Return what *call* gives, or its `StorageError` as a value."""
    try:
        return await call
    except StorageError as error:
        return error


async def results_of(
    keys: Keys, call: Callable[[str], Awaitable[T]], *, limit: int = CONCURRENCY
) -> dict[str, T | StorageError]:
    """
    Return per key what *call* gives for it, or its `StorageError`; each key is asked for once.

    Args:
        keys: the keys.
        call: what to await for each.
        limit: how many calls are under way at once; with 1 there are no tasks.
    """
    results: dict[str, T | StorageError] = {}

    async def one(key: str) -> None:
        if key not in results:
            results[key] = cast(T, None)  # a place in the caller's order, taken at once
            results[key] = await result_of(call(key))

    await for_each(keys, one, limit=limit)
    return results


def pairs_of(
    items: Items[T],
) -> Iterable[tuple[str, T]] | AsyncIterable[tuple[str, T]]:
    """Return the pairs of what `put_many` takes."""
    return cast("Mapping[str, T]", items).items() if isinstance(items, Mapping) else items


def raise_failures(results: dict[str, T], store: object, raise_errors: bool) -> dict[str, T]:
    """Return bulk results, or raise them as a `BulkError` when some are errors and the caller wants that."""
    if raise_errors and any(isinstance(result, StorageError) for result in results.values()):
        raise BulkError(results, store=store)
    return results


async def pages(items: AsyncIterator[T], size: int = PAGE) -> AsyncIterator[list[T]]:
    """Yield *items* in lists of *size*, the last one shorter."""
    page: list[T] = []
    left_out: IncompleteListingError | None = None
    try:
        async for item in items:
            page.append(item)
            if len(page) == size:
                yield page
                page = []
    except IncompleteListingError as error:  # the last page is as good as the others
        left_out = error
    if page:
        yield page
    if left_out is not None:
        raise left_out
