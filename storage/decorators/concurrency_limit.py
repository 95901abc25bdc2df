"""`ConcurrencyLimitStore`: a limit on concurrent calls."""

from __future__ import annotations

from typing import TypeVar

import anyio

from storage._concurrency.per_loop import PerLoop
from storage._core.traits import Trait
from storage.base import ObjectStore
from storage.decorators.bases.interceptor import Call, Interceptor
from storage.decorators.bases.streams import Pull
from storage.types import In, Out

__all__ = ["ConcurrencyLimitStore"]

T = TypeVar("T")


class ConcurrencyLimitStore(Interceptor[In, Out]):
    """
    At most *limit* calls run concurrently in the store below; the others wait and run in the order in which they came.

    Each object of a bulk call, each step of a listing and each read of an open object counts as one call, and between
    them none is counted. A put is not counted while it waits for the caller's own stream, which may be read from the
    same store.

    Args:
        base: the store below.
        limit: the number of calls, at least 1.
    """

    _traits = frozenset({Trait.LIMITS})

    def __init__(self, base: ObjectStore[In, Out], limit: int) -> None:
        if limit < 1:
            raise ValueError(f"limit must be at least 1, not {limit}")
        super().__init__(base)
        self.limit = limit
        self._semaphore = PerLoop(lambda: anyio.Semaphore(limit, fast_acquire=True))

    async def _intercept(self, action: str, key: str | None, call: Call[T]) -> T:
        semaphore = self._semaphore.get()
        try:
            semaphore.acquire_nowait()
        except anyio.WouldBlock:
            await semaphore.acquire()
        held = True

        async def pulled(pull: Pull) -> bytes | None:
            nonlocal held
            semaphore.release()
            held = False
            piece = await pull()
            await semaphore.acquire()
            held = True
            return piece

        try:
            return await call(pulled)
        finally:
            if held:
                semaphore.release()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base!r}, {self.limit})"
