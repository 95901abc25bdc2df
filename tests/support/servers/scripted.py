"""A server of raw bytes on loopback: a function in a thread serves each connection, and may do anything wrong."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

__all__ = ["OK", "Peer", "Request", "ScriptedServer", "answer", "scripted", "serve_all"]

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Request(NamedTuple):
    """A request as it was received, with the part of its body that a script read."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def length(self) -> int:
        """The bytes of the whole body."""
        return int(self.headers.get("content-length", 0))


class Peer:
    """
    One connection of a client.

    Attributes:
        number: which connection it is, counted from 0.
        socket: the server's end of it.
        rest: what was received after the head that was read last.
    """

    def __init__(self, number: int, opened: socket.socket) -> None:
        self.number = number
        self.socket = opened
        self.rest: bytes = b""

    def head(self) -> Request | None:
        """Read the head of a request; None at the end of the connection."""
        while b"\r\n\r\n" not in self.rest:
            if not (data := self.socket.recv(1 << 16)):
                return None
            self.rest += data
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        return Request(first, {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines)}, b"")

    def request(self) -> Request | None:
        """Read a request with its body; None at the end of the connection."""
        if (found := self.head()) is None:
            return None
        return found._replace(body=self.read(found.length))

    def requests(self) -> Iterator[Request]:
        """Read one request after the other, until the connection ends."""
        while (found := self.request()) is not None:
            yield found

    def read(self, size: int) -> bytes:
        """Read that many bytes, less at the end of the connection."""
        while len(self.rest) < size and (data := self.socket.recv(1 << 16)):
            self.rest += data
        data, self.rest = self.rest[:size], self.rest[size:]
        return data

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.socket.sendall(data)

    def wait_closed(self) -> None:
        """Wait until the client has closed the connection."""
        while self.socket.recv(1 << 16):
            pass


class ScriptedServer:
    """
    A server while its block runs.

    Args:
        serve: serves a connection; what it raises when the connection breaks is ignored.
        tls: for TLS, what the server shows.
        buffer: bytes that its sockets may keep of what was received and not read; None for the system's choice.

    Attributes:
        port: where it listens, on 127.0.0.1.
        accepted: how many connections there were.
        errors: what scripts raised otherwise: a failed assertion, for example.
    """

    def __init__(self, serve: Callable[[Peer], None], tls: ssl.SSLContext | None, buffer: int | None) -> None:
        self._serve = serve
        self._tls = tls
        self._listening = socket.socket()
        if buffer is not None:
            self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self._listening.bind(("127.0.0.1", 0))
        self._listening.listen(512)
        self.port: int = self._listening.getsockname()[1]
        self.accepted = 0
        self._ended = 0
        self._changed = threading.Condition()
        self.errors: list[BaseException] = []
        self._sockets: list[socket.socket] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def wait_closed(self, seconds: float = 5) -> bool:
        """Wait until all connections have ended; return whether they have."""
        with self._changed:
            return self._changed.wait_for(lambda: self._ended == self.accepted, seconds)

    def close(self) -> None:
        """End all connections."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listening.close()
        for opened in self._sockets:
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
        assert self.wait_closed()
        if self.errors:
            raise self.errors[0]

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                opened, _ = self._listening.accept()
                opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._sockets.append(opened)
                number, self.accepted = self.accepted, self.accepted + 1
                threading.Thread(target=self._run, args=(number, opened)).start()

    def _run(self, number: int, opened: socket.socket) -> None:
        try:
            with suppress(OSError), opened:
                if self._tls is not None:
                    opened = self._tls.wrap_socket(opened, server_side=True)
                    self._sockets.append(opened)
                with opened:
                    self._serve(Peer(number, opened))
        except BaseException as error:
            self.errors.append(error)
        finally:
            with self._changed:
                self._ended += 1
                self._changed.notify_all()


@contextmanager
def scripted(
    serve: Callable[[Peer], None], *, tls: ssl.SSLContext | None = None, buffer: int | None = None
) -> Iterator[ScriptedServer]:
    """Run a server while the block runs; at the end, raise what a script raised."""
    server = ScriptedServer(serve, tls, buffer)
    try:
        yield server
    finally:
        server.close()


def answer(body: bytes = b"", status: int = 200, **headers: str) -> bytes:
    """Return an answer with its length."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} X\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body


def serve_all(make: Callable[[Request], bytes]) -> Callable[[Peer], None]:
    """Return a script that answers every request of a connection."""

    def serve(peer: Peer) -> None:
        for found in peer.requests():
            peer.send(make(found))

    return serve
