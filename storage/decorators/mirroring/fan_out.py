"""`FanOut`: one stream, read once and written to several places."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

from storage._concurrency.offload import settled

__all__ = ["FanOut"]

T = TypeVar("T")


class FanOut(Generic[T]):
    """
    Tasks, each of which writes the same stream to one place, in step: a piece is sent when all tasks wait for it.

    A task that has ended is no longer waited for. At most two pieces are in memory: the one that the tasks are writing,
    and the next one. No task sees the end of the stream before `finish` sends it, so no task can have published
    anything before that.

    Args:
        writers: the functions that write the stream, one for each task.
    """

    def __init__(self, writers: Sequence[Callable[[AsyncIterator[bytes]], Awaitable[T]]]) -> None:
        self._changed = asyncio.Event()
        self._branches = [_Branch(self._changed) for _ in writers]
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(_write(writer, branch)) for writer, branch in zip(writers, self._branches, strict=True)
        ]
        for task in self._tasks:
            task.add_done_callback(self._task_ended)

    async def ready(self) -> None:
        """Return when every task waits for the next piece, or has ended."""
        while not all(branch.waits or task.done() for branch, task in zip(self._branches, self._tasks, strict=True)):
            self._changed.clear()
            await self._changed.wait()

    def send(self, piece: bytes) -> None:
        """Send the next piece to every task that waits for it."""
        for branch in self._branches:
            branch.send(piece)

    def errors(self) -> dict[int, Exception]:
        """Return the errors of the tasks that failed, by their numbers."""
        ended = {number: task for number, task in enumerate(self._tasks) if task.done() and not task.cancelled()}
        errors = {number: task.exception() for number, task in ended.items()}
        return {number: error for number, error in errors.items() if isinstance(error, Exception)}

    async def finish(self, number: int) -> T:
        """Send the end of the stream to one task, and return what its writer returns."""
        self._branches[number].send(None)
        return await self._tasks[number]

    async def cancel(self) -> None:
        """Cancel all tasks that have not ended, and wait until they have."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            await settled(task)

    def _task_ended(self, task: asyncio.Task[Any]) -> None:
        self._changed.set()


async def _write(writer: Callable[[AsyncIterator[bytes]], Awaitable[T]], branch: _Branch) -> T:
    return await writer(branch)


class _Branch(AsyncIterator[bytes]):
    """The stream that one task reads."""

    def __init__(self, changed: asyncio.Event) -> None:
        self._changed = changed
        self._next: asyncio.Future[bytes | None] | None = None
        self._ended = False

    @property
    def waits(self) -> bool:
        return self._next is not None

    def send(self, piece: bytes | None) -> None:
        """Give the task the next piece, if it waits for one; None is the end of the stream."""
        waiting, self._next = self._next, None
        if waiting is not None and not waiting.done():
            waiting.set_result(piece)

    async def __anext__(self) -> bytes:
        if self._ended:
            raise StopAsyncIteration
        self._next = asyncio.get_running_loop().create_future()
        self._changed.set()
        piece = await self._next
        if piece is None:
            self._ended = True
            raise StopAsyncIteration
        return piece
