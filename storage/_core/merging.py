"""`merged`: several ordered listings as one, for stores that consist of several."""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeVar, cast

from storage._concurrency.tasks import for_each
from storage._core.left_out import LeftOut
from storage.errors import IncompleteListingError

__all__ = ["merged"]

T = TypeVar("T")

_END: Any = object()


async def merged(
    listings: Sequence[AsyncIterator[T]],
    key: Callable[[T], str] = str,
    *,
    store: object = None,
    recheck: Callable[[str], Awaitable[object]] | None = None,
) -> AsyncIterator[T]:
    """
    Yield the items of *listings* in the order of their keys, each key once, from the first listing that has it.

    One item of each listing is in memory. The listings start concurrently and advance in turn, each no further than
    necessary. None is closed, and between two items nothing runs. An error of a listing is raised as it is. That a
    listing left out damaged objects is raised at the end, after the items of the others.

    Args:
        listings: each in the order of its keys; they must not be used elsewhere meanwhile.
        key: returns the key of an item; by default the item itself.
        store: the store that an error about damaged objects names.
        recheck: describes an object that a listing left out; those that it can describe were in another listing.

    Raises:
        IncompleteListingError: at the end, if some listings left out damaged objects.
    """
    left_out = LeftOut(store)
    heads: list[tuple[str, int, T]] = []  # of each listing that has not ended: a key, the listing, the item

    async def following(number: int) -> T:
        try:
            return await anext(listings[number], _END)
        except IncompleteListingError as error:
            left_out.take_over(error)
            return cast(T, _END)

    async def begin(number: int) -> None:
        item = await following(number)
        if item is not _END:
            heads.append((key(item), number, item))

    with left_out:
        await for_each(range(len(listings)), begin, limit=max(len(listings), 1))
        heapq.heapify(heads)
        last = None
        while heads:
            name, number, item = heads[0]
            if name != last:
                yield item
                last = name
            item = await following(number)
            if item is _END:
                heapq.heappop(heads)
            else:
                heapq.heapreplace(heads, (key(item), number, item))
        if recheck is not None:
            await left_out.recheck(recheck)
