"""How often, for how long and after which pauses a call is made again."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from time import monotonic

from storage._concurrency.backoff import full_jitter, pause
from storage.errors import StorageError

__all__ = ["Attempts", "Patience"]

_logger = logging.getLogger("storage")


@dataclass(frozen=True, slots=True)
class Patience:
    """
    The bounds of every call of a store.

    Attributes:
        attempts: how often it is made at most.
        budget: seconds after which no other attempt is begun.
        base_delay: seconds that the first pause takes at most; the others take up to twice as long each.
        max_delay: seconds that any pause takes at most.
    """

    attempts: int
    budget: float
    base_delay: float
    max_delay: float


class Attempts:
    """
    The attempts of one call.

    Args:
        patience: their bounds.
        action: what is attempted.
        key: with which object; None for what is not about one.
        begun: when it began, by the monotonic clock; None for now.
    """

    __slots__ = ("_begun", "_key", "_made", "_patience", "action")

    def __init__(self, patience: Patience, action: str, key: str | None, begun: float | None = None) -> None:
        self._patience = patience
        self.action: str = action
        self._key = key
        self._begun = monotonic() if begun is None else begun
        self._made = 1

    def of(self, action: str, key: str) -> Attempts:
        """Return the attempts of another call, which has to do with what is left of this one's time."""
        return Attempts(self._patience, action, key, self._begun)

    @property
    def over(self) -> bool:
        """Whether the time has run out."""
        return monotonic() >= self._begun + self._patience.budget

    async def another(self, error: StorageError) -> bool:
        """Say after an *error* whether there is to be another attempt, and wait for its time to come."""
        bounds = self._patience
        if not error.retryable or self._made >= bounds.attempts:
            return False
        asked: float = getattr(error, "retry_after", None) or 0  # where a server names a time, nobody comes earlier
        delay = asked + full_jitter(self._made - 1, bounds.base_delay, bounds.max_delay)
        if monotonic() + delay >= self._begun + bounds.budget:
            return False
        self._made += 1
        call = self.action if self._key is None else f"{self.action} of {self._key!r}"
        _logger.info(
            "%s failed, attempt %d of %d follows in %.3g s: %s", call, self._made, bounds.attempts, delay, error
        )
        await pause(delay)
        return True
