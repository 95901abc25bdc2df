"""`Pool`: requests to one server, over connections that are kept."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from io import BytesIO
from typing import NamedTuple

from storage._concurrency.forks import PROCESS, refuse_in_child, renew_after_fork
from storage.errors import StoreClosedError
from storage.stores.s3.transport.connection import Address, Connection, Driver
from storage.stores.s3.transport.exchange import BadAnswerError, Exchange

__all__ = ["Answer", "Pool", "Proxy", "Received"]

#: Seconds for which an unused connection is kept: servers close them after 20 s (Amazon) to 75 s (nginx).
IDLE = 15.0

#: Bytes that are waited for at once, while an answer is received as a whole.
_PIECE = 256 << 10

#: Bytes of the answer that says why a request was refused, or sends the caller elsewhere.
_LONGEST_ERROR = 64 << 10

#: Bytes of a body that is sent in one system call with its head.
_TOGETHER = 64 << 10

#: Methods that a server may get twice: if it closes a kept connection just when it is used, they are sent again.
_REPEATABLE = ("GET", "HEAD")


class Proxy(NamedTuple):
    """
    A proxy for HTTP.

    Attributes:
        address: where it is.
        authorization: the header with its password, None for none.
    """

    address: Address
    authorization: str | None = None

    def __repr__(self) -> str:
        return f"Proxy({self.address.host!r}, {self.address.port!r})"


class Received(NamedTuple):
    """An answer that was received to its end; *body* is cut after 64 KiB where the status is an error's."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Answer:
    """
    An answer whose body is still to be read.

    Attributes:
        status: the HTTP status.
        headers: names in lower case.
    """

    __slots__ = ("_connection", "_exchange", "_is_sent", "_pool", "headers", "status")

    def __init__(self, pool: Pool, connection: Connection, exchange: Exchange, is_sent: bool) -> None:
        self._pool = pool
        self._is_sent = is_sent
        self._connection: Connection | None = connection
        self._exchange = exchange
        self.status: int = exchange.status
        self.headers: Mapping[str, str] = exchange.headers

    async def read(self, size: int, least: int = 1) -> bytes:
        """
        Return up to *size* bytes of the body, at least one; ``b""`` at its end. It waits for *least* where it can.

        Raises:
            TimeoutError, OSError, BadAnswerError: the rest does not come.
        """
        exchange = self._exchange
        while not exchange.available and not exchange.ended:
            await self._receive(least)
        data = exchange.take(size)
        if exchange.ended and not exchange.available:
            self.close()
        return data

    async def read_all(self, limit: int | None = None) -> bytes:
        """Return the whole body, or its first bytes if it has more than *limit*."""
        exchange = self._exchange
        if limit is None and exchange.length is not None and exchange.length > _PIECE:
            return await self._read_much(exchange.length)
        while not exchange.ended and (limit is None or exchange.available < limit):
            left = 1 if exchange.length is None else min(exchange.length - exchange.available, _PIECE)
            await self._receive(left)
        data = exchange.take(-1 if limit is None else limit)
        self.close()
        return data

    async def _read_much(self, length: int) -> bytes:
        """Return a large body, of which there is one copy only: a BytesIO gives away the bytes object that it fills."""
        whole = BytesIO()
        while piece := await self.read(_PIECE, min(length - whole.tell(), _PIECE)):
            whole.write(piece)
        return whole.getvalue()

    def close(self) -> None:
        """Give the connection back, or close it if there is anything left on it. May be repeated."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.give_back(connection, self._is_sent and self._exchange.reusable)

    async def _receive(self, least: int) -> None:
        connection = self._connection
        if connection is None:
            raise BadAnswerError("the answer is closed")
        try:
            await _received(connection, self._exchange, least)
        except BaseException:
            self._connection = None
            self._pool.give_back(connection, False)
            raise


class Pool:
    """
    Requests to one server.

    Args:
        driver: how connections are made.
        address: where the server is.
        proxy: the proxy on the way, None for none.
    """

    def __init__(self, driver: Driver, address: Address, proxy: Proxy | None = None) -> None:
        self._driver = driver
        self._address = address
        self._proxy = proxy
        self._idle: deque[Connection] = deque()
        self._used: set[Connection] = set()
        self._is_closed = False
        self._process = PROCESS.number
        renew_after_fork(self)
        self._target = ""
        self._lines = ""
        if proxy is not None and address.tls is None:
            # a proxy makes the signed header Host of this: without a port where the signer's has none
            self._target = f"http://{_authority(address).removesuffix(':80')}"
            self._lines = f"proxy-authorization: {proxy.authorization}\r\n" if proxy.authorization else ""

    async def fetch(
        self, method: str, target: str, lines: str, body: bytes | None = None, *, patience: float = 0.0
    ) -> Received:
        """
        Send a request and return its whole answer, when one of the places for requests is free.

        Args:
            method: ``"GET"`` and so on.
            target: the path and the query, quoted.
            lines: the lines of the headers, each with its line end.
            body: the body of the request.
            patience: seconds by which the server may make no progress longer than the read timeout.

        Raises:
            TimeoutError: there was no connection, or no progress, in time.
            OSError: there is no connection.
            StoreClosedError: the pool was closed meanwhile.
            BadAnswerError: what came is no answer, or not the whole.
        """
        await self._driver.acquire()
        try:
            answer = await self.send(method, target, lines, body, patience=patience)
            try:
                return Received(
                    answer.status,
                    answer.headers,
                    await answer.read_all(None if answer.status < 300 else _LONGEST_ERROR),
                )
            finally:
                answer.close()
        finally:
            self._driver.release()

    async def send(
        self, method: str, target: str, lines: str, body: bytes | None = None, *, patience: float = 0.0
    ) -> Answer:
        """
        Send a request and return its answer, whose body is still to be read; open answers take no place.

        Arguments and errors are those of `fetch`.
        """
        head = f"{method} {self._target}{target} HTTP/1.1\r\n{self._lines}{lines}\r\n".encode()
        while True:
            self._check()
            connection = self._kept()
            is_new = connection is None
            if connection is None:
                connection = await self._connect()
            has_begun = False
            try:
                self._used.add(connection)
                self._check()
                connection.limit = self._driver.read_timeout + patience
                exchange = Exchange(method)
                is_sent = await _send(connection, head, body)
                while not exchange.status:
                    has_begun = await _received(connection, exchange, 1) or has_begun
                if not is_sent and exchange.status < 300:
                    raise BadAnswerError("the server answered before it had the whole request")
                return Answer(self, connection, exchange, is_sent)
            except (OSError, BadAnswerError) as cause:
                self.give_back(connection, False)
                if is_new or has_begun or method not in _REPEATABLE or isinstance(cause, TimeoutError):
                    raise
            except BaseException:
                self.give_back(connection, False)
                raise

    def give_back(self, connection: Connection, reusable: bool) -> None:
        """Take a connection that is used no more."""
        self._used.discard(connection)  # before another thread can take it
        if reusable and not self._is_closed:
            connection.last_used = time.monotonic()
            self._idle.append(connection)
        else:
            connection.close()

    async def close(self) -> None:
        """Close all connections; requests that wait on one fail."""
        self._is_closed = True
        for connection in (*self._idle, *self._used):
            connection.close()
        self._idle.clear()
        await self._driver.close()

    def _renew(self) -> None:
        """In a forked child: let go of the connections, which are the parent's, also of one that a thread waits for."""
        for connection in (*self._idle, *self._used):
            connection.forget()
        self._idle.clear()

    def _check(self) -> None:
        """
        Raise where requests cannot be sent.

        Raises:
            StoreClosedError: the pool was closed, or this process was forked since it was made.
        """
        refuse_in_child(self._process)
        if self._is_closed:
            raise StoreClosedError("the store was closed meanwhile")

    def _kept(self) -> Connection | None:
        """Return a kept connection that can be used, None for none; the one that was used last, so that others age."""
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was faster
                return None
            if time.monotonic() - connection.last_used < IDLE and connection.is_idle():
                return connection
            connection.close()
        return None

    async def _connect(self) -> Connection:
        proxy = self._proxy
        address = self._address if proxy is None else proxy.address
        try:
            connection = await self._driver.connect(address)
        except UnicodeError as cause:  # from the lookup, of a name with an empty or a long label
            raise OSError(f"{address.host!r} is no name of a host") from cause
        if proxy is None or self._address.tls is None:
            return connection
        try:
            await self._pass_through(connection, proxy)
            await connection.start_tls(self._address.host, self._address.tls)
        except BaseException:
            connection.close()
            raise
        return connection

    async def _pass_through(self, connection: Connection, proxy: Proxy) -> None:
        """Ask a proxy for a connection to the server."""
        authority = _authority(self._address)
        lines = f"host: {authority}\r\n"
        if proxy.authorization is not None:
            lines += f"proxy-authorization: {proxy.authorization}\r\n"
        exchange = Exchange("CONNECT")
        await connection.send(f"CONNECT {authority} HTTP/1.1\r\n{lines}\r\n".encode("latin-1"))
        while not exchange.status:
            await _received(connection, exchange, 1)
        if not 200 <= exchange.status < 300:
            raise ConnectionRefusedError(f"the proxy {proxy.address.host} refused with HTTP status {exchange.status}")


async def _received(connection: Connection, exchange: Exchange, least: int) -> bool:
    """Feed what comes next to the exchange; return False at the end of the connection."""
    data = await connection.receive(least)
    if data:
        exchange.feed(data)
    else:
        exchange.feed_eof()
    return bool(data)


async def _send(connection: Connection, head: bytes, body: bytes | None) -> bool:
    """Send a request; return whether all of it was sent before the answer began."""
    if not body:
        return await connection.send(head)
    if len(body) <= _TOGETHER:
        return await connection.send(head + body)
    return await connection.send(head) and await connection.send(body)


def _authority(address: Address) -> str:
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{host}:{address.port}"
