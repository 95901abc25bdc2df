"""`ThrottlingStore`: not too many calls, and not too many bytes, per second."""

from __future__ import annotations

from time import monotonic
from typing import TypeVar

import anyio
from anyio import sleep

from storage._core.traits import Trait
from storage.base import ObjectStore
from storage.decorators.bases.interceptor import Call, Interceptor
from storage.decorators.bases.streams import Pull, size_of
from storage.types import In, Out

__all__ = ["ThrottlingStore"]

T = TypeVar("T")

#: Seconds that are not worth waiting for: what rounding leaves of a wait.
_INSTANT = 1e-6


class ThrottlingStore(Interceptor[In, Out]):
    """
    Calls and bytes go through at no more than a rate; what is too much waits, in the order in which it came.

    Each object of a bulk call is a call of its own; a listing is one, and an open object is one, whatever is read of
    it. Bytes are those that are put and those that are read. What was read is known when it is there: the next call
    waits for it.

    Args:
        base: the store below.
        rate: calls per second; None for any number.
        burst: how many calls may come at once after some time without any.
        bytes_per_second: bytes put and read, of which those of one second may come at once; None for any number.
    """

    _traits = frozenset({Trait.THROTTLES})

    def __init__(
        self,
        base: ObjectStore[In, Out],
        rate: float | None = None,
        *,
        burst: int = 1,
        bytes_per_second: float | None = None,
    ) -> None:
        if rate is None and bytes_per_second is None:
            raise ValueError("give rate, bytes_per_second or both")
        for name, value in {"rate": rate, "burst": burst, "bytes_per_second": bytes_per_second}.items():
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be more than 0, not {value}")
        super().__init__(base)
        self.rate = rate
        self.burst = burst
        self.bytes_per_second = bytes_per_second
        self._calls = None if rate is None else _TokenBucket(rate, burst)
        self._bytes = None if bytes_per_second is None else _TokenBucket(bytes_per_second, bytes_per_second)

    async def _intercept(self, action: str, key: str | None, call: Call[T]) -> T:
        if self._calls is not None and action not in ("next", "read"):
            await self._calls.take(1)
        if self._bytes is None:
            return await call()
        return await self._metered(self._bytes, call)

    async def _metered(self, bucket: _TokenBucket, call: Call[T]) -> T:
        async def pulled(pull: Pull) -> bytes | None:
            piece = await pull()
            if piece:
                await bucket.take(len(piece))
            return piece

        await bucket.take(call.size)
        result = await call(pulled)
        bucket.take_ahead(size_of(result) or 0)
        return result

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base!r}, rate={self.rate}, bytes_per_second={self.bytes_per_second})"


class _TokenBucket:
    """
    Tokens that come at a steady rate and are kept up to some number, for those who wait in line for them.

    More can be taken than there are: who does so waits until they have come, and those behind with him.
    """

    def __init__(self, rate: float, size: float) -> None:
        self._rate = rate
        self._size = size
        self._tokens = size
        self._counted_at = monotonic()
        self._queue = anyio.Lock(fast_acquire=True)  # which is first come, first served

    async def take(self, tokens: float) -> None:
        """Take some; return when there were so many."""
        if not self._queue.locked():  # so that nobody was here before
            self.take_ahead(tokens)
            if self._tokens >= 0:
                return
            self._tokens += tokens  # they are not there yet: they are left, and waited for in line
        async with self._queue:
            self.take_ahead(tokens)
            try:
                while (wait := -self._tokens / self._rate) > _INSTANT:
                    await sleep(wait)
                    self.take_ahead(0)
            except BaseException:
                self._tokens += tokens  # cancelled: they are left to the next
                raise

    def take_ahead(self, tokens: float) -> None:
        """Take some without waiting, at the cost of the next one."""
        now = monotonic()
        self._tokens = min(self._size, self._tokens + (now - self._counted_at) * self._rate) - tokens
        self._counted_at = now
