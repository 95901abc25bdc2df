"""`BucketStore` over TLS: the form of bodies, and untrusted servers."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from aiobotocore.config import AioConfig
from servers.buckets import bucket_store, s3_client
from servers.s3 import Server, Servers
from servers.tls import Certificate

from storage import StorageError
from storage.testing import Fault, FaultProxy, ProxiedRequest

MIB = 1 << 20


#: Headers of a body that is sent encoded.
CHUNKED = {"transfer-encoding", "x-amz-decoded-content-length", "x-amz-trailer"}


def as_of_old(request: ProxiedRequest) -> Fault | None:
    """Refuse a body that is not sent plainly and with its length, as servers did before trailing checksums existed."""
    plain = request.method in ("GET", "HEAD", "DELETE") or "content-length" in request.headers
    coded = "aws-chunked" in request.headers.get("content-encoding", "") or CHUNKED & request.headers.keys()
    if plain and not coded:
        return None
    return Fault(answer=(411, b"<Error><Code>MissingContentLength</Code></Error>"), times=0)


def not_expecting(request: Any, **_: object) -> None:
    """Make a client send bodies without waiting: the proxy sends no "100 Continue"."""
    request.headers.pop("Expect", None)


@pytest.mark.parametrize("given", [False, True], ids=["own", "given"])
@pytest.mark.parametrize("name", ["ministack", "ceph", "rclone"])
async def test_bodies_are_such_that_old_servers_take_them(
    servers: Servers, certificate: Certificate, name: str, given: bool
) -> None:
    """Over TLS, botocore encodes bodies unless it is configured not to; the bodies of all calls are plain."""
    server, kinds, forms = servers.get(name), set[str](), set[str]()

    def decide(request: ProxiedRequest) -> Fault | None:
        query = parse_qs(urlsplit(request.target).query, keep_blank_values=True)
        kinds.add(" ".join([request.method, *sorted(query)]))
        forms.add(request.headers.get("x-amz-content-sha256", "")[:16])
        return as_of_old(request)

    async with AsyncExitStack() as opened:
        proxy = await opened.enter_async_context(FaultProxy(server.url, decide, tls=certificate.shown()))
        options: dict[str, Any] = {"endpoint_url": proxy.url, "prefix": "old/", "ca_bundle": str(certificate.authority)}
        if given:
            config = AioConfig(request_checksum_calculation="when_required")
            client = s3_client(server, endpoint_url=proxy.url, verify=str(certificate.authority), config=config)
            options["client"] = await opened.enter_async_context(client)
            options["client"].meta.events.register("before-send.s3", not_expecting)
        store = await opened.enter_async_context(bucket_store(server, **options))
        await store.create_bucket()
        await store.put("k", b"value", attributes={"a": "b"})
        await store.put("empty", b"")
        await store.put("big", [b"x" * MIB] * 20)
        await store.copy("k", "copy")
        assert b"value" == await store.get("copy")
        assert 20 * MIB == (await store.head("big")).size
        assert b"x" * 20 * MIB == await store.get("big")
        assert ["big", "copy", "empty", "k"] == [key async for key in store.keys()]
        await store.delete("copy")
        assert {"k": None, "big": None, "empty": None} == await store.delete_many(["k", "big", "empty"])

    assert {"PUT", "PUT partNumber uploadId", "POST uploads", "POST uploadId", "POST delete"} <= kinds
    assert "STREAMING-UNSIGN" not in forms


async def test_certificate_that_nobody_trusts_is_refused(servers: Servers, certificate: Certificate) -> None:
    """Nothing is sent to a server without a trusted certificate."""
    server: Server = servers.get("ministack")
    async with (
        FaultProxy(server.url, tls=certificate.shown()) as proxy,
        bucket_store(server, endpoint_url=proxy.url, retry_timeout=0) as store,
    ):
        for call in (store.get("k"), anext(aiter(store.keys()))):
            with pytest.raises(StorageError):
                await call
        assert 0 == proxy.requests
