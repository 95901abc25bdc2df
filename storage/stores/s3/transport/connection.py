"""`Connection`: bytes to a server and from it. One driver awaits them on an event loop, the other blocks its thread."""

from __future__ import annotations

import select
import socket
import ssl
import struct
from abc import ABC, abstractmethod
from typing import NamedTuple

__all__ = ["READ", "SLICE", "WRITE", "Address", "Connection", "Driver", "acknowledged", "ready_for"]

#: What a socket may be ready for.
READ, WRITE = 1, 2

#: Bytes that are sent in one step; each step counts as progress, and in between an early answer is noticed.
SLICE = 256 << 10


class Address(NamedTuple):
    """
    Where a connection leads.

    Attributes:
        host: name or IP address, without brackets.
        port: its port.
        tls: the trusted certificates, for a connection with TLS; None for one without.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None = None


class Connection(ABC):
    """
    An open connection to a server.

    Attributes:
        last_used: when it was given back, by the monotonic clock.
        limit: seconds without progress after which a wait for the server ends. A new connection has the connect
            timeout here.
    """

    last_used: float = 0.0
    limit: float

    @abstractmethod
    async def send(self, data: bytes) -> bool:
        """
        Send *data*; return False if the server has begun to answer, or closed the connection, before all was sent.

        Raises:
            TimeoutError: the server took nothing for as long as the limit.
            OSError: the connection is broken.
        """

    @abstractmethod
    async def receive(self, least: int = 1) -> bytes:
        """
        Wait until there are *least* bytes or more, or as many as are kept for one read; ``b""`` at the end.

        Raises:
            TimeoutError: nothing came, and nothing went, for as long as the limit.
            OSError: the connection is broken.
        """

    @abstractmethod
    async def start_tls(self, host: str, tls: ssl.SSLContext) -> None:
        """
        Go on with TLS, in a connection that a proxy has made to *host*.

        Raises:
            TimeoutError: it took longer than the limit.
            OSError: the connection is broken, or the certificate is not trusted.
        """

    @abstractmethod
    def is_idle(self) -> bool:
        """Return whether an unused connection is open and has received nothing, as far as this system knows."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection, now and without waiting. May be repeated."""

    @abstractmethod
    def forget(self) -> None:
        """In a forked child: let go of the connection without a word to the server; the parent uses it."""


class Driver(ABC):
    """
    How connections are made and waited for: on an event loop, or in the calling thread.

    Attributes:
        read_timeout: seconds without progress after which a wait ends; it may be a tenth later.
    """

    read_timeout: float

    @abstractmethod
    async def connect(self, address: Address) -> Connection:
        """
        Open a connection.

        Raises:
            TimeoutError: it took longer than the connect timeout.
            OSError: no address of the host answers, or its certificate is not trusted.
        """

    @abstractmethod
    async def acquire(self) -> None:
        """Wait for a place among the concurrent requests; first come, first served."""

    @abstractmethod
    def release(self) -> None:
        """Give the place to the next one."""

    @abstractmethod
    async def close(self) -> None:
        """Wait, for a moment at most, until the sockets of closed connections are closed."""


def ready_for(opened: socket.socket, events: int, seconds: float) -> int:
    """
    Return for which of the events a socket is ready, after that many seconds at most; an end is to be read.

    Raises:
        OSError: the socket was closed, by another thread.
    """
    if (number := opened.fileno()) < 0:
        raise ConnectionAbortedError("the connection was closed meanwhile")
    if hasattr(select, "poll"):  # takes 0.6 us, and any number of a descriptor
        asked = select.poll()
        asked.register(number, (select.POLLIN if events & READ else 0) | (select.POLLOUT if events & WRITE else 0))
        found = asked.poll(1000 * seconds)
        event = found[0][1] if found else 0
        return (READ if event & ~select.POLLOUT else 0) | (WRITE if event & select.POLLOUT else 0)
    readable, writable, _ = select.select([number], [number] if events & WRITE else [], [], seconds)
    return (READ if readable else 0) | (WRITE if writable else 0)


def acknowledged(opened: socket.socket) -> int:
    """
    Return how many bytes the other side's system has acknowledged; 0 where this system (not Linux) does not tell.

    All that a slow server has still to get may be in the buffers of this system: megabytes, for which it takes minutes.
    """
    if not hasattr(socket, "TCP_INFO"):
        return 0
    info = opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKNOWLEDGED.size)
    return int(_ACKNOWLEDGED.unpack(info)[0]) if len(info) == _ACKNOWLEDGED.size else 0


#: ``tcpi_bytes_acked`` in Linux's ``struct tcp_info``, with what is before it.
_ACKNOWLEDGED = struct.Struct("@120xQ")
