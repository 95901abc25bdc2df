"""`merged`: several ordered listings as one, for stores that consist of several."""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar

from storage._concurrency.tasks import for_each

__all__ = ["merged"]

T = TypeVar("T")

_END: Any = object()


async def merged(listings: Sequence[AsyncIterator[T]], key: Callable[[T], str] = str) -> AsyncIterator[T]:
    """
    Yield the items of *listings* in the order of their keys, each key once, from the first listing that has it.

    One item of each listing is in memory. The listings start concurrently and advance in turn, each no further than
    necessary. None is closed, and between two items nothing runs. An error of a listing is raised as it is.

    Args:
        listings: each in the order of its keys; they must not be used elsewhere meanwhile.
        key: returns the key of an item; by default the item itself.
    """
    heads: list[tuple[str, int, T]] = []  # of each listing that has not ended: a key, the listing, the item

    async def begin(number: int) -> None:
        item = await anext(listings[number], _END)
        if item is not _END:
            heads.append((key(item), number, item))

    await for_each(range(len(listings)), begin, limit=max(len(listings), 1))
    heapq.heapify(heads)
    last = None
    while heads:
        name, number, item = heads[0]
        if name != last:
            yield item
            last = name
        item = await anext(listings[number], _END)
        if item is _END:
            heapq.heappop(heads)
        else:
            heapq.heapreplace(heads, (key(item), number, item))
