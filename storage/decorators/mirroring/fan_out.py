"""`Fan`: one stream, read once and handed to many."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

from storage._concurrency.offload import settled

__all__ = ["Fan"]

T = TypeVar("T")


class Fan(Generic[T]):
    """
    Tasks, each of which writes one stream somewhere. They get a piece when all of them have asked for it, or ended.

    So no more than two pieces are in memory: the one that they are at, and the one that comes next. None of them sees
    the end of the stream before `finish` shows it to it: until then none can have written anything for good.

    Args:
        writers: what is given the stream.
    """

    def __init__(self, writers: Sequence[Callable[[AsyncIterator[bytes]], Awaitable[T]]]) -> None:
        self._changed = asyncio.Event()
        self._branches = [_Branch(self._changed) for _ in writers]
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(_write(writer, branch)) for writer, branch in zip(writers, self._branches, strict=True)
        ]
        for task in self._tasks:
            task.add_done_callback(self._ended)

    async def ready(self) -> None:
        """Wait until every task has asked for more, or has ended."""
        while not all(branch.asks or task.done() for branch, task in zip(self._branches, self._tasks, strict=True)):
            self._changed.clear()
            await self._changed.wait()

    def give(self, piece: bytes) -> None:
        """Hand the next piece to all that have asked for it."""
        for branch in self._branches:
            branch.give(piece)

    def failed(self) -> dict[int, Exception]:
        """Return the errors of the tasks that failed, by their numbers."""
        ended = {number: task for number, task in enumerate(self._tasks) if task.done() and not task.cancelled()}
        errors = {number: task.exception() for number, task in ended.items()}
        return {number: error for number, error in errors.items() if isinstance(error, Exception)}

    async def finish(self, number: int) -> T:
        """Show one task the end of the stream and return what it returns."""
        self._branches[number].give(None)
        return await self._tasks[number]

    async def abandon(self) -> None:
        """Cancel all that has not ended, and wait for its end."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            await settled(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._changed.set()


async def _write(writer: Callable[[AsyncIterator[bytes]], Awaitable[T]], branch: _Branch) -> T:
    return await writer(branch)


class _Branch(AsyncIterator[bytes]):
    """The stream as one task sees it."""

    def __init__(self, changed: asyncio.Event) -> None:
        self._changed = changed
        self._asked: asyncio.Future[bytes | None] | None = None
        self._over = False

    @property
    def asks(self) -> bool:
        return self._asked is not None

    def give(self, piece: bytes | None) -> None:
        """Answer the question for the next piece, if there is one; None is the end."""
        asked, self._asked = self._asked, None
        if asked is not None and not asked.done():
            asked.set_result(piece)

    async def __anext__(self) -> bytes:
        if self._over:
            raise StopAsyncIteration
        self._asked = asyncio.get_running_loop().create_future()
        self._changed.set()
        piece = await self._asked
        if piece is None:
            self._over = True
            raise StopAsyncIteration
        return piece
