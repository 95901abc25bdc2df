"""`LoopDriver`: connections that are awaited on an asyncio event loop."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from typing import cast

from storage.stores.network import OpenSockets, Timeouts
from storage.stores.s3.transport.connection import (
    READ,
    SLICE,
    Address,
    Connection,
    Driver,
    acknowledged,
    ready_for,
)

__all__ = ["LoopDriver"]

#: Bytes received and not taken, from which on the socket is not read.
_FULL = 1 << 20

#: Bytes that asyncio keeps for a socket that takes no more, before a writer has to wait.
_UNSENT = 512 << 10

#: Seconds after which the next address of a host is tried too (RFC 8305, section 8).
_NEXT_ADDRESS = 0.25


class _LoopConnection(asyncio.Protocol, Connection):
    """A connection on an event loop; one task at a time uses it."""

    def __init__(self, driver: LoopDriver, opened: socket.socket, connect_timeout: float) -> None:
        self.limit = connect_timeout
        self._driver = driver
        self._socket = opened
        self._loop = driver.loop
        self._transport: asyncio.Transport | None = None
        self._received: deque[bytes] = deque()
        self._size = 0
        self._least = 1
        self._reading = True
        self._writable = True
        self._ended = False
        self._error: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._progress = (0, 0)
        self.deadline: float = 0.0  # when the wait ends, by the loop's clock; 0 while nothing waits

    # -- called by the transport -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self._transport.set_write_buffer_limits(_UNSENT)
        self._driver.remember(self)

    def data_received(self, data: bytes) -> None:
        self._received.append(data)
        self._size += len(data)
        if self._size >= _FULL and self._reading and self._transport is not None:
            self._transport.pause_reading()
            self._reading = False
        if self.deadline:
            self.deadline = self._loop.time() + self.limit
        if self._size >= self._least or not self._reading:
            self._wake()

    def eof_received(self) -> None:
        self._ended = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._error = self._error or exc
        self._driver.forget(self)
        self._wake()

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._wake()

    # -- called by the task ------------------------------------------------------------------------------------------

    async def send(self, data: bytes) -> bool:
        transport = self._open_transport()
        if len(data) <= SLICE:
            transport.write(data)
        else:
            view = memoryview(data)
            for begin in range(0, len(data), SLICE):
                await asyncio.sleep(0)  # the event loop reads an answer: a write after a reset would lose it
                if self._received or self._ended:
                    return False
                transport.write(view[begin : begin + SLICE])
                while not (self._writable or self._received or self._ended):
                    await self._wait()
        while not (self._writable or self._received or self._ended):
            await self._wait()
        return self._writable

    async def receive(self, least: int = 1) -> bytes:
        self._least = least
        while self._size < least and self._reading and not self._ended:
            await self._wait()
        if not self._received:
            if self._error is not None:
                raise self._error
            return b""
        data = self._received.popleft() if len(self._received) == 1 else b"".join(self._received)
        self._received.clear()
        self._size = 0
        if not self._reading and self._transport is not None and not self._ended:
            self._transport.resume_reading()
            self._reading = True
        return data

    async def start_tls(self, host: str, tls: ssl.SSLContext) -> None:
        async with asyncio.timeout(self.limit):
            transport = await self._loop.start_tls(self._open_transport(), self, tls, server_hostname=host)
        if transport is None:
            raise ConnectionResetError("the connection was closed while TLS began")
        self.connection_made(transport)

    def is_idle(self) -> bool:
        # What came since the loop looked last is in the socket: after a pause of the loop, often the server's close.
        return not (self._received or self._ended or ready_for(self._socket, READ, 0))

    def close(self) -> None:
        self._ended = True
        if self._transport is not None:
            self._transport.abort()

    def forget(self) -> None:
        self._ended = True  # the child runs no loop, and closes the descriptor when it ends
        self._transport = None  # to abort it would change what the parent's loop waits for

    def look(self, now: float) -> None:
        """End the wait of the task, if nothing has come or gone for as long as the limit."""
        if not self.deadline or self._transport is None:
            return
        before = self._progress
        self._progress = (self._transport.get_write_buffer_size(), acknowledged(self._socket))
        if self._progress != before:
            self.deadline = now + self.limit
        elif self.deadline <= now:
            self._error = TimeoutError()
            self._ended = True
            self._wake()

    async def _wait(self) -> None:
        """Wait until something has come, has gone, or failed."""
        self._waiter = waiter = self._loop.create_future()
        self.deadline = self._loop.time() + self.limit
        try:
            await waiter
        finally:
            self._waiter = None
            self.deadline = 0.0
        if isinstance(self._error, TimeoutError):
            raise self._error

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _open_transport(self) -> asyncio.Transport:
        if self._transport is None or self._ended:
            raise self._error or ConnectionResetError("the connection is closed")
        return self._transport


class LoopDriver(Driver):
    """
    Connections on the running event loop.

    Args:
        timeouts: how long to connect, and to wait for progress.
        limit: the most concurrent requests.

    Attributes:
        loop: the event loop.
    """

    def __init__(self, timeouts: Timeouts, limit: int) -> None:
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.read_timeout: float = timeouts.read
        self._connect_timeout = timeouts.connect
        self._places = asyncio.Semaphore(limit)
        self._sockets = OpenSockets()
        self._open: set[_LoopConnection] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def connect(self, address: Address) -> Connection:
        import aiohappyeyeballs

        async with asyncio.timeout(self._connect_timeout):
            found = await self.loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
            made = await aiohappyeyeballs.start_connection(
                found, happy_eyeballs_delay=_NEXT_ADDRESS, loop=self.loop, socket_factory=self._sockets.make
            )
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = _LoopConnection(self, made, self._connect_timeout)
            name = None if address.tls is None else address.host
            await self.loop.create_connection(lambda: connection, sock=made, ssl=address.tls, server_hostname=name)
        return connection

    async def acquire(self) -> None:
        await self._places.acquire()

    def release(self) -> None:
        self._places.release()

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await self._sockets.wait_closed()

    def remember(self, connection: _LoopConnection) -> None:
        """Look at the waits of a new connection."""
        self._open.add(connection)
        if self._timer is None:
            self._look()

    def forget(self, connection: _LoopConnection) -> None:
        """Forget a connection that is closed."""
        self._open.discard(connection)

    def _look(self) -> None:
        """
        End the waits that are too long.

        One timer looks at all connections: a timer for each wait costs 2 us.
        """
        now = self.loop.time()
        for connection in list(self._open):
            connection.look(now)
        self._timer = self.loop.call_later(self.read_timeout / 10, self._look) if self._open else None
