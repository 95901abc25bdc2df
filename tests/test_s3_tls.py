"""`BucketStore` over TLS: what is sent, and to whom."""

from __future__ import annotations

import pytest
from buckets import bucket_store
from certificates import Certificate
from servers import Server, Servers

from storage import StorageError
from storage.testing import FaultProxy, ProxiedRequest

MIB = 1 << 20


@pytest.mark.parametrize("name", ["ministack", "ceph", "rclone"])
async def test_bucket_over_tls(servers: Servers, certificate: Certificate, name: str) -> None:
    """Bodies are sent in another form than over plain HTTP: all kinds of calls work, none of them chunked."""
    server = servers.get(name)
    forms: set[str] = set()

    def decide(request: ProxiedRequest) -> None:
        forms.add(request.headers.get("x-amz-content-sha256", "")[:8] if request.method == "PUT" else "")
        forms.add(request.headers.get("content-encoding", ""))

    async with (
        FaultProxy(server.url, decide, tls=certificate.shown()) as proxy,
        bucket_store(server, endpoint_url=proxy.url, prefix="tls/", ca_bundle=str(certificate.authority)) as store,
    ):
        await store.create_bucket()
        await store.put("k", b"value", attributes={"a": "b"})
        await store.put("big", [b"x" * MIB] * 20)
        await store.copy("k", "copy")
        assert b"value" == await store.get("copy")
        assert 20 * MIB == (await store.head("big")).size
        assert b"x" * 20 * MIB == await store.get("big")
        assert ["big", "copy", "k"] == [key async for key in store.keys()]
        assert {"k": None, "big": None, "copy": None} == await store.delete_many(["k", "big", "copy"])

    assert "UNSIGNED" in forms
    assert "aws-chunked" not in forms


async def test_certificate_that_nobody_trusts_is_refused(servers: Servers, certificate: Certificate) -> None:
    """Nothing is sent to a server that cannot show who it is."""
    server: Server = servers.get("ministack")
    async with (
        FaultProxy(server.url, tls=certificate.shown()) as proxy,
        bucket_store(server, endpoint_url=proxy.url, retry_timeout=0) as store,
    ):
        for call in (store.get("k"), anext(aiter(store.keys()))):
            with pytest.raises(StorageError):
                await call
        assert 0 == proxy.requests
