"""Running an operation and cancelling it at a chosen await: each of them in turn, so that none is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Generator
from typing import Any

__all__ = ["interrupted"]


async def interrupted(operation: Coroutine[Any, Any, object], number: int) -> bool:
    """
    Run *operation* in a task of its own and cancel it where it suspends for the *number*-th time, counted from 1.

    Return whether it came so far. What it raises instead of being cancelled is raised here.
    """
    watched = _Watched(operation, number)
    task = asyncio.create_task(_awaited(watched))
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()
    return watched.reached


async def _awaited(watched: Awaitable[object]) -> object:
    return await watched


class _Watched:
    """An operation, suspension by suspension."""

    def __init__(self, operation: Coroutine[Any, Any, object], number: int) -> None:
        self._operation = operation
        self._left = number

    @property
    def reached(self) -> bool:
        return self._left <= 0

    def __await__(self) -> Generator[Any, Any, object]:
        task = asyncio.current_task()
        assert task is not None
        raised: BaseException | None = None
        while True:
            try:
                waiting = self._operation.send(None) if raised is None else self._operation.throw(raised)
            except StopIteration as end:
                return end.value
            self._left -= 1
            if self._left == 0:
                task.cancel()  # the task cancels what the operation is about to wait for
            raised = None
            try:
                yield waiting
            except BaseException as error:
                raised = error
