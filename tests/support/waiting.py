"""A store whose calls wait until a test lets them go on."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from storage import Interceptor, ObjectStore
from storage.decorators.bases.interceptor import Call
from storage.types import In, Out

__all__ = ["WaitingStore"]

T = TypeVar("T")


class WaitingStore(Interceptor[In, Out]):
    """
    A store in which the calls of some actions wait for `go_on`.

    Attributes:
        inside: the actions that have begun and not ended, each with its key, in the order in which they began.
        most: how many there were at most.
        begun: all that have begun.
        go_on: lets them go on.
    """

    def __init__(self, base: ObjectStore[In, Out], *actions: str) -> None:
        super().__init__(base)
        self._actions = actions
        self.inside: list[tuple[str, str | None]] = []
        self.begun: list[tuple[str, str | None]] = []
        self.most = 0
        self.go_on = asyncio.Event()
        self._changed = asyncio.Event()

    async def _intercept(self, action: str, key: str | None, call: Call[T]) -> T:
        self.inside.append((action, key))
        self.begun.append((action, key))
        self.most = max(self.most, len(self.inside))
        self._changed.set()
        try:
            if action in self._actions:
                await self.go_on.wait()
            return await call()
        finally:
            self.inside.remove((action, key))

    async def until(self, number: int) -> None:
        """Wait until so many calls have begun."""
        while len(self.begun) < number:
            self._changed.clear()
            await self._changed.wait()
