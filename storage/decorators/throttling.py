"""`ThrottlingStore`: a limit on calls and bytes per second."""

from __future__ import annotations

from time import monotonic
from typing import TypeVar

import anyio
from anyio import sleep

from storage._concurrency.per_loop import PerLoop
from storage._core.traits import Trait
from storage.base import ObjectStore
from storage.decorators.bases.interceptor import Call, Interceptor
from storage.decorators.bases.streams import Pull, size_of
from storage.types import In, Out

__all__ = ["ThrottlingStore"]

T = TypeVar("T")

#: Shorter waits, in seconds, are skipped: they are rounding errors.
_INSTANT = 1e-6


class ThrottlingStore(Interceptor[In, Out]):
    """
    Limits the rate of calls and of bytes; calls over the limit wait, in the order in which they came.

    Each object of a bulk call counts as one call; a listing is one call, and so is an open object with all its reads.
    The bytes are those that are put and those that are read. The size of a read is known only after it, so the next
    call waits for it.

    Args:
        base: the store below.
        rate: calls per second; None for no limit.
        burst: calls that may come without waiting after a pause.
        bytes_per_second: bytes put and read per second, where those of one second may come without waiting; None for no
            limit.
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
    A token bucket: tokens come at a steady rate, and up to *size* of them are kept.

    A call may take more tokens than there are. Then it waits until they have come, and so do the calls after it.
    """

    def __init__(self, rate: float, size: float) -> None:
        self._rate = rate
        self._size = size
        self._tokens = size
        self._counted_at = monotonic()
        self._queue = PerLoop(lambda: anyio.Lock(fast_acquire=True))  # first come, first served

    async def take(self, tokens: float) -> None:
        """Take tokens, and wait until they have come."""
        queue = self._queue.get()
        if not queue.locked():  # so that no call waits already
            self.take_ahead(tokens)
            if self._tokens >= 0:
                return
            self._tokens += tokens  # not enough tokens: put them back, and wait in the queue
        async with queue:
            self.take_ahead(tokens)
            try:
                while (wait := -self._tokens / self._rate) > _INSTANT:
                    await sleep(wait)
                    self.take_ahead(0)
            except BaseException:
                self._tokens += tokens  # cancelled: put them back for the next call
                raise

    def take_ahead(self, tokens: float) -> None:
        """Take tokens without waiting; the next call waits for them."""
        now = monotonic()
        self._tokens = min(self._size, self._tokens + (now - self._counted_at) * self._rate) - tokens
        self._counted_at = now
