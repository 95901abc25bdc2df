"""`CountingStore`: a store that counts what it is asked for."""

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
    Passes every call on, and counts.

    A call is what its caller made: a bulk call is one, a listing is one with all its steps, and an open object is one
    with all that is read of it.

    Args:
        base: the store below.

    Attributes:
        calls: how often each method was called.
        errors: how often each of them failed; a missing key is an answer, and counts here too.
        bytes_in: bytes that were put, where they are known: those of values (of a `JsonStore` below) are not.
        bytes_out: bytes that were read, likewise.
        running: calls that the store below is at work on now.
        most_at_once: how many there were at most.
    """

    _steppable = True

    def __init__(self, base: ObjectStore[In, Out]) -> None:
        super().__init__(base)
        self.running: int = 0
        self.reset()

    def reset(self) -> None:
        """Begin to count anew."""
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
