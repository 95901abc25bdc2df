"""`TimeoutStore`: a time limit for every call."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TypeVar

import anyio

from storage._core.durations import seconds
from storage.base import ObjectStore
from storage.decorators.bases.interceptor import Call, Interceptor
from storage.decorators.bases.streams import Pull
from storage.errors import StoreTimeoutError
from storage.types import In, Out

__all__ = ["TimeoutStore"]

T = TypeVar("T")


class TimeoutStore(Interceptor[In, Out]):
    """
    A call that takes too long is cancelled, and raises `StoreTimeoutError`.

    Each object of a bulk call, each step of a listing and each read of an open object counts as one call. The time in
    which the caller's own stream produces its next piece does not count, and the time starts again with each piece.

    A write that timed out may have taken effect, like any write that is cancelled. On local stores the error is raised
    only after the write has ended, so that it changes nothing afterwards.

    Args:
        base: the store below.
        timeout: seconds, or a timedelta, for each call.
    """

    def __init__(self, base: ObjectStore[In, Out], timeout: float | timedelta) -> None:
        self.timeout: float = seconds("timeout", timeout)
        super().__init__(base)

    async def _intercept(self, action: str, key: str | None, call: Call[T]) -> T:
        with anyio.move_on_after(self.timeout) as scope:

            async def pulled(pull: Pull) -> bytes | None:
                scope.deadline = math.inf
                try:
                    return await pull()
                finally:
                    scope.deadline = anyio.current_time() + self.timeout

            return await call(pulled)
        what = "a step of a listing" if key is None else action
        raise StoreTimeoutError(f"{what} took longer than {self.timeout:g} s", key=key, store=self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base!r}, {self.timeout:g})"
