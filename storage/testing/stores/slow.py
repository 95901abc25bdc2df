"""`SlowStore`: a store whose calls wait."""

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

#: Seconds, or a function that returns them for the action and key of a call.
Delay: TypeAlias = float | Callable[[str, str | None], float]


class SlowStore(Interceptor[In, Out]):
    """
    Waits before and after each call.

    An action is the name of a method; ``"read"`` is a read of an open object, ``"next"`` a step of a listing after the
    first. Each object of a bulk call counts as a call of its own.

    Args:
        base: the store below.
        before: seconds to wait before a call takes effect, or a function that returns them for its action and key.
        after: seconds to wait after a call took effect, before it returns; likewise.
        sleep: waits for so many seconds: a clock of your own makes a test quick. With it the store needs an event
            loop, also in its synchronous form. By default real time passes.

    Attributes:
        waited: the seconds waited so far.
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
