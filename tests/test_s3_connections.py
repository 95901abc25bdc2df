"""`BucketStore` over TLS, and what it holds of connections."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import os
import ssl
from pathlib import Path

import pytest
from buckets import bucket_store
from servers import Server, Servers

from storage import StorageError
from storage.testing import FaultProxy, ProxiedRequest

MIB = 1 << 20

# -- over TLS --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a file with a certificate for the loopback address, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@pytest.mark.parametrize("name", ["ministack", "ceph", "rclone"])
async def test_bucket_over_tls(servers: Servers, certificate: Path, name: str) -> None:
    """Bodies are sent in another form than over plain HTTP: all kinds of calls work, none of them chunked."""
    server = servers.get(name)
    forms: set[str] = set()

    def decide(request: ProxiedRequest) -> None:
        forms.add(request.headers.get("x-amz-content-sha256", "")[:8] if request.method == "PUT" else "")
        forms.add(request.headers.get("content-encoding", ""))

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    async with (
        FaultProxy(server.url, decide, tls=context) as proxy,
        bucket_store(server, endpoint_url=proxy.url, prefix="tls/", ca_bundle=str(certificate)) as store,
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


async def test_certificate_that_nobody_trusts_is_refused(servers: Servers, certificate: Path) -> None:
    """Nothing is sent to a server that cannot show who it is."""
    server: Server = servers.get("ministack")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    async with (
        FaultProxy(server.url, tls=context) as proxy,
        bucket_store(server, endpoint_url=proxy.url, retry_timeout=0) as store,
    ):
        for call in (store.get("k"), anext(aiter(store.keys()))):
            with pytest.raises(StorageError):
                await call
        assert 0 == proxy.requests


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="open files are counted in /proc")
async def test_closed_store_holds_no_connection(servers: Servers) -> None:
    """Stores that come and go, some in the middle of reading, leave no open file."""
    server = servers.get("ministack")
    async with bucket_store(server, prefix="closed/") as store:
        await store.put("k", b"x" * 3 * MIB)
    counts = []
    for _ in range(6):
        async with bucket_store(server, prefix="closed/") as store:
            await asyncio.gather(*(store.get("k") for _ in range(8)))
            async with store.open("k") as reader:
                await reader.read(10)
            async for _ in store.keys():
                break
        counts.append(len(os.listdir("/proc/self/fd")))

    assert counts[1] == counts[-1]
