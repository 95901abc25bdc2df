"""`BucketStore` through a proxy that does all that a bad line and a busy server do, for thousands of operations."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import os
import random
import ssl
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from buckets import bucket_store, uploads
from servers import Server, Servers

from storage import BucketStore, KeyExistsError, OutcomeUnknownError, PreconditionFailedError, StorageError
from storage.testing import Fault, FaultProxy, ProxiedRequest

MIB = 1 << 20

#: Tasks that work at once, each on keys of its own, and what each does.
TASKS, STEPS = 24, 90

SLOW_DOWN = (503, b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>")
UNAVAILABLE = (503, b"")
INTERNAL = (500, b"<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>")
ERROR_IN_200 = (200, b"<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>")


def troubled(rng: random.Random, told: Counter[str]) -> Callable[[ProxiedRequest], Fault | None]:
    """Return what makes a fault of one request in eight."""

    def decide(request: ProxiedRequest) -> Fault | None:
        if rng.random() > 0.125:
            return None
        if request.method == "POST" and request.target.endswith("?uploads"):
            return None  # an upload that begins unheard of is one that nobody can give up (docs/s3.md)
        writes = request.method in ("PUT", "POST")
        name, fault = rng.choice(
            [
                ("delayed", Fault(delay=rng.random() / 20)),
                ("request cut", Fault(cut_request=rng.randrange(len(request.body) + 1))),
                ("request cut, reset", Fault(cut_request=rng.randrange(len(request.body) + 1), reset=True)),
                ("answer cut", Fault(cut_answer=rng.choice([0, 1, 100, 5000, MIB]))),
                ("answer lost", Fault(lose=True)),
                ("answer lost, reset", Fault(lose=True, reset=True)),
                ("sent twice", Fault(times=2)),
                ("slow down", Fault(answer=SLOW_DOWN, times=0)),
                ("unavailable", Fault(answer=UNAVAILABLE, times=0)),
                ("internal", Fault(answer=INTERNAL, times=rng.randrange(2))),
                ("200 with an error", Fault(answer=ERROR_IN_200, times=0)) if writes else ("none", Fault()),
            ]
        )
        told[name] += 1
        return fault

    return decide


class Worker:
    """One task's keys, and what it knows to be there: each key's value, or several where nobody could say."""

    def __init__(self, store: BucketStore, number: int) -> None:
        self._store = store
        self._rng = random.Random(number)
        self._number = number
        self.known: dict[str, set[bytes | None]] = {}
        self.failed: Counter[str] = Counter()

    async def work(self) -> None:
        for step in range(STEPS):
            key = f"{self._number}/{self._rng.randrange(6)}"
            data = f"{key} {step} ".encode() * self._rng.choice([1, 1, 10, 1000])
            act = self._rng.choice([self._put, self._put, self._create, self._swap, self._delete, self._get, self._get])
            try:
                async with asyncio.timeout(20):
                    await act(key, data)
            except StorageError as error:
                self.failed[type(error).__name__] += 1

    def _may_be(self, key: str) -> set[bytes | None]:
        return self.known.setdefault(key, {None})

    async def _put(self, key: str, data: bytes) -> None:
        before = self._may_be(key)
        self.known[key] = before | {data}  # until we are told
        await self._store.put(key, data)
        self.known[key] = {data}

    async def _create(self, key: str, data: bytes) -> None:
        before = self._may_be(key)
        self.known[key] = before | {data}
        try:
            await self._store.put(key, data, if_absent=True)
        except KeyExistsError:
            assert before != {None}, "it said that something was there where nothing was"
            self.known[key] = before - {None}
        else:
            assert None in before, "it created what was there"
            self.known[key] = {data}

    async def _swap(self, key: str, data: bytes) -> None:
        before = self._may_be(key)
        if None in before:
            return
        etag = (await self._store.head(key)).etag
        self.known[key] = before | {data}
        try:
            await self._store.put(key, data, if_match=etag)
        except OutcomeUnknownError:
            raise
        except PreconditionFailedError:
            raise AssertionError("nobody else has written") from None
        self.known[key] = {data}

    async def _delete(self, key: str, data: bytes) -> None:
        before = self._may_be(key)
        self.known[key] = before | {None}
        await self._store.delete(key)
        self.known[key] = {None}

    async def _get(self, key: str, data: bytes) -> None:
        before = self._may_be(key)
        found = (await self._store.get_many([key]))[key]
        if isinstance(found, bytes):
            assert found in before, f"{key}: a stale or a mixed read"
            self.known[key] = {found}
        elif not found.retryable:
            assert None in before, f"{key}: {found!r}"


@pytest.mark.parametrize("name", ["ministack", "ceph"])
async def test_nothing_acknowledged_is_lost(servers: Servers, name: str) -> None:
    """Every write that was confirmed is there, nothing is stale or mixed, and nothing is left behind."""
    server = servers.get(name)
    seed = random.randrange(1 << 32)
    told: Counter[str] = Counter()
    tasks = len(asyncio.all_tasks())
    async with bucket_store(server, prefix="faults/") as direct:
        async with FaultProxy(server.url, troubled(random.Random(seed), told)) as proxy:
            async with bucket_store(
                server, endpoint_url=proxy.url, prefix="faults/", read_timeout=2, conditions="trust"
            ) as store:
                workers = [Worker(store, number) for number in range(TASKS)]
                await asyncio.gather(*(worker.work() for worker in workers))
                sizes = {f"big/{number}": 9 * MIB + number for number in range(6)}
                bigs = await store.put_many(
                    {key: [b"x" * MIB] * 9 + [b"y" * (size % MIB)] for key, size in sizes.items()}, raise_errors=False
                )
            async with asyncio.timeout(10):
                while proxy.connections:  # noqa: ASYNC110  # the other side of each has been closed
                    await asyncio.sleep(0.01)

        expected = {key: values for worker in workers for key, values in worker.known.items()}
        found = await direct.get_many(expected)
        wrong = {
            key: found[key]
            for key, values in expected.items()
            if (found[key] if isinstance(found[key], bytes) else None) not in values
        }
        assert {} == wrong, f"seed {seed}"
        whole = {key for key, result in bigs.items() if isinstance(result, str)}
        for key in whole:
            assert sizes[key] == (await direct.head(key)).size
        assert [] == await uploads(server)
        failed = sum((worker.failed for worker in workers), Counter[str]())
        assert failed.total() < TASKS * STEPS / 50, f"seed {seed}: {failed}"
        assert len(told) >= 9, told
    assert tasks == len(asyncio.all_tasks())


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
