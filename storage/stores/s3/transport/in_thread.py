"""`ThreadDriver`: connections that block the calling thread, for the synchronous face."""

from __future__ import annotations

import socket
import ssl
import time
from _thread import LockType, allocate_lock
from collections import deque
from contextlib import suppress
from itertools import chain, zip_longest
from typing import Any

from storage._concurrency.forks import PROCESS, refuse_in_child, renew_after_fork
from storage._concurrency.offload import given_up
from storage._concurrency.stepping import THREAD
from storage.stores.network import Timeouts
from storage.stores.s3.transport.connection import (
    READ,
    SLICE,
    WRITE,
    Address,
    Connection,
    Driver,
    acknowledged,
    ready_for,
)

__all__ = ["ThreadDriver"]

#: Seconds after which a thread that works for a call looks whether the call was given up.
_LOOK = 0.1

#: Bytes that one system call receives: at least, where more is expected at most.
_LITTLE, _MUCH = 64 << 10, 256 << 10

#: What a call on a socket raises that would have to wait; the first two wait until there is something to read.
_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class _ThreadConnection(Connection):
    """A socket that never blocks, and a thread that waits for it; one thread at a time uses it."""

    def __init__(self, made: socket.socket) -> None:
        self._socket = made
        self._early = b""
        self._acknowledged = 0

    def connect(self, place: Any, seconds: float) -> None:
        """Connect the new socket to an address, in that time."""
        self._socket.settimeout(max(seconds, 0.001))
        self._socket.connect(place)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)

    async def send(self, data: bytes) -> bool:
        begin, events = 0, 0
        with memoryview(data) as view:
            while begin < len(data):
                if events and self._wait(events) & READ and self._has_received():
                    return False
                events = READ | WRITE
                try:
                    begin += self._socket.send(view[begin : begin + SLICE])
                except _WOULD_BLOCK as cause:
                    events = _awaited_by(cause, events)
                except (ConnectionError, ssl.SSLError):  # perhaps after an answer
                    return False
        return True

    async def receive(self, least: int = 1) -> bytes:
        if self._early:
            data, self._early = self._early, b""
            return data
        events = READ
        while True:
            self._wait(events)
            try:
                return self._socket.recv(_LITTLE if least <= _LITTLE else _MUCH)
            except _WOULD_BLOCK as cause:
                events = _awaited_by(cause, READ)

    def _wait(self, events: int) -> int:
        """
        Wait until the socket is ready, and return for what.

        Raises:
            TimeoutError: it was not in time.
            InterruptedError: the call that this thread works for was given up.
        """
        if events & READ and isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return events
        end = time.monotonic() + self.limit
        while not (ready := _wait(self._socket, events, self.limit / 10)):
            before, self._acknowledged = self._acknowledged, acknowledged(self._socket)
            now = time.monotonic()
            if self._acknowledged != before:
                end = now + self.limit
            elif now >= end:
                raise TimeoutError
        return ready

    async def start_tls(self, host: str, tls: ssl.SSLContext) -> None:
        end = time.monotonic() + self.limit
        self._socket = begun = tls.wrap_socket(self._socket, server_hostname=host, do_handshake_on_connect=False)
        while True:
            try:
                begun.do_handshake()
                return
            except _WOULD_BLOCK as cause:
                if not _wait(begun, _awaited_by(cause, READ), max(end - time.monotonic(), 0)):
                    raise TimeoutError from None

    def is_idle(self) -> bool:
        return self._socket.fileno() >= 0 and not self._has_received()

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # another thread may wait for it
        self._socket.close()

    def forget(self) -> None:
        self._socket.close()  # which neither ends TLS nor shuts the connection down

    def __del__(self) -> None:
        with suppress(AttributeError):  # there is no socket yet
            self.forget()  # Ctrl-C came while nobody had it but the interpreter

    def _has_received(self) -> bool:
        """Return whether there are bytes to read, or the end; not for what belongs to TLS alone."""
        if not ready_for(self._socket, READ, 0):
            return isinstance(self._socket, ssl.SSLSocket) and self._socket.pending() > 0
        try:
            self._early = self._socket.recv(_LITTLE)
        except _WOULD_BLOCK:
            return False
        except OSError:
            pass  # the next call raises it
        return True


class ThreadDriver(Driver):
    """
    Connections for threads, which may share them.

    Args:
        timeouts: how long to connect, and to wait for progress.
        limit: the most concurrent requests.
    """

    def __init__(self, timeouts: Timeouts, limit: int) -> None:
        self.read_timeout: float = timeouts.read
        self._connect_timeout = timeouts.connect
        self._free = [None] * limit
        self._waiting: deque[LockType] = deque()
        self._process = PROCESS.number
        renew_after_fork(self)

    async def connect(self, address: Address) -> Connection:
        end = time.monotonic() + self._connect_timeout
        found = _alternating(socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM))
        refused: OSError = OSError(f"{address.host} has no address")
        for left, (family, kind, protocol, _, place) in zip(range(len(found), 0, -1), found, strict=True):
            connection = _ThreadConnection(socket.socket(family, kind, protocol))
            try:
                connection.connect(place, (end - time.monotonic()) / left)
                connection.limit = max(end - time.monotonic(), 0.001)
                if address.tls is not None:
                    await connection.start_tls(address.host, address.tls)
                return connection
            except OSError as cause:
                connection.close()
                refused = cause
                if isinstance(cause, ssl.SSLError):
                    raise
            except BaseException:
                connection.close()
                raise
        raise refused

    async def acquire(self) -> None:
        if not self._waiting:
            try:
                self._free.pop()
                return
            except IndexError:
                pass
        turn = allocate_lock()
        turn.acquire()
        self._waiting.append(turn)
        try:
            self._serve()
            turn.acquire()
            refuse_in_child(self._process)
        except BaseException:  # Ctrl-C
            try:
                self._waiting.remove(turn)
            except ValueError:  # it has a place already
                self.release()
            raise

    def release(self) -> None:
        self._free.append(None)
        self._serve()

    async def close(self) -> None:
        """Do nothing: sockets of threads are closed at once."""

    def _renew(self) -> None:
        """In a forked child: end the wait in which a signal handler of this thread forked."""
        while self._waiting:
            self._waiting.popleft().release()

    def _serve(self) -> None:
        """Give the free places to those who have waited longest."""
        while self._waiting and self._free:
            try:
                self._free.pop()
            except IndexError:
                return
            try:
                self._waiting.popleft().release()
            except IndexError:  # gone meanwhile
                self._free.append(None)


def _wait(opened: socket.socket, events: int, seconds: float) -> int:
    """
    Wait until a socket is ready for one of the events, and return for which; 0 if it is not in time.

    Raises:
        InterruptedError: the call that this thread works for was given up.
    """
    if THREAD.mode.job is None:
        return ready_for(opened, events, seconds)
    end = time.monotonic() + seconds
    while not given_up():
        left = end - time.monotonic()
        if (ready := ready_for(opened, events, min(max(left, 0), _LOOK))) or left <= 0:
            return ready
    raise InterruptedError("the call was given up")


def _awaited_by(cause: OSError, events: int) -> int:
    """Return what a call on a socket must wait for that raised *cause*; *events*, if it depends on the call only."""
    if isinstance(cause, ssl.SSLWantReadError):
        return READ
    return WRITE if isinstance(cause, ssl.SSLWantWriteError) else events


def _alternating(found: list[Any]) -> list[Any]:
    """Return addresses so that those of the two families alternate, the first one first (RFC 8305, section 4)."""
    first = [each for each in found if each[0] == found[0][0]]
    others = [each for each in found if each[0] != found[0][0]]
    return [each for each in chain.from_iterable(zip_longest(first, others)) if each is not None]
