"""Network stores over a bad line and with a busy server: thousands of operations, and every promise is kept."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from processes.network_workers import LARGE, STEPS, TASKS, Line, work_over
from servers.buckets import bucket_store, uploads
from servers.nginx import nginx_server
from servers.odd_http import odd_server
from servers.redis import redis_server
from servers.s3 import Servers
from servers.tls import Certificate

from storage import FilesystemStore, HttpStore, ObjectStore, RedisStore
from storage.testing import Fault, FaultProxy, ProxiedRequest

pytestmark = pytest.mark.server

MIB = 1 << 20

#: What a server says when it has too much to do, did nothing, or did it and stumbled over the answer.
BUSY = {
    "slow down": (
        (503, b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"),
        False,
    ),
    "unavailable": ((503, b""), False),
    "internal": ((500, b"<Error><Code>InternalError</Code></Error>"), False),
    "internal, but done": ((500, b"<Error><Code>InternalError</Code></Error>"), True),
}

ERROR_IN_200 = (200, b"<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>")


@pytest.fixture
def seed() -> int:
    """Return a new seed each time; a failing test shows it."""
    return random.randrange(1 << 32)


def check(line: Line, failed: Counter[str], most: float) -> None:
    """Assert that every kind of fault occurred, and that no more than a share of the operations failed."""
    assert len(line.told) >= 11, line.told
    assert min(line.told.values()) > 5, line.told
    assert failed.total() < TASKS * STEPS * most, failed


def begins_upload(request: ProxiedRequest) -> bool:
    """Return whether an upload in parts begins; one whose answer is lost cannot be aborted (docs/stores/s3.md)."""
    query = parse_qs(urlsplit(request.target).query, keep_blank_values=True)
    return request.method == "POST" and "uploads" in query


class UploadLine(Line):
    """
    A line that counts uploads.

    Attributes:
        begun: by path, how many uploads in parts.
    """

    def __init__(
        self,
        seed: int,
        answers: dict[str, tuple[tuple[int, bytes], bool]],
        spared: Callable[[ProxiedRequest, str], bool],
    ) -> None:
        super().__init__(seed, answers, spared)
        self.begun: Counter[str] = Counter()

    def decide(self, request: ProxiedRequest) -> Fault | None:
        if begins_upload(request):
            self.begun[urlsplit(request.target).path] += 1
        return super().decide(request)


@pytest.mark.parametrize("name", ["ministack", "ceph", "ceph-tls"])
async def test_bucket_over_a_bad_line(servers: Servers, certificate: Certificate, name: str, seed: int) -> None:
    """Every write that was confirmed is there, nothing is stale or mixed, no upload is left."""

    def spared(request: ProxiedRequest, fault: str) -> bool:
        if fault == "200 with an error":
            return request.method not in ("PUT", "POST")
        return begins_upload(request)

    kind, _, tls = name.partition("-")
    server, options = servers.get(kind), {"read_timeout": 1, "conditions": "trust"}
    if tls:
        options["ca_bundle"] = str(certificate.authority)
    line = UploadLine(seed, BUSY | {"200 with an error": (ERROR_IN_200, False)}, spared)

    def connect(url: str) -> AbstractAsyncContextManager[ObjectStore]:
        return bucket_store(server, endpoint_url=url, prefix=f"faults-{name}/", **options)

    async with bucket_store(server, prefix=f"faults-{name}/") as direct:
        shown = certificate.shown() if tls else None
        failed = await work_over(server.url, line, connect, direct, large=9 * MIB, tls=shown)

    check(line, failed, 0.02)
    assert len(line.begun) >= LARGE, "beginnings are told from other requests"
    left = set(await uploads(server))
    # a server that is slow just then is asked again, though it has begun
    assert left <= {unquote(path).partition("/bucket/")[2] for path, times in line.begun.items() if times > 1}


async def test_web_server_over_a_bad_line(tmp_path: Path, certificate: Certificate, seed: int) -> None:
    """On nginx, which has no conditions; the objects are compared with its files."""
    line = Line(seed, BUSY)

    def connect(url: str) -> AbstractAsyncContextManager[ObjectStore]:
        return HttpStore(url, writable=True, read_timeout=1)

    with nginx_server(tmp_path, certificate) as nginx:
        direct = FilesystemStore(nginx.objects)
        failed = await work_over(nginx.url, line, connect, direct, large=3 * MIB, conditions=False)

    check(line, failed, 0.02)  # streams are sent once


async def test_web_server_with_conditions_over_a_bad_line(seed: int) -> None:
    """If the answer to a conditional write is lost, the error says that the outcome is unknown; it is never wrong."""

    def spared(request: ProxiedRequest, fault: str) -> bool:
        # whom a proxy between lets meet himself cannot know it
        return fault == "sent twice" and not request.headers.keys().isdisjoint(("if-match", "if-none-match"))

    line = Line(seed, BUSY, spared)

    def connect(url: str) -> AbstractAsyncContextManager[ObjectStore]:
        return HttpStore(url, writable=True, conditions="trust", read_timeout=1)

    async with odd_server() as server, HttpStore(server.url) as direct:
        failed = await work_over(server.url, line, connect, direct, large=3 * MIB)

    check(line, failed, 0.04)
    assert {"OutcomeUnknownError"} == set(failed) - {"StoreUnavailableError", "StoreTimeoutError"}


async def test_redis_over_a_bad_line(seed: int) -> None:
    """Commands are lost, cut or executed twice, on connections that break and are made again."""
    line = Line(
        seed,
        {
            "loading": ((0, b"-LOADING Redis is loading the dataset in memory\r\n"), False),
            "busy": ((0, b"-BUSY Redis is busy running a script\r\n"), False),
            "failing over": ((0, b"-FAILOVER the instance is failing over\r\n"), False),
        },
    )
    with redis_server() as server:
        async with RedisStore(server.url) as direct:
            failed = await work_over(
                server.url, line, lambda url: RedisStore(url, read_timeout=1), direct, large=3 * MIB
            )
        with server.client() as client:
            assert [] == client.keys("*:d:*")

    check(line, failed, 0.02)


@pytest.mark.parametrize("url", ["https://127.0.0.1:9000", "rediss://127.0.0.1:6379", "127.0.0.1:9000"])
def test_proxy_speaks_no_tls_to_the_server(url: str) -> None:
    """It raises an error immediately instead of waiting for an answer that never comes."""
    with pytest.raises(ValueError, match="http:// or redis://"):
        FaultProxy(url)
