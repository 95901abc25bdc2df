"""`FaultProxy`: all that goes wrong between a client and an HTTP server, on loopback and when you say so."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import urlsplit

__all__ = ["Fault", "FaultProxy", "ProxiedRequest"]

#: Bytes of a head, of a line or of what is read at once, at most.
_LIMIT = 1 << 20


class ProxiedRequest(NamedTuple):
    """A request that came to a proxy; names of headers are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Fault:
    """
    What happens to one request.

    Attributes:
        delay: seconds before anything else.
        times: how often the server gets the request, one after the other; the last answer goes back.
        cut_request: bytes of the request's body after which the connection breaks, for the server and for the client.
        answer: status and body that go back instead of what the server said.
        headers: of that answer.
        cut_answer: bytes of the answer's body after which the connection breaks.
        lose: the connection breaks instead of an answer; what the request did, it did.
        reset: a connection that breaks is reset, not closed.
        silent: nothing goes back, and the connection stays.
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


class _Broken(Exception):  # noqa: N818  # it is what was asked for
    """The connection is to break here."""


class FaultProxy:
    """
    A proxy in front of an HTTP/1.1 server, which makes of each request what *decide* says.

    ``async with FaultProxy("http://127.0.0.1:9000", decide) as proxy:`` listens at ``proxy.url``. Requests are held in
    memory, answers are passed on as they come.

    Args:
        server: the URL of the server.
        decide: is called with every request, in the order in which they come; None for no fault.
        tls: what to speak TLS to the clients with.

    Attributes:
        url: where it listens, once it is entered.
        requests: how many came.
        connections: how many there are now.
    """

    def __init__(
        self,
        server: str,
        decide: Callable[[ProxiedRequest], Fault | None] = lambda request: None,
        *,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        parts = urlsplit(server)
        self._server = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._decide = decide
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self.url: str = ""
        self.requests: int = 0

    @property
    def connections(self) -> int:  # documented with the class
        return len(self._tasks)

    async def __aenter__(self) -> Self:
        self._listening = await asyncio.start_server(self._begin, "127.0.0.1", 0, ssl=self._tls, limit=_LIMIT)
        port = self._listening.sockets[0].getsockname()[1]
        self.url = f"{'http' if self._tls is None else 'https'}://127.0.0.1:{port}"
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
            async with _Server(*self._server) as server:
                while (request := await _request(reader)) is not None:
                    self.requests += 1
                    fault = self._decide(request) or Fault()
                    try:
                        await self._treat(request, fault, server, writer)
                    except _Broken:
                        if fault.reset:
                            _reset(writer)
                        break
        except (OSError, EOFError, asyncio.LimitOverrunError, ssl.SSLError):
            pass  # one of the two has gone: that is their business
        finally:
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _treat(
        self, request: ProxiedRequest, fault: Fault, server: _Server, client: asyncio.StreamWriter
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
            await server.answer(request.method, client if passed_on else None, fault.cut_answer)
        if fault.silent:
            await asyncio.Event().wait()
        if fault.lose:
            raise _Broken
        if fault.answer is not None:
            status, body = fault.answer
            headers = {"Content-Type": "application/xml", **fault.headers, "Content-Length": str(len(body))}
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            client.write(f"HTTP/1.1 {status} -\r\n{lines}\r\n".encode("latin-1"))
            client.write(b"" if request.method == "HEAD" else body)
            await client.drain()


class _Server:
    """The connection to the server; made anew where it has ended."""

    def __init__(self, host: str, port: int) -> None:
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
            self._reader, self._writer = await asyncio.open_connection(*self._address, limit=_LIMIT)
        lines = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        self._writer.write(f"{request.method} {request.target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1"))
        self._writer.write(request.body[:upto])
        await self._writer.drain()

    async def answer(self, method: str, client: asyncio.StreamWriter | None, cut: int | None) -> None:
        """Read one answer to its end, and pass it on to *client* as it comes."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        while head.startswith(b"HTTP/1.1 100"):
            head = await self._reader.readuntil(b"\r\n\r\n")
        first, headers = _parsed(head)
        status = int(first.split()[1])
        left = None if cut is None else cut

        async def passed_on(data: bytes) -> None:
            nonlocal left
            if client is None:
                return
            client.write(data if left is None else data[:left])
            await client.drain()
            if left is not None:
                left -= len(data)
                if left <= 0:
                    await self.close()
                    raise _Broken

        if client is not None:
            client.write(head)
            await client.drain()
            if left == 0:
                await self.close()
                raise _Broken
        if method == "HEAD" or status in (204, 304):
            return
        if headers.get("transfer-encoding", "").lower() == "chunked":
            while True:
                line = await self._reader.readuntil(b"\r\n")
                size = int(line.split(b";")[0], 16)
                await passed_on(line + await self._reader.readexactly(size + 2))
                if not size:
                    return
        missing = int(headers["content-length"]) if "content-length" in headers else None
        while missing != 0:
            piece = await self._reader.read(_LIMIT if missing is None else min(missing, _LIMIT))
            if not piece:
                await self.close()
                raise _Broken
            missing = None if missing is None else missing - len(piece)
            await passed_on(piece)

    async def close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


async def _request(reader: asyncio.StreamReader) -> ProxiedRequest | None:
    """Return the next request whole, or None when the client has gone between two."""
    try:
        first, headers = _parsed(await reader.readuntil(b"\r\n\r\n"))
    except asyncio.IncompleteReadError:
        return None
    method, target, _ = first.split(" ")
    headers.pop("expect", None)  # the body is read anyway
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = b""
        while size := int((line := await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            body += line + await reader.readexactly(size + 2)
        body += line + await reader.readuntil(b"\r\n")
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    return ProxiedRequest(method, target, headers, body)


def _parsed(head: bytes) -> tuple[str, dict[str, str]]:
    """Return the first line of a head, and its headers."""
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    return first, {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _reset(writer: asyncio.StreamWriter) -> None:
    """Let the other side see a reset when the connection is closed."""
    transport = writer.transport
    found = transport.get_extra_info("socket")
    if found is not None:
        with suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
