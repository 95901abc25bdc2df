"""`RetryPolicy` and `Attempts`: how often, for how long and after which pauses a call is made again."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeVar

from storage._concurrency.backoff import full_jitter, pause
from storage.errors import StorageError

__all__ = ["ATTEMPTS", "BASE_DELAY", "BUDGET", "MAX_DELAY", "RETRY_TIMEOUT", "Attempts", "RetryPolicy"]

T = TypeVar("T")

_logger = logging.getLogger("storage")

#: Seconds within which a store on a network begins the attempts of one call, unless its caller says otherwise.
RETRY_TIMEOUT = 60

#: The bounds of `RetryingStore`, unless its caller says otherwise.
ATTEMPTS = 5
BUDGET = 60.0
BASE_DELAY = 0.1
MAX_DELAY = 10.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """
    The bounds of every call of a store; the defaults are those of the stores on a network.

    Attributes:
        attempts: how often it is made at most.
        budget: seconds after which no other attempt is begun.
        base_delay: seconds that the first pause takes at most; the others take up to twice as long each.
        max_delay: seconds that any pause takes at most.
    """

    attempts: float = math.inf
    budget: float = RETRY_TIMEOUT
    base_delay: float = BASE_DELAY
    max_delay: float = 5.0

    def retry(self, call: Callable[[], Awaitable[T]]) -> Coroutine[Any, Any, T]:
        """Return what *call* returns, once it raises no error that is ``retryable``, or the bounds are reached."""
        return Attempts(self).retry(call)


class Attempts:
    """
    The attempts of one call.

    Args:
        policy: their bounds.
        action: what is attempted, for the log; None to log nothing.
        key: with which object; None for what is not about one.
        begun: when it began, by the monotonic clock; None for now.
    """

    __slots__ = ("_begun", "_key", "_made", "_policy", "action")

    def __init__(
        self, policy: RetryPolicy, action: str | None = None, key: str | None = None, begun: float | None = None
    ) -> None:
        self._policy = policy
        self.action: str | None = action
        self._key = key
        self._begun = monotonic() if begun is None else begun
        self._made = 1

    def of(self, action: str, key: str) -> Attempts:
        """Return the attempts of another call, which has to do with what is left of this one's time."""
        return Attempts(self._policy, action, key, self._begun)

    @property
    def over(self) -> bool:
        """Whether the time has run out."""
        return monotonic() >= self._begun + self._policy.budget

    async def retry(self, call: Callable[[], Awaitable[T]], repeatable: Callable[[], bool] | None = None) -> T:
        """Return what *call* returns in the end; an error is raised where it is not *repeatable*, or not now."""
        while True:
            try:
                return await call()
            except StorageError as error:
                if (repeatable is not None and not repeatable()) or not await self.another(error):
                    raise

    async def another(self, error: StorageError) -> bool:
        """Return after an *error* whether there is to be another attempt, when its time has come."""
        bounds = self._policy
        if not error.retryable or self._made >= bounds.attempts:
            return False
        asked: float = getattr(error, "retry_after", None) or 0  # where a server names a time, nobody comes earlier
        delay = asked + full_jitter(self._made - 1, bounds.base_delay, bounds.max_delay)
        if monotonic() + delay >= self._begun + bounds.budget:
            return False
        self._made += 1
        if self.action is not None:
            call = self.action if self._key is None else f"{self.action} of {self._key!r}"
            _logger.info(
                "%s failed, attempt %d of %d follows in %.3g s: %s", call, self._made, bounds.attempts, delay, error
            )
        await pause(delay)
        return True
