"""What the stores behind a network share: their timeouts, and how long they try again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self, TypeVar

from storage._concurrency.backoff import full_jitter, pause
from storage._core.durations import seconds
from storage.errors import StorageError

if TYPE_CHECKING:
    import ssl

__all__ = ["Patience", "Progressing", "trusting"]

T = TypeVar("T")

#: Seconds that the first wait before another attempt takes at most, and any wait; the wait itself is random.
FIRST_WAIT, LONGEST_WAIT = 0.1, 5.0


class Patience:
    """
    How long to wait for a server.

    Args:
        connect_timeout: seconds, or a timedelta, until a connection must be there.
        read_timeout: seconds without any progress, in either direction, until an attempt is given up.
        retry_timeout: seconds within which attempts are begun, all those of one call together.
    """

    def __init__(
        self,
        connect_timeout: float | timedelta = 5,
        read_timeout: float | timedelta = 20,
        retry_timeout: float | timedelta = 60,
    ) -> None:
        self.connect: float = seconds("connect_timeout", connect_timeout)
        self.read: float = seconds("read_timeout", read_timeout)
        self.retry: float = seconds("retry_timeout", retry_timeout, or_none_at_all=True)

    async def persist(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """
        Return what *attempt* returns, once it raises no error that is ``retryable``, or the time is over.

        The waits between attempts grow, and are random: `storage._concurrency.backoff.full_jitter`.
        """
        clock = asyncio.get_running_loop().time
        begun = clock()
        number = 0
        while True:
            try:
                return await attempt()
            except StorageError as error:
                wait = full_jitter(number, FIRST_WAIT, LONGEST_WAIT)
                if not error.retryable or clock() - begun + wait >= self.retry:
                    raise
            await pause(wait)
            number += 1


class Progressing:
    """A time limit that begins anew with every step of progress: ``async with Progressing.within(20) as progress:``."""

    def __init__(self, seconds: float) -> None:
        self._limit = asyncio.timeout(seconds)
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()

    @classmethod
    def within(cls, seconds: float) -> Self:
        """Raise `TimeoutError` out of the block *seconds* after the last `step`."""
        return cls(seconds)

    async def __aenter__(self) -> Self:
        await self._limit.__aenter__()
        return self

    async def __aexit__(self, *raised: Any) -> None:
        await self._limit.__aexit__(*raised)

    def step(self) -> None:
        """Say that something has moved."""
        self._limit.reschedule(self._loop.time() + self._seconds)

    def rest(self) -> None:
        """Let no time pass until the next `step`: it is not the other side that is waited for."""
        self._limit.reschedule(None)


def trusting(ca_bundle: str | None) -> ssl.SSLContext | bool:
    """Return, for aiohttp, the certificates to trust: those of a file, or those that the system does."""
    import ssl

    return True if ca_bundle is None else ssl.create_default_context(cafile=ca_bundle)
