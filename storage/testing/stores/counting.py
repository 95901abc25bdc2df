"""`CountingStore`: a store that counts its calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TypeVar

from storage.base import ObjectStore
from storage.decorators.bases.observer import Observer, Operation
from storage.types import In, Out

__all__ = ["CountingStore"]

T = TypeVar("T")


class CountingStore(Observer[In, Out]):
    """
    Passes every call on and counts calls and bytes.

    A bulk call is one call, a listing is one call with all its items, and an open object is one call with all its
    reads.

    Args:
        base: the store below.

    Attributes:
        calls: how often each method was called.
        errors: how often each method failed; a missing key counts as a failure.
        bytes_in: bytes that were put, if known: those of values (of a `JsonStore` below) are not.
        bytes_out: bytes that were read, if known.
        running: calls that are running in the store below now.
        most_at_once: the most calls that were running at the same time.
    """

    _steppable = True

    def __init__(self, base: ObjectStore[In, Out]) -> None:
        super().__init__(base)
        self.running: int = 0
        self.reset()

    def reset(self) -> None:
        """Set all counts back to zero."""
        self.calls: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.bytes_in: int = 0
        self.bytes_out: int = 0
        self.most_at_once: int = self.running

    def _on_begin(self, operation: Operation) -> None:
        self.calls[operation.action] += 1

    async def _around_step(self, operation: Operation, call: Callable[[], Awaitable[T]]) -> T:
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        try:
            return await call()
        finally:
            self.running -= 1

    def _on_end(self, operation: Operation) -> None:
        self.bytes_in += operation.sent or 0
        self.bytes_out += operation.received or 0
        if operation.error is not None:
            self.errors[operation.action] += 1
