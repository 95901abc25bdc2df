"""`FaultProxy`: produces the failures of a network between a client and a server, on loopback."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import NoReturn, Self
from urllib.parse import urlsplit

from storage.testing.proxy.protocols import LIMIT, HttpProtocol, ProxiedRequest, RedisProtocol, WireProtocol

__all__ = ["Fault", "FaultProxy"]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """
    What happens to one request.

    Attributes:
        delay: seconds before anything else happens.
        times: how often the server gets the request, in sequence; the last answer is returned.
        cut_request: bytes of the request's body after which both connections break.
        answer: status and body that the client gets in place of the server's answer; for Redis only the body is used.
        headers: the headers of that answer.
        cut_answer: bytes of the answer's body after which the connection breaks.
        lose: the server handles the request, and the connection breaks in place of the answer.
        reset: a broken connection is reset, not closed.
        silent: the client gets no answer, and the connection stays open.
    """

    delay: float = 0
    times: int = 1
    cut_request: int | None = None
    answer: tuple[int, bytes] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_answer: int | None = None
    lose: bool = False
    reset: bool = False
    silent: bool = False


class _Broken(Exception):  # noqa: N818  # no error: it was requested
    """The connection must break here."""


class FaultProxy:
    """
    A proxy for an HTTP/1.1 or Redis server that applies to each request the `Fault` that *decide* returns.

    ``async with FaultProxy("http://127.0.0.1:9000", decide) as proxy:`` listens at ``proxy.url``. Requests are held in
    memory; answers are passed on as they arrive.

    Args:
        server: the URL of the server: ``http://`` or ``redis://``.
        decide: called with every request, in the order of arrival; it returns None for no fault.
        tls: the TLS context for the clients; None for no TLS.

    Raises:
        ValueError: the URL begins with neither of the two.

    Attributes:
        url: the URL at which it listens, once it is entered.
        requests: the number of requests so far.
        connections: the number of open connections.
    """

    def __init__(
        self,
        server: str,
        decide: Callable[[ProxiedRequest], Fault | None] = lambda request: None,
        *,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        parts = urlsplit(server)
        if parts.scheme not in (
            "http",
            "redis",
        ):  # over TLS, the two sides would wait for each other
            raise ValueError(f"the server's URL must begin with http:// or redis://, not {parts.scheme!r}")
        self._protocol: WireProtocol = RedisProtocol() if parts.scheme == "redis" else HttpProtocol()
        self._server = (parts.hostname or "127.0.0.1", parts.port or self._protocol.port)
        self._decide = decide
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self.url: str = ""
        self.requests: int = 0

    @property
    def connections(self) -> int:  # documented with the class
        return len(self._tasks)

    async def __aenter__(self) -> Self:
        self._listening = await asyncio.start_server(self._begin, "127.0.0.1", 0, ssl=self._tls, limit=LIMIT)
        port = self._listening.sockets[0].getsockname()[1]
        self.url = f"{self._protocol.scheme}{'' if self._tls is None else 's'}://127.0.0.1:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.close()
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)
        await self._listening.wait_closed()

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client's connection until it ends."""
        try:
            async with _Server(self._protocol, *self._server) as server:
                while (request := await self._protocol.request(reader)) is not None:
                    self.requests += 1
                    fault = self._decide(request) or Fault()
                    try:
                        await self._treat(request, fault, server, reader, writer)
                    except _Broken:
                        if fault.reset:
                            _reset(writer)
                        break
        except (OSError, EOFError, asyncio.LimitOverrunError, ssl.SSLError):
            pass  # one of the two closed the connection, as it may
        finally:
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _treat(
        self,
        request: ProxiedRequest,
        fault: Fault,
        server: _Server,
        reader: asyncio.StreamReader,
        client: asyncio.StreamWriter,
    ) -> None:
        if fault.delay:
            await asyncio.sleep(fault.delay)
        if fault.cut_request is not None:
            await server.send(request, fault.cut_request)
            await server.close()
            raise _Broken
        for time in range(1, fault.times + 1):
            await server.send(request)
            last = time == fault.times
            passed_on = last and not (fault.lose or fault.silent or fault.answer)
            await server.answer(request, client if passed_on else None, fault.cut_answer)
        if fault.silent:
            await reader.read()  # until the client gives up
            raise _Broken
        if fault.lose:
            raise _Broken
        if fault.answer is not None:
            status, body = fault.answer
            client.write(self._protocol.made(request, status, fault.headers, body))
            await client.drain()


class _Server:
    """The connection to the server; it is opened again after it ended."""

    def __init__(self, protocol: WireProtocol, host: str, port: int) -> None:
        self._protocol = protocol
        self._address = (host, port)
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def send(self, request: ProxiedRequest, upto: int | None = None) -> None:
        if self._writer is None or self._writer.is_closing() or self._reader.at_eof():
            await self.close()
            self._reader, self._writer = await asyncio.open_connection(*self._address, limit=LIMIT)
        self._writer.write(self._protocol.head(request) + request.body[:upto])
        await self._writer.drain()

    async def answer(self, request: ProxiedRequest, client: asyncio.StreamWriter | None, cut: int | None) -> None:
        """Read one answer to its end and pass it on to *client* as it arrives, at most *cut* bytes of its body."""
        pieces = self._protocol.answer(self._reader, request)
        head = await anext(pieces)
        if client is None:
            async for _ in pieces:
                pass
            return
        client.write(head)
        await client.drain()
        left = cut
        if left == 0:
            await self._broken()
        async for piece in pieces:
            client.write(piece if left is None else piece[:left])
            await client.drain()
            if left is not None and (left := left - len(piece)) <= 0:
                await self._broken()

    async def _broken(self) -> NoReturn:
        """Break both connections in the middle of an answer."""
        await self.close()
        raise _Broken

    async def close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close the connection so that the other side sees a reset."""
    transport = writer.transport
    found = transport.get_extra_info("socket")
    if found is not None:
        with suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
