"""The protocols of the proxy, as far as it must read them: HTTP/1.1 and the protocol of Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple, Protocol

__all__ = ["LIMIT", "HttpProtocol", "ProxiedRequest", "RedisProtocol", "WireProtocol"]

#: The most bytes of a head, of a line or of one read.
LIMIT = 1 << 20


class ProxiedRequest(NamedTuple):
    """
    A request that a proxy received.

    Attributes:
        method: the HTTP method; for Redis the name of the command, in capitals.
        target: path and query; for Redis the first key.
        headers: the headers, names in lower case; for Redis none.
        body: the bytes after the head; for Redis the whole request.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


class WireProtocol(Protocol):
    """One protocol."""

    port: int
    scheme: str

    async def request(self, client: asyncio.StreamReader) -> ProxiedRequest | None:
        """Return the next request, or None if the client closed the connection between two requests."""
        ...

    def head(self, request: ProxiedRequest) -> bytes:
        """Return the bytes before the body."""
        ...

    def answer(self, server: asyncio.StreamReader, request: ProxiedRequest) -> AsyncIterator[bytes]:
        """Yield an answer as it arrives: its head, then its body in pieces."""
        ...

    def made(self, request: ProxiedRequest, status: int, headers: Mapping[str, str], body: bytes) -> bytes:
        """Return an answer that the server did not send."""
        ...


class HttpProtocol(WireProtocol):
    """HTTP/1.1."""

    port: int = 80
    scheme: str = "http"

    async def request(self, client: asyncio.StreamReader) -> ProxiedRequest | None:  # the protocol's
        try:
            first, headers = _parsed(await client.readuntil(b"\r\n\r\n"))
        except asyncio.IncompleteReadError:
            return None
        method, target, _ = first.split(" ")
        headers.pop("expect", None)  # the body is read anyway
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = b""
            while size := int((line := await client.readuntil(b"\r\n")).split(b";")[0], 16):
                body += line + await client.readexactly(size + 2)
            body += line + await client.readuntil(b"\r\n")
        else:
            body = await client.readexactly(int(headers.get("content-length", "0")))
        return ProxiedRequest(method, target, headers, body)

    def head(self, request: ProxiedRequest) -> bytes:
        lines = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        return f"{request.method} {request.target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")

    async def answer(self, server: asyncio.StreamReader, request: ProxiedRequest) -> AsyncIterator[bytes]:
        head = await server.readuntil(b"\r\n\r\n")
        while head.startswith(b"HTTP/1.1 100"):
            head = await server.readuntil(b"\r\n\r\n")
        yield head
        first, headers = _parsed(head)
        if request.method == "HEAD" or int(first.split()[1]) in (204, 304):
            return
        if headers.get("transfer-encoding", "").lower() == "chunked":
            size = -1
            while size:
                line = await server.readuntil(b"\r\n")
                size = int(line.split(b";")[0], 16)
                yield line + await server.readexactly(size + 2)
            return
        missing = int(headers["content-length"]) if "content-length" in headers else None
        while missing != 0:
            piece = await server.read(LIMIT if missing is None else min(missing, LIMIT))
            if not piece:
                raise EOFError  # an answer without a length also ends this way
            missing = None if missing is None else missing - len(piece)
            yield piece

    def made(self, request: ProxiedRequest, status: int, headers: Mapping[str, str], body: bytes) -> bytes:
        headers = {"Content-Type": "application/xml", **headers, "Content-Length": str(len(body))}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 {status} -\r\n{lines}\r\n".encode("latin-1") + (b"" if request.method == "HEAD" else body)


class RedisProtocol(WireProtocol):
    """The protocol of Redis, versions 2 and 3."""

    port: int = 6379
    scheme: str = "redis"

    async def request(self, client: asyncio.StreamReader) -> ProxiedRequest | None:
        try:
            raw = [await client.readuntil(b"\r\n")]
        except asyncio.IncompleteReadError:
            return None
        words = []
        for _ in range(int(raw[0][1:])):
            raw.append(await client.readuntil(b"\r\n"))
            words.append(await client.readexactly(int(raw[-1][1:])))
            raw += [words[-1], await client.readexactly(2)]
        method = words[0].decode("latin-1").upper()
        first = 3 if method.startswith("EVAL") else 1  # after the script and the number of its keys
        target = words[first].decode("utf-8", "replace") if len(words) > first else ""
        return ProxiedRequest(method, target, {}, b"".join(raw))

    def head(self, request: ProxiedRequest) -> bytes:
        return b""

    async def answer(self, server: asyncio.StreamReader, request: ProxiedRequest) -> AsyncIterator[bytes]:
        yield b""
        missing = 1
        while missing:
            missing -= 1
            line = await server.readuntil(b"\r\n")
            yield line
            kind, size = line[:1], line[1:-2]
            if kind in b"$=!" and int(size) >= 0:
                yield await server.readexactly(int(size) + 2)
            elif kind in b"*~>%":
                missing += max(int(size), 0) * (2 if kind == b"%" else 1)

    def made(self, request: ProxiedRequest, status: int, headers: Mapping[str, str], body: bytes) -> bytes:
        return body


def _parsed(head: bytes) -> tuple[str, dict[str, str]]:
    """Return the first line of a head and its headers."""
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    return first, {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
