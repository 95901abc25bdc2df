"""Requests of `HttpStore`: retries, streams, conditional writes and timeouts."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from doubles import HandClock
from servers.mute import mute
from servers.odd_http import OddServer, odd_server

from storage import (
    KeyExistsError,
    OutcomeUnknownError,
    PreconditionFailedError,
    StorageError,
    StoreFullError,
    StoreTimeoutError,
    StoreUnavailableError,
)
from storage._core import retry
from storage.stores.http.store import HttpStore

LARGE = b"x" * 3_000_000

#: More than the buffers of two sockets hold.
HUGE = bytes(40_000_000)


@pytest.fixture
async def server() -> AsyncIterator[OddServer]:
    async with odd_server() as server:
        yield server


@pytest.fixture
async def store(server: OddServer) -> AsyncIterator[HttpStore]:
    async with HttpStore(server.url, writable=True, conditions="trust", retry_timeout=5) as store:
        yield store


CALLS: dict[str, Callable[[HttpStore], Awaitable[object]]] = {
    "get": lambda store: store.get("k"),
    "head": lambda store: store.head("k"),
    "exists": lambda store: store.exists("k"),
    "put": lambda store: store.put("k", b"v"),
    "put of much": lambda store: store.put("k", LARGE),
    "put of very much": lambda store: store.put("k", HUGE),
    "put of a small stream": lambda store: store.put("k", [b"v", b"w"]),
    "delete": lambda store: store.delete("k"),
}

STREAM: dict[str, Callable[[HttpStore], Awaitable[object]]] = {"put of a stream": lambda store: store.put("k", [HUGE])}

CREATE: dict[str, Callable[[HttpStore], Awaitable[object]]] = {
    "create": lambda store: store.put("k2", b"v", if_absent=True)
}


def times(status: int, count: int) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse | None]]:
    """Return a handler that reads the first *count* requests and responds to them with a status."""
    left = [count]

    async def odd(request: web.BaseRequest) -> web.StreamResponse | None:
        if not left[0]:
            return None
        left[0] -= 1
        await request.content.read()
        return web.Response(status=status)

    return odd


# -- again -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*CALLS, *CREATE])
async def test_what_may_be_sent_twice_is(server: OddServer, store: HttpStore, name: str) -> None:
    """Requests to a busy server are retried a few times."""
    server.put("k", b"old")
    server.odd = times(503, 2)

    await (CALLS | CREATE)[name](store)

    assert 1 == len(set(server.lines[:3]))
    assert 3 <= len(server.lines)


async def test_stream_is_sent_once(server: OddServer, store: HttpStore) -> None:
    """Its producer cannot repeat it, so the caller gets the error; the old object stays."""
    server.put("k", b"old")
    server.odd = times(503, 1)

    with pytest.raises(StoreUnavailableError) as caught:
        await store.put("k", [LARGE])

    assert "k" == caught.value.key
    assert ["PUT /k"] == server.lines
    assert b"old" == server.objects["k"].data


async def test_lost_answer_to_a_conditional_write(server: OddServer, store: HttpStore) -> None:
    """
    A retry would fail because of the first attempt, so the outcome is reported as unknown.

    Also over a reused connection, where aiohttp would resend it by itself.
    """
    lost: set[str] = set()

    async def odd(request: web.BaseRequest) -> web.StreamResponse | None:
        if request.method not in ("PUT", "DELETE") or request.raw_path in lost:
            return None
        lost.add(request.raw_path)
        await server.usual(request)
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    server.put("k", b"old")
    etag = server.objects["k"].etag.strip('"')
    server.odd = odd

    server.put("l", b"old")
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: store.put("new", b"v", if_absent=True),
        lambda: store.put("k", b"v", if_match=etag),
        lambda: store.put("new2", [LARGE], if_absent=True),
        lambda: store.delete("l", if_match=server.objects["l"].etag.strip('"')),
    ]
    for call in calls:
        assert await store.exists("k")
        with pytest.raises(OutcomeUnknownError) as caught:
            await call()
        assert not caught.value.retryable

    assert b"v" == server.objects["new"].data


async def test_conditional_write_after_a_server_error(server: OddServer, store: HttpStore) -> None:
    """A response that may come from a proxy does not tell whether the write was done."""
    server.odd = times(502, 1)

    with pytest.raises(OutcomeUnknownError):
        await store.put("k", b"v", if_absent=True)


async def test_conditions_that_do_not_hold(server: OddServer, store: HttpStore) -> None:
    """412 is the error of the condition that was sent."""
    server.put("k", b"old")

    with pytest.raises(KeyExistsError):
        await store.put("k", b"v", if_absent=True)
    for call in (store.put("k", b"v", if_match="x"), store.put("new", b"v", if_match="x")):
        with pytest.raises(PreconditionFailedError):
            await call
    for key in ("k", "new"):
        with pytest.raises(PreconditionFailedError):
            await store.delete(key, if_match="x")


# -- streams -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 413])
async def test_answer_before_the_stream_has_ended(server: OddServer, store: HttpStore, status: int) -> None:
    """An early error response is raised; an early success response is an error."""

    async def odd(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=status)

    async def pieces() -> AsyncIterator[bytes]:
        while True:
            yield LARGE
            await asyncio.sleep(0)

    server.odd = odd
    with pytest.raises(StoreFullError if status == 413 else StorageError):
        await store.put("k", pieces())


async def test_stream_is_sent_as_it_comes(server: OddServer, store: HttpStore) -> None:
    """The server gets the first pieces before the last are produced."""
    came = asyncio.Event()

    async def odd(request: web.BaseRequest) -> web.StreamResponse | None:
        await request.content.readexactly(2_000_000)
        came.set()
        await request.content.read()
        return web.Response(headers={"ETag": '"1"'})

    async def pieces() -> AsyncIterator[bytes]:
        yield LARGE
        await came.wait()
        yield b"end"

    server.odd = odd

    assert "1" == await store.put("k", pieces())


async def test_stream_over_a_connection_that_was_closed(server: OddServer, store: HttpStore) -> None:
    """
    The stream is sent once, even if aiohttp resends the request by itself over a new connection.

    Otherwise the rest of the stream would count as the whole object.
    """
    refused: list[str] = []

    async def odd(request: web.BaseRequest) -> web.StreamResponse | None:
        if request.method == "PUT" and not refused:
            refused.append(request.raw_path)
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return None

    server.put("k", b"old")
    assert b"old" == await store.get("k")
    server.odd = odd

    with pytest.raises(StoreUnavailableError):
        await store.put("k", [LARGE])

    assert b"old" == server.objects["k"].data


# -- patience ----------------------------------------------------------------------------------------------------------


def hasty(url: str) -> HttpStore:
    return HttpStore(url, writable=True, connect_timeout=0.1, read_timeout=0.1, retry_timeout=0)


@pytest.mark.parametrize("name", [*CALLS, *STREAM])
@pytest.mark.parametrize("reads", [True, False], ids=["reads", "does not read"])
async def test_mute_server_is_given_up(name: str, reads: bool) -> None:
    """No call waits longer than its timeouts, including uploads."""
    async with mute(reads) as url, hasty(url) as store, asyncio.timeout(5):
        with pytest.raises(StoreTimeoutError) as caught:
            await (CALLS | STREAM)[name](store)

    assert "k" == caught.value.key


async def test_server_that_stops_in_the_middle_is_given_up() -> None:
    """The same holds for a body that stops, in get and in a reader."""
    head = b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nETag: "1"\r\n\r\nabc'
    async with mute(says=head) as url, hasty(url) as store, asyncio.timeout(5):
        with pytest.raises(StoreTimeoutError):
            await store.get("k")
        async with store.open("k") as reader:
            assert b"abc" == await reader.read(3)
            with pytest.raises(StoreTimeoutError):
                await reader.read()


async def test_tries_go_on_for_no_longer_than_they_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts begin only within retry_timeout."""
    clock = HandClock()
    monkeypatch.setattr(retry, "monotonic", clock.monotonic)
    monkeypatch.setattr(retry, "pause", clock.sleep)
    async with mute() as url, HttpStore(url, read_timeout=0.05, retry_timeout=0.3) as store:
        with pytest.raises(StoreTimeoutError):
            await store.get("k")

    assert 0 < sum(clock.waits) < 0.3


async def test_slow_producer_is_no_timeout(server: OddServer) -> None:
    """Only the progress of the server is timed: the caller's stream may be slow."""

    async def pieces() -> AsyncIterator[bytes]:
        yield LARGE
        await asyncio.sleep(0.4)
        yield b"end"

    async with hasty(server.url) as store:
        await store.put("k", pieces())

    assert LARGE + b"end" == server.objects["k"].data


async def test_nobody_there() -> None:
    """A port without a server is a retryable error."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"

        async with HttpStore(url, writable=True, conditions="trust", retry_timeout=0) as store:
            for call in (store.get("k"), store.put("k", b"v", if_absent=True)):
                with pytest.raises(StoreUnavailableError) as caught:
                    await call
                assert caught.value.retryable
