"""How connections begin: slow handshakes, several addresses, hosts that refuse, and servers that nobody trusts."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import time
from contextlib import ExitStack, suppress

import pytest
from servers.scripted import OK, Peer, ScriptedServer, scripted, serve_all
from wire import Encryption, Way, closed

from storage.stores.s3.transport import pool as pool_module
from storage.stores.s3.transport.connection import Address
from storage.stores.s3.transport.pool import Pool

MIB = 1 << 20


@pytest.mark.parametrize("through", [False, True], ids=["direct", "proxy"])
async def test_slow_handshake_is_limited_by_the_connect_timeout(way: Way, tls: Encryption, through: bool) -> None:
    """Also in a tunnel."""

    def serve(peer: Peer) -> None:
        if through:
            peer.head()
            peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        peer.wait_closed()

    with scripted(serve) as server:
        address = Address("127.0.0.1", server.port, tls.trusted)
        proxy = pool_module.Proxy(Address("127.0.0.1", server.port)) if through else None
        pool = Pool(way.driver(connect=0.3, read=30), address, proxy)
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            await way.run(pool.fetch("GET", "/", ""))
        assert 0.25 < time.monotonic() - begun < 5
        await way.run(pool.close())
        assert await closed(server)


def unanswering(opened: ExitStack, port: int) -> None:
    """Let the port of 127.0.0.2 answer no more connection: its queue is full."""
    listening = opened.enter_context(socket.socket())
    listening.bind(("127.0.0.2", port))
    listening.listen(0)
    for _ in range(4):
        waiting = opened.enter_context(socket.socket())
        waiting.setblocking(False)
        with suppress(BlockingIOError):
            waiting.connect(("127.0.0.2", port))


@pytest.mark.parametrize("first", ["does not answer", "refuses"])
async def test_second_address_of_a_host(way: Way, monkeypatch: pytest.MonkeyPatch, first: str) -> None:
    """A host of whose addresses one is dead is reached by the other, within the connect timeout."""
    with ExitStack() as opened, scripted(serve_all(lambda found: OK)) as server:
        try:
            if first == "does not answer":
                unanswering(opened, server.port)
        except OSError:
            pytest.skip("this system has no 127.0.0.2")
        known = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, server.port)) for host in ("127.0.0.2", "127.0.0.1")
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *asked, **options: known)
        async with way.pool(server, host="two.example", connect=2) as pool:
            assert b"ok" == (await way.run(pool.fetch("GET", "/", ""))).body


async def test_host_that_refuses_connections(way: Way) -> None:
    """Each attempt fails at once."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        pool = Pool(way.driver(), Address("127.0.0.1", unused.getsockname()[1]))
        with pytest.raises(ConnectionRefusedError):
            await way.run(pool.fetch("GET", "/", ""))
        await way.run(pool.close())


@pytest.mark.parametrize("host", ["a..b.invalid", "a" * 64 + ".invalid"])
async def test_name_that_no_host_can_have(way: Way, host: str) -> None:
    """It is an error of the connection like any other."""
    pool = Pool(way.driver(), Address(host, 80))
    with pytest.raises(OSError, match=r"name|host|label"):
        await way.run(pool.fetch("GET", "/", ""))
    await way.run(pool.close())


@pytest.mark.parametrize("wrong", ["authority", "name"])
async def test_untrusted_server_gets_nothing(
    way: Way, tls: Encryption, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    """Its certificate, and whose it is, are looked at before anything is sent."""
    seen: list[object] = []
    with scripted(lambda peer: seen.append(peer.request()), tls=tls.shown) as server:
        known = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *asked, **options: known)
        trusted = ssl.create_default_context() if wrong == "authority" else tls.trusted
        host = "localhost" if wrong == "authority" else "another.example"
        async with way.pool(server, trusted, host=host) as pool:
            with pytest.raises(ssl.SSLCertVerificationError):
                await way.run(pool.fetch("GET", "/", ""))
    assert [] == [each for each in seen if each is not None]


@pytest.mark.parametrize("moment", ["handshake", "request", "answer"])
def test_close_right_after_a_cancellation_leaves_nothing(encryption: Encryption, moment: str) -> None:
    """The loop may end at once: no socket and no transport is left, of which the interpreter would warn."""

    def serve(peer: Peer) -> None:
        peer.request()
        if moment == "answer":
            peer.send(OK[:-1])
        peer.wait_closed()

    async def main(server: ScriptedServer) -> None:
        async with Way(stepped=False).pool(server, encryption.trusted) as pool:
            tasks = [asyncio.create_task(pool.fetch("PUT", "/", "")) for _ in range(5)]
            await asyncio.sleep(0.05)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    with scripted(serve, tls=None if moment == "handshake" else encryption.shown) as server:
        asyncio.run(main(server))
        gc.collect()
        assert server.wait_closed()
