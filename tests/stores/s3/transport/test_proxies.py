"""Requests through a proxy that the environment names."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
from contextlib import suppress

import pytest
from servers.scripted import Peer, ScriptedServer, answer, scripted, serve_all
from wire import Encryption, Way, closed

from storage.errors import ConfigError
from storage.stores.s3.transport.connection import Address
from storage.stores.s3.transport.exchange import BadAnswerError
from storage.stores.s3.transport.pool import Pool, Proxy
from storage.stores.s3.transport.proxies import proxy_for

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the proxy of whoever runs the tests."""
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


class Tunnel:
    """A proxy that answers CONNECT, and passes on what comes then."""

    def __init__(self, says: bytes = ESTABLISHED) -> None:
        self.seen: list[tuple[str, dict[str, str]]] = []
        self._says = says

    def __call__(self, peer: Peer) -> None:
        found = peer.head()
        if found is None:
            return
        self.seen.append((found.line, found.headers))
        host, _, port = found.line.split()[1].rpartition(":")
        with socket.create_connection((host, int(port))) as server:
            peer.send(self._says)
            back = threading.Thread(target=pump, args=(server, peer.socket))
            back.start()
            pump(peer.socket, server)
            back.join()


def pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def through(proxy: ScriptedServer, authorization: str | None = None) -> Proxy:
    """Return a proxy for a pool."""
    return Proxy(Address("127.0.0.1", proxy.port), authorization)


async def test_request_over_plain_http_names_the_server(way: Way) -> None:
    """The proxy gets the whole URL, and the password; connections to it are kept."""
    seen: list[tuple[str, str | None]] = []

    def serve(peer: Peer) -> None:
        for found in peer.requests():
            seen.append((found.line, found.headers.get("proxy-authorization")))
            peer.send(answer(found.body))

    with scripted(serve) as proxy:
        pool = Pool(way.driver(), Address("bucket.invalid", 9000), through(proxy, "Basic eDp5"))
        for _ in range(2):
            received = await way.run(
                pool.fetch("PUT", "/k?a=b", "host: bucket.invalid:9000\r\ncontent-length: 1\r\n", b"v")
            )
            assert b"v" == received.body
        await way.run(pool.close())
        assert 1 == proxy.accepted
    assert [("PUT http://bucket.invalid:9000/k?a=b HTTP/1.1", "Basic eDp5")] * 2 == seen


@pytest.mark.parametrize(
    "address", [("bucket.invalid", 80, "bucket.invalid"), ("::1", 80, "[::1]"), ("::1", 9000, "[::1]:9000")]
)
async def test_server_is_named_as_it_is_signed(way: Way, address: tuple[str, int, str]) -> None:
    """A proxy makes the header Host, which is signed, of the URL."""
    host, port, name = address
    with scripted(serve_all(lambda found: answer(found.line.encode()))) as proxy:
        pool = Pool(way.driver(), Address(host, port), through(proxy))
        received = await way.run(pool.fetch("GET", "/k", f"host: {name}\r\n"))
        await way.run(pool.close())
    assert f"GET http://{name}/k HTTP/1.1".encode() == received.body


async def test_request_over_tls_goes_through_a_tunnel(way: Way, tls: Encryption) -> None:
    """The proxy gets neither the request nor, the server, the password of the proxy; the tunnel is kept."""
    seen: list[str | None] = []

    def serve(peer: Peer) -> None:
        for found in peer.requests():
            seen.append(found.headers.get("proxy-authorization"))
            peer.send(answer(found.line.encode()))

    tunnel = Tunnel()
    with scripted(serve, tls=tls.shown) as server, scripted(tunnel) as proxy:
        async with way.pool(server, tls.trusted, proxy=through(proxy, "Basic eDp5")) as pool:
            for _ in range(2):
                assert b"GET /k HTTP/1.1" == (await way.run(pool.fetch("GET", "/k", ""))).body
        assert await closed(proxy)
        assert await closed(server)
    assert [None, None] == seen
    [(line, headers)] = tunnel.seen
    assert f"CONNECT 127.0.0.1:{server.port} HTTP/1.1" == line
    assert {"host": f"127.0.0.1:{server.port}", "proxy-authorization": "Basic eDp5"} == headers


@pytest.mark.parametrize(
    "said",
    [
        answer(b"no", 407, Proxy_Authenticate="Basic"),
        answer(b"no", 502),
        b"HTTP/1.1 302 Found\r\nlocation: http://example.org/\r\n\r\n",
        b"",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        ESTABLISHED + b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
    ],
    ids=["password", "bad gateway", "redirect", "nothing", "no HTTP", "bytes of its own"],
)
async def test_proxy_that_makes_no_tunnel(way: Way, tls: Encryption, said: bytes) -> None:
    """The request is not sent, and what the proxy says is no answer to it."""
    seen: list[object] = []

    def serve(peer: Peer) -> None:
        peer.head()
        peer.send(said)
        if not said:
            return
        seen.append(peer.request())

    with scripted(serve) as proxy:
        pool = Pool(way.driver(), Address("127.0.0.1", 1, tls.trusted), through(proxy))
        with pytest.raises((OSError, BadAnswerError)) as caught:
            await way.run(pool.fetch("GET", "/k", ""))
        assert "eDp5" not in str(caught.value)
        await way.run(pool.close())
        assert await closed(proxy)
    assert [] == [each for each in seen if each is not None]


async def test_bytes_of_the_proxy_that_come_later_are_no_answer(way: Way, tls: Encryption) -> None:
    """They break the handshake, or the request fails."""

    def serve(peer: Peer) -> None:
        peer.head()
        peer.send(ESTABLISHED)
        peer.socket.recv(1)
        peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
        peer.wait_closed()

    with scripted(serve) as proxy:
        pool = Pool(way.driver(), Address("127.0.0.1", 1, tls.trusted), through(proxy))
        with pytest.raises(ssl.SSLError):
            await way.run(pool.fetch("GET", "/k", ""))
        await way.run(pool.close())
        assert await closed(proxy)


async def test_proxy_that_does_not_answer_is_limited_by_the_connect_timeout(way: Way, tls: Encryption) -> None:
    """The tunnel belongs to the connection."""
    with scripted(lambda peer: peer.wait_closed()) as proxy:
        pool = Pool(way.driver(connect=0.3, read=3), Address("127.0.0.1", 1, tls.trusted), through(proxy))
        with pytest.raises(TimeoutError):
            await way.run(pool.fetch("GET", "/k", ""))
        await way.run(pool.close())
        assert await closed(proxy)


def test_environment_names_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """One for each scheme, in small letters or capitals, with a password that may be quoted."""
    assert proxy_for("http", "a.example", 80) is None
    monkeypatch.setenv("http_proxy", "http://x:p%40ss@proxy.example:3128/")
    monkeypatch.setenv("HTTPS_PROXY", "other.example")

    said = base64.b64encode(b"x:p@ss").decode()
    assert Proxy(Address("proxy.example", 3128), f"Basic {said}") == proxy_for("http", "a.example", 80)
    assert Proxy(Address("other.example", 80)) == proxy_for("https", "a.example", 443)
    assert said not in repr(proxy_for("http", "a.example", 80))


@pytest.mark.parametrize("name", ["a.example", "example", ".example", "a.example:9000", "b, a.example", "*"])
def test_hosts_without_a_proxy(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """NO_PROXY names hosts and domains, also with a port."""
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example")
    monkeypatch.setenv("NO_PROXY", name)

    assert proxy_for("http", "a.example", 9000) is None
    assert name == "*" or proxy_for("http", "a.example.org", 9000) is not None
    assert ":" not in name or proxy_for("http", "a.example", 80) is not None


@pytest.mark.parametrize("named", ["socks5://proxy", "https://proxy", "http://", "http://proxy:port", "http://[::1"])
def test_proxy_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    """The error names the variable, and shows no password."""
    monkeypatch.setenv("HTTP_PROXY", named.replace("//", "//user:secret@"))

    with pytest.raises(ConfigError, match="HTTP_PROXY") as caught:
        proxy_for("http", "a.example", 80)
    assert "secret" not in str(caught.value)
