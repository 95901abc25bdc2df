"""`merged`: several ordered listings as one, for stores that are made of several."""

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
    Yield what *listings* yield, in the order of their keys, each key once: of the first listing that has it.

    One item of each listing is in memory. The listings begin at once, and go on in turn, each no further than is asked
    for; none is closed, and between two items nothing is under way. The error of one is raised as it is.

    Args:
        listings: each in the order of its keys; not to be used elsewhere meanwhile.
        key: the key of an item; by default it is its own.
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
