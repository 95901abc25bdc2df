"""Servers that do everything wrong: a request soon ends with its answer or an error, and leaves no connection."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from servers.scripted import OK, Peer, Request, answer, scripted, serve_all
from wire import Encryption, Everyway, Way, closed

from storage.stores.s3.transport.exchange import MAX_HEAD, BadAnswerError

MIB = 1 << 20

#: More than the buffers of two sockets.
LARGE = bytes(16 * MIB)

LENGTH = f"content-length: {len(LARGE)}\r\n"


async def test_answer_that_arrives_byte_by_byte(way: Way, encryption: Encryption) -> None:
    """How an answer is split makes no difference; each request of a connection gets its own."""
    sent = (
        b"HTTP/1.1 100 X\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    )

    def serve(peer: Peer) -> None:
        for split, _ in enumerate(peer.requests()):
            for begin, end in ((0, split), (split, len(sent))):
                peer.send(sent[begin:end])

    with scripted(serve, tls=encryption.shown) as server:
        async with way.pool(server, encryption.trusted) as pool:
            for _ in range(len(sent)):
                assert (200, b"abcde") == (await way.run(pool.fetch("GET", "/", "")))[::2]
        assert 1 == server.accepted


@pytest.mark.parametrize(
    "garbage", [b"\0", b"\r\n", OK, b"HTTP/1.1 408 Request Timeout\r\n\r\n"], ids=["a byte", "a line", "answer", "408"]
)
@pytest.mark.parametrize("together", [True, False], ids=["together", "later"])
async def test_bytes_after_an_answer_are_no_answer_to_the_next_request(
    way: Way, encryption: Encryption, garbage: bytes, together: bool
) -> None:
    """A connection that received what nobody asked for is not used again, not even by a put."""

    def serve(peer: Peer) -> None:
        for found in peer.requests():
            said = answer(found.line.encode())
            if together:
                peer.send(said + garbage)
            else:
                peer.send(said)
                peer.send(garbage)

    with scripted(serve, tls=encryption.shown) as server:
        async with way.pool(server, encryption.trusted) as pool:
            for number, method in enumerate(["GET", "PUT", "PUT", "GET"]):
                received = await way.run(pool.fetch(method, f"/{number}", "content-length: 0\r\n"))
                assert f"{method} /{number} HTTP/1.1".encode() == received.body
                if not together:
                    time.sleep(0.02)  # noqa: ASYNC251  # the bytes arrive; the event loop has no time to read them
        assert 4 == server.accepted
        assert await closed(server)


BAD = {
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\ncontent-le",
    "no HTTP": b"220 smtp.example.org ESMTP\r\n",
    "a giant head": b"HTTP/1.1 200 OK\r\nx: " + b"y" * MAX_HEAD,
    "endless lines": b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * MAX_HEAD,
    "informational answers": b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc",
    "a length and chunks": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "a body that is too short": b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab",
    "half a chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
    "endless trailers": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n" + b"x: y\r\n" * MAX_HEAD,
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_what_is_no_answer_is_an_error(way: Way, encryption: Encryption, name: str, method: str) -> None:
    """It is raised at once, also where the server keeps the connection open; the connection is closed."""

    def serve(peer: Peer) -> None:
        peer.request()
        peer.send(BAD[name])
        if name in ("nothing", "half a head", "a body that is too short", "half a chunk"):
            peer.socket.shutdown(socket.SHUT_WR)
        peer.wait_closed()

    with scripted(serve, tls=encryption.shown) as server:
        async with way.pool(server, encryption.trusted, read=30) as pool:
            with pytest.raises((BadAnswerError, OSError)):
                await way.run(pool.fetch(method, "/", "content-length: 0\r\n"))
            assert await closed(server)
            assert 1 == server.accepted


async def test_refusal_during_an_upload_is_the_answer(way: Way, encryption: Encryption) -> None:
    """A server that refuses before it has the whole body is heard; the connection, on which it is lost, is closed."""

    def serve(peer: Peer) -> None:
        peer.head()
        peer.send(answer(b"<Error/>", 403))
        peer.socket.recv(1)
        peer.wait_closed()

    with scripted(serve, tls=encryption.shown) as server:
        async with way.pool(server, encryption.trusted) as pool:
            for _ in range(2):
                assert (403, b"<Error/>") == (await way.run(pool.fetch("PUT", "/", LENGTH, LARGE)))[::2]
            assert await closed(server)
        assert 2 == server.accepted


async def test_refusal_of_a_server_that_closes_at_once(way: Way, encryption: Encryption) -> None:
    """
    What it said before it reset the connection is still heard.

    A blocking socket always hears it. An event loop that writes at the moment of the reset drops what it had not read:
    then the connection is broken, and the upload is repeated.
    """

    def serve(peer: Peer) -> None:
        peer.head()
        peer.send(answer(b"<Error/>", 403, connection="close"))
        peer.socket.close()

    heard = 0
    with scripted(serve, tls=encryption.shown) as server:
        async with way.pool(server, encryption.trusted) as pool:
            for _ in range(20):
                with suppress(OSError, BadAnswerError):
                    received = await way.run(pool.fetch("PUT", "/", f"content-length: {MIB}\r\n", bytes(MIB)))
                    assert (403, b"<Error/>") == received[::2]
                    heard += 1
            assert await closed(server)
    assert heard == 20 if way.stepped else heard > 0


async def test_success_before_the_upload_ended_is_refused(way: Way, encryption: Encryption) -> None:
    """The server cannot have stored what it has not received."""

    def serve(peer: Peer) -> None:
        peer.head()
        peer.send(answer(etag='"e"'))
        peer.wait_closed()

    with scripted(serve, tls=encryption.shown, buffer=1 << 16) as server:
        async with way.pool(server, encryption.trusted) as pool:
            with pytest.raises(BadAnswerError, match="before it had the whole request"):
                await way.run(pool.fetch("PUT", "/", LENGTH, LARGE))
            assert await closed(server)


async def test_server_that_never_answers_is_given_up(everyway: Everyway) -> None:
    """It may have read the request or not; the wait ends by the read timeout."""

    def serve(peer: Peer) -> None:
        peer.head()
        over.wait(30)

    async def one(way: Way, encryption: Encryption) -> None:
        with scripted(serve, tls=encryption.shown) as server:
            async with way.pool(server, encryption.trusted, read=0.5) as pool:
                for size in (0, 100, 16 * MIB):
                    begun = time.monotonic()
                    with pytest.raises(TimeoutError):
                        await way.beside(pool.fetch("PUT", "/", f"content-length: {size}\r\n", bytes(size)))
                    assert 0.5 <= time.monotonic() - begun < 4
                ended.append(1)
                if len(ended) == len(everyway):
                    over.set()
                assert await closed(server)

    over, ended = threading.Event(), list[int]()
    await asyncio.gather(*(one(*each) for each in everyway))


async def test_answer_that_stops_in_the_middle_is_given_up(way: Way, encryption: Encryption) -> None:
    """The time counts from the last byte."""

    def serve(peer: Peer) -> None:
        peer.request()
        peer.send(answer(bytes(100))[:-1])
        peer.wait_closed()

    with scripted(serve, tls=encryption.shown) as server:
        async with way.pool(server, encryption.trusted, read=0.3) as pool:
            with pytest.raises(TimeoutError):
                await way.run(pool.fetch("GET", "/", ""))
            assert await closed(server)


async def test_answer_that_goes_on_slowly_is_no_timeout(everyway: Everyway) -> None:
    """Each byte is progress: the whole answer may take longer than the read timeout."""

    def serve(peer: Peer) -> None:
        peer.request()
        for byte in answer(b"x" * 10):
            peer.send(bytes([byte]))
            time.sleep(0.03)

    async def one(way: Way, encryption: Encryption) -> None:
        with scripted(serve, tls=encryption.shown) as server:
            async with way.pool(server, encryption.trusted, read=1) as pool:
                assert b"x" * 10 == (await way.beside(pool.fetch("GET", "/", ""))).body

    await asyncio.gather(*(one(*each) for each in everyway))


async def test_upload_that_goes_on_slowly_is_no_timeout(everyway: Everyway) -> None:
    """Also at its end, when all that is left waits in the buffers of this system."""

    def serve(peer: Peer) -> None:
        found = peer.head()
        assert found is not None
        left, begun = found.length - len(peer.rest), time.monotonic()
        while left:
            left -= len(peer.socket.recv(min(left, 32 << 10)))
            if time.monotonic() - begun < 2:
                time.sleep(0.02)
        peer.send(answer(etag='"e"'))

    async def one(way: Way, encryption: Encryption) -> None:
        with scripted(serve, tls=encryption.shown, buffer=1 << 15) as server:
            async with way.pool(server, encryption.trusted, read=1) as pool:
                size = 5 * MIB
                request = pool.fetch("PUT", "/", f"content-length: {size}\r\n", bytes(size))
                assert 200 == (await way.beside(request)).status

    await asyncio.gather(*(one(*each) for each in everyway))


@pytest.mark.parametrize("when", ["at once", "with the request"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "POST"])
async def test_kept_connection_that_the_server_closed(way: Way, encryption: Encryption, when: str, method: str) -> None:
    """One that is known to be closed is not used; one that closes just when it is used is repeated only for reads."""

    def serve(peer: Peer) -> None:
        peer.request()
        peer.send(answer())
        if peer.number == 0:
            if when == "with the request":
                peer.request()
        else:
            peer.wait_closed()

    with scripted(serve, tls=encryption.shown) as server:
        async with way.pool(server, encryption.trusted) as pool:
            await way.run(pool.fetch("GET", "/", ""))
            if when == "at once":
                assert server.wait_closed()  # the event loop has no time to notice
            if when == "with the request" and method not in ("GET", "HEAD"):
                with pytest.raises((OSError, BadAnswerError)):
                    await way.run(pool.fetch(method, "/", "content-length: 0\r\n"))
            else:
                assert 200 == (await way.run(pool.fetch(method, "/", "content-length: 0\r\n"))).status
                assert 2 == server.accepted


def numbered(found: Request) -> bytes:
    return answer(found.line.split()[1].encode())


@pytest.mark.parametrize("read", ["nothing", "a little", "to the end"])
async def test_answer_that_was_not_read_to_its_end(way: Way, encryption: Encryption, read: str) -> None:
    """Its connection is closed; one whose answer was read is used again."""
    serve: Callable[[Peer], None] = serve_all(lambda found: answer(bytes(3 * MIB)))
    with scripted(serve, tls=encryption.shown) as server:
        async with way.pool(server, encryption.trusted) as pool:
            for _ in range(2):
                received = await way.run(pool.send("GET", "/", ""))
                left = {"nothing": 0, "a little": 10, "to the end": 3 * MIB}[read]
                while left:
                    left -= len(await way.run(received.read(min(left, 1 << 16))))
                received.close()
                received.close()
            if read != "to the end":
                assert await closed(server)
        assert (1 if read == "to the end" else 2) == server.accepted
