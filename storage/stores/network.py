"""What the stores on a network share: timeouts, trusted certificates, and the ``Range`` header."""

from __future__ import annotations

import asyncio
import socket
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakSet

from storage._core.durations import seconds
from storage._core.retry import RetryPolicy
from storage.types import ByteRange

if TYPE_CHECKING:
    import ssl

__all__ = [
    "CONNECT_TIMEOUT",
    "READ_TIMEOUT",
    "OpenSockets",
    "ProgressTimeout",
    "Timeouts",
    "range_header",
    "ssl_context",
]

#: Default seconds that a store waits for a connection, and for progress on one.
CONNECT_TIMEOUT = 5
READ_TIMEOUT = 20

#: Seconds that a client waits for its sockets to be closed, and between two looks. Cancelled handshakes took up to
#: 10 ms.
CLOSE_TIMEOUT = 1.0
POLL_INTERVAL = 0.001

#: More bytes than any object has; servers count in 64 bits, and reject numbers that do not fit.
_LARGEST = 1 << 62


class Timeouts:
    """
    How long to wait for a server.

    Args:
        connect_timeout: seconds, or a timedelta, that setting up a connection may take.
        read_timeout: seconds without progress in either direction after which an attempt fails.
        retry_timeout: seconds within which all attempts of one call must begin.

    Attributes:
        connect: the *connect_timeout* in seconds.
        read: the *read_timeout* in seconds.
        retry: the *retry_timeout* in seconds.
        policy: the retries that fit into `retry`.
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
        self.policy: RetryPolicy = RetryPolicy(budget=self.retry)


class OpenSockets:
    """
    The sockets of a client, so that its `close` can wait until they are closed.

    When a task is cancelled during a TLS handshake, asyncio ends the handshake some milliseconds later (CPython 3.11 to
    3.13, measured). If the event loop ends before that, the socket stays open, with a ResourceWarning.
    """

    def __init__(self) -> None:
        self._sockets: WeakSet[socket.socket] = WeakSet()

    def make(self, address: tuple[Any, ...]) -> socket.socket:
        """Return a new socket for an address; this is for aiohttp's ``socket_factory``."""
        family, kind, protocol, *_ = address
        made = socket.socket(family, kind, protocol)
        self._sockets.add(made)
        return made

    async def wait_closed(self) -> None:
        """Wait until all sockets are closed, but no longer than `CLOSE_TIMEOUT`."""
        for _ in range(round(CLOSE_TIMEOUT / POLL_INTERVAL)):
            if all(each.fileno() < 0 for each in self._sockets):
                return
            await asyncio.sleep(POLL_INTERVAL)  # asyncio has no event for the end of a socket


class ProgressTimeout:
    """
    A time limit that every step of progress restarts: ``async with ProgressTimeout(20) as progress:``.

    The block is left with a `TimeoutError` that many *seconds* after the last `step`.
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
        """Restart the time limit, because there was progress."""
        self._limit.reschedule(self._loop.time() + self._seconds)

    def rest(self) -> None:
        """Stop the clock until the next `step`, while the block does not wait for the server."""
        self._limit.reschedule(None)


def ssl_context(ca_bundle: str | None) -> ssl.SSLContext | bool:
    """Return aiohttp's ``ssl`` argument: trust the certificates of a file, or those that the system trusts."""
    import ssl

    return True if ca_bundle is None else ssl.create_default_context(cafile=ca_bundle)


def range_header(byte_range: ByteRange) -> str:
    """Return the ``Range`` header of a range that is not empty."""
    if byte_range.last is not None:
        return f"bytes=-{min(byte_range.last, _LARGEST)}"
    return f"bytes={byte_range.start}-{'' if byte_range.stop is None else min(byte_range.stop, _LARGEST) - 1}"
