"""`SlowStore`: a store that takes its time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeAlias, TypeVar

from storage._concurrency.backoff import pause
from storage.base import ObjectStore
from storage.decorators.bases.interceptor import Call, Interceptor
from storage.types import Capabilities, In, Out

__all__ = ["Delay", "SlowStore"]

T = TypeVar("T")

#: Seconds, or a function that gives them for a call's action and key.
Delay: TypeAlias = float | Callable[[str, str | None], float]


class SlowStore(Interceptor[In, Out]):
    """
    Waits before each call, and behind it.

    An action is a method's name; ``"read"`` is a read of an open object, ``"next"`` a step of a listing but its first.
    Each object of a bulk call is a call of its own.

    Args:
        base: the store below.
        before: seconds to wait before a call takes effect, or a function that gives them for its action and key.
        after: seconds to wait when it has taken effect, before it returns; likewise.
        sleep: waits for so many seconds: a clock of your own makes a test quick. Then the store needs an event loop,
            in its synchronous face too. Without it time really passes.

    Attributes:
        waited: seconds waited, in all.
    """

    _steppable = True

    def __init__(
        self,
        base: ObjectStore[In, Out],
        before: Delay = 0.0,
        *,
        after: Delay = 0.0,
        sleep: Callable[[float], Awaitable[object]] | None = None,
    ) -> None:
        super().__init__(base)
        self.before: Delay = before
        self.after: Delay = after
        self.waited: float = 0.0
        self._sleep = sleep

    async def _intercept(self, action: str, key: str | None, call: Call[T]) -> T:
        await self._wait(self.before, action, key)
        result = await call()
        await self._wait(self.after, action, key)
        return result

    async def _wait(self, delay: Delay, action: str, key: str | None) -> None:
        seconds = delay(action, key) if callable(delay) else delay
        if seconds > 0:
            self.waited += seconds
            await (self._sleep or pause)(seconds)

    @property
    def capabilities(self) -> Capabilities:
        able = super().capabilities
        return able if self._sleep is None else replace(able, steppable=False)
