"""What the stores on a network share: their timeouts, the certificates they trust, the ``Range`` header."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from storage._core.durations import seconds
from storage._core.retry import RetryPolicy
from storage.types import ByteRange

if TYPE_CHECKING:
    import ssl

__all__ = ["CONNECT_TIMEOUT", "READ_TIMEOUT", "ProgressTimeout", "Timeouts", "range_header", "ssl_context"]

#: Seconds that a store waits for a connection, and for progress on one, unless its caller says otherwise.
CONNECT_TIMEOUT = 5
READ_TIMEOUT = 20

#: Bytes that no object has; servers count in 64 bits, and take what does not fit for a mistake.
_LARGEST = 1 << 62


class Timeouts:
    """
    How long to wait for a server.

    Args:
        connect_timeout: seconds, or a timedelta, until a connection must be there.
        read_timeout: seconds without any progress, in either direction, until an attempt is given up.
        retry_timeout: seconds within which attempts are begun, all those of one call together.

    Attributes:
        connect: the first of these in seconds.
        read: the second.
        retry: the third.
        policy: retries a call for so long.
    """

    def __init__(
        self,
        connect_timeout: float | timedelta,
        read_timeout: float | timedelta,
        retry_timeout: float | timedelta,
    ) -> None:
        self.connect: float = seconds("connect_timeout", connect_timeout)
        self.read: float = seconds("read_timeout", read_timeout)
        self.retry: float = seconds("retry_timeout", retry_timeout, allow_zero=True)
        self.policy = RetryPolicy(budget=self.retry)


class ProgressTimeout:
    """
    A time limit that begins anew with every step of progress: ``async with ProgressTimeout(20) as progress:``.

    `TimeoutError` is raised out of the block so many *seconds* after the last `step`.
    """

    def __init__(self, seconds: float) -> None:
        self._limit = asyncio.timeout(seconds)
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()

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


def ssl_context(ca_bundle: str | None) -> ssl.SSLContext | bool:
    """Return, for aiohttp, the certificates to trust: those of a file, or those that the system does."""
    import ssl

    return True if ca_bundle is None else ssl.create_default_context(cafile=ca_bundle)


def range_header(byte_range: ByteRange) -> str:
    """Return the ``Range`` header of a range that is not empty."""
    if byte_range.last is not None:
        return f"bytes=-{min(byte_range.last, _LARGEST)}"
    return f"bytes={byte_range.start}-{'' if byte_range.stop is None else min(byte_range.stop, _LARGEST) - 1}"
