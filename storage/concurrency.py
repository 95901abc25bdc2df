"""Bounded concurrency: the one way the package does many things at once."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

from storage.offload import is_stepping, settled

__all__ = ["CONCURRENCY", "each", "stream", "uninterrupted"]

T = TypeVar("T")

#: How many items of a bulk call are under way at once, where the back end has no bulk call of its own.
CONCURRENCY = 16


async def stream(items: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    """Yield *items*, whichever of the two kinds of iterable they are."""
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


async def each(
    items: Iterable[T] | AsyncIterable[T], work: Callable[[T], Awaitable[object]], *, limit: int = CONCURRENCY
) -> None:
    """
    Await ``work(item)`` for every item, at most *limit* at once, and one after the other when stepped.

    The first error, of the work or of the iterable, stops the rest and is raised as it is, never in an exception group.
    """
    if is_stepping() or limit == 1:
        async for item in stream(items):
            await work(item)
        return

    import anyio

    errors: list[Exception] = []
    slots = anyio.Semaphore(limit, fast_acquire=True)

    async with anyio.create_task_group() as group:

        async def run(item: T) -> None:
            try:
                await work(item)
            except Exception as error:
                errors.append(error)
                group.cancel_scope.cancel()
            finally:
                slots.release()

        try:
            async for item in stream(items):
                await slots.acquire()
                group.start_soon(run, item)
        except Exception as error:
            errors.append(error)
            group.cancel_scope.cancel()
    if errors:
        raise errors[0]


async def uninterrupted(work: Coroutine[Any, Any, T], grace: float) -> T:
    """
    Await *work* and return its result. A cancellation waits for its end, but no longer than *grace* seconds.

    What has not ended by then is cancelled too. Either way it is over when the cancellation leaves.
    """
    import asyncio

    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        enough = loop.call_later(grace, task.cancel)
        await settled(task)
        enough.cancel()
        raise
