"""`BucketStore` and the address of a bucket: its name in the host, and its region."""

from __future__ import annotations

import socket
import urllib.parse
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from servers.buckets import BUCKET, bucket_store
from servers.s3 import Servers
from servers.tls import Certificate

from storage import BucketStore, ConfigError, KeyExistsError, PreconditionFailedError
from storage.testing import Fault, FaultProxy, ProxiedRequest

MIB = 1 << 20

#: Amazon's answers if the region is not the bucket's: the body, and for a HEAD, which has none, the header.
ELSEWHERE = {
    "moved": (301, b"<Error><Code>PermanentRedirect</Code><Message>Use the specified endpoint.</Message></Error>"),
    "malformed": (
        400,
        b"<Error><Code>AuthorizationHeaderMalformed</Code><Message>the region 'us-east-1' is wrong; expecting "
        b"'eu-central-1'</Message><Region>eu-central-1</Region></Error>",
    ),
}

CALLS: dict[str, Callable[[BucketStore], Awaitable[object]]] = {
    "get": lambda store: store.get("k"),
    "head": lambda store: store.head("k"),
    "exists": lambda store: store.exists("k"),
    "put": lambda store: store.put("k", b"v"),
    "create": lambda store: store.put("k", b"v", if_absent=True),
    "put of a stream": lambda store: store.put("k", [b"x" * MIB] * 20),
    "delete": lambda store: store.delete("k"),
    "list": lambda store: anext(store.keys()),
    "copy": lambda store: store.copy("k", "c"),
}


@pytest.fixture
def localhosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resolve every name below localhost to this machine (RFC 6761), which not every system's resolver does."""
    resolve = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        return resolve("127.0.0.1" if str(host).endswith("localhost") else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.mark.usefixtures("localhosts")
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("name", ["ceph", "ministack"])
async def test_bucket_is_a_host(servers: Servers, certificate: Certificate, name: str, tls: bool) -> None:
    """Every kind of call finds the bucket by its host name, and the server accepts the signature."""
    server = servers.get(name)
    seen: set[tuple[str, str]] = set()

    def decide(request: ProxiedRequest) -> None:
        seen.add((request.headers["host"].partition(":")[0], request.target.partition("?")[0]))

    async with FaultProxy(server.url, decide, tls=certificate.shown() if tls else None) as proxy:
        here = proxy.url.replace("127.0.0.1", "localhost")
        async with bucket_store(
            server,
            endpoint_url=here,
            path_style=False,
            prefix=f"hosts-{tls}/",
            ca_bundle=str(certificate.authority) if tls else None,
        ) as store:
            etag = await store.put("a b/ü?&#", b"value", if_absent=True)
            with pytest.raises(KeyExistsError):
                await store.put("a b/ü?&#", b"other", if_absent=True)
            with pytest.raises(PreconditionFailedError):
                await store.put("a b/ü?&#", b"other", if_match="nonsense")
            assert etag == (await store.head("a b/ü?&#")).etag
            await store.put("big", [b"x" * MIB] * 20)
            assert b"x" * 20 * MIB == await store.get("big")
            await store.copy("a b/ü?&#", "copy")
            assert b"value" == await store.get("copy")
            assert ["a b/ü?&#", "big", "copy"] == [key async for key in store.keys()]
            url = await store.presigned_get("copy")
            assert BUCKET + ".localhost" == urllib.parse.urlsplit(url).hostname
            if name == "ceph":  # ministack says InvalidAccessKeyId, in this style only
                async with aiohttp.ClientSession() as anybody, anybody.get(url, ssl=certificate.trusted()) as answer:
                    assert b"value" == await answer.read()
            await store.clear()
            assert [] == [key async for key in store.keys()]

    assert {BUCKET + ".localhost"} == {host for host, _ in seen}
    assert not any(path.startswith(f"/{BUCKET}") for _, path in seen)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", ELSEWHERE)
async def test_wrong_region_is_told(servers: Servers, kind: str, call: str) -> None:
    """It is an error of the configuration: it names the right region, and nothing is retried."""

    def decide(request: ProxiedRequest) -> Fault:
        return Fault(answer=ELSEWHERE[kind], headers={"x-amz-bucket-region": "eu-central-1"}, times=0)

    server = servers.get("ministack")
    async with FaultProxy(server.url, decide) as proxy, bucket_store(server, endpoint_url=proxy.url) as store:
        with pytest.raises(ConfigError, match="'eu-central-1'"):
            await CALLS[call](store)
        assert proxy.requests <= 3  # botocore looks for the right region by itself
