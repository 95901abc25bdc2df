"""`RetryPolicy` and `Attempts`: how often, for how long and after which pauses a call is retried."""

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

#: Default seconds within which a store on a network begins all attempts of one call.
RETRY_TIMEOUT = 60

#: The defaults of `RetryingStore`.
ATTEMPTS = 5
BUDGET = 60.0
BASE_DELAY = 0.1
MAX_DELAY = 10.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """
    The limits of the retries of one call; the defaults are those of the stores on a network.

    Attributes:
        attempts: the most attempts, the first included.
        budget: seconds after which no further attempt begins.
        base_delay: the longest first pause in seconds; the limit doubles for each further pause.
        max_delay: the longest pause in seconds.
    """

    attempts: float = math.inf
    budget: float = RETRY_TIMEOUT
    base_delay: float = BASE_DELAY
    max_delay: float = 5.0

    def retry(self, call: Callable[[], Awaitable[T]]) -> Coroutine[Any, Any, T]:
        """Return what *call* returns, and retry it after errors that are ``retryable``, within the limits."""
        return Attempts(self).retry(call)


class Attempts:
    """
    The attempts of one call.

    Args:
        policy: their limits.
        action: the name of the call in the log; None to log nothing.
        key: the object that the call is about, if it is about one.
        begun: when the call began, by the monotonic clock; None for now.
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
        """Return the attempts of another call that shares the time budget of this one."""
        return Attempts(self._policy, action, key, self._begun)

    @property
    def over(self) -> bool:
        """Whether the time budget is used up."""
        return monotonic() >= self._begun + self._policy.budget

    async def retry(self, call: Callable[[], Awaitable[T]]) -> T:
        """Return what *call* returns, and retry it within the limits."""
        while True:
            try:
                return await call()
            except StorageError as error:
                if not await self.another(error):
                    raise

    async def another(self, error: StorageError) -> bool:
        """Return whether to make another attempt after *error*, and wait before it if so."""
        policy = self._policy
        if not error.retryable or self._made >= policy.attempts:
            return False
        server_delay: float = getattr(error, "retry_after", None) or 0  # no attempt before the time that a server names
        delay = server_delay + full_jitter(self._made - 1, policy.base_delay, policy.max_delay)
        if monotonic() + delay >= self._begun + policy.budget:
            return False
        self._made += 1
        if self.action is not None:
            call = self.action if self._key is None else f"{self.action} of {self._key!r}"
            _logger.info(
                "%s failed, attempt %d of %s follows in %.3g s: %s", call, self._made, policy.attempts, delay, error
            )
        await pause(delay)
        return True
