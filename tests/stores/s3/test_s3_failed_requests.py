"""Requests of `BucketStore` that fail: which are retried, and which error is raised."""

from __future__ import annotations

import asyncio

import pytest
from servers.buckets import bucket_store, first, pieces
from servers.s3 import Server, Servers

from storage import BucketStore, StoreUnavailableError
from storage.testing import Fault, FaultProxy, ProxiedRequest

MIB = 1 << 20
BIG = bytes(range(256)) * (20 * MIB // 256)


SLOW_DOWN = (503, b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>")
INTERNAL = (500, b"<Error><Code>InternalError</Code></Error>")
ERROR_IN_200 = (200, b"<Error><Code>InternalError</Code><Message>We encountered an error.</Message></Error>")


@pytest.fixture
def server(servers: Servers) -> Server:
    """Return the emulator: it supports conditions, and pip can install it everywhere."""
    return servers.get("ministack")


@pytest.mark.parametrize(
    "fault",
    [
        Fault(answer=SLOW_DOWN, times=0),
        Fault(answer=INTERNAL, times=0),
        Fault(answer=INTERNAL),
        Fault(lose=True),
        Fault(lose=True, reset=True),
        Fault(cut_request=3),
        Fault(times=2),
    ],
    ids=["slow down", "internal", "internal, but done", "lost", "reset", "cut", "twice"],
)
async def test_calls_are_made_again(server: Server, fault: Fault) -> None:
    """The caller does not notice an error that a retry repairs."""

    def decide(request: ProxiedRequest) -> Fault | None:
        number = sum(request.method == method for method in seen)
        seen.append(request.method)
        return fault if not number else None

    seen: list[str] = []
    async with FaultProxy(server.url, decide) as proxy, bucket_store(server, endpoint_url=proxy.url) as store:
        await store.put("again", b"value", attributes={"a": "b"})
        assert b"value" == await store.get("again")
        assert 5 == (await store.head("again")).size
        assert "again" in [key async for key in store.keys("again")]
        assert {"again": None} == await store.delete_many(["again"])
        assert not await store.exists("again")


@pytest.mark.parametrize("work", ["copy", "complete", "put"])
async def test_error_in_a_good_answer_is_an_error(server: Server, store: BucketStore, work: str) -> None:
    """A request with an error in a response of status 200 is retried."""
    await store.put("k", b"value")
    method = "POST" if work == "complete" else "PUT"
    where = "uploadId=" if work == "complete" else ""
    decide = first(method, Fault(answer=ERROR_IN_200, times=0), where=where)
    async with (
        FaultProxy(server.url, decide) as proxy,
        bucket_store(server, endpoint_url=proxy.url, prefix=store.prefix) as faulty,
    ):
        if work == "copy":
            await faulty.copy("k", "new")
        else:
            await faulty.put("new", b"value" if work == "put" else pieces(BIG))

    assert await store.get("new") == (BIG if work == "complete" else b"value")


async def test_server_that_stays_down_is_given_up(server: Server) -> None:
    """The last error is raised after the time for all attempts."""
    decide = lambda request: Fault(answer=SLOW_DOWN, times=0)  # noqa: E731
    async with (
        FaultProxy(server.url, decide) as proxy,
        bucket_store(server, endpoint_url=proxy.url, retry_timeout=0.5) as store,
    ):
        with pytest.raises(StoreUnavailableError, match="reduce your request rate"):
            await asyncio.wait_for(store.get("k"), 5)
        assert proxy.requests > 1


async def test_nobody_listens(server: Server) -> None:
    """Without a server at the port, every call is a `StoreUnavailableError`."""
    async with bucket_store(server, endpoint_url="http://127.0.0.1:9", retry_timeout=0) as store:
        for call in (store.get("k"), store.put("k", b"v"), anext(aiter(store.keys()))):
            with pytest.raises(StoreUnavailableError):
                await call
