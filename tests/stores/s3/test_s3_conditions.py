"""Conditional writes of `BucketStore`: servers that ignore conditions, and answers that are lost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from servers.buckets import bucket_store, first, uploads
from servers.s3 import Server, Servers

from storage import KeyExistsError, OutcomeUnknownError, UnsupportedOperationError
from storage.testing import Fault, FaultProxy, ProxiedRequest

MIB = 1 << 20


@pytest.fixture
def server(servers: Servers) -> Server:
    """Return the emulator: it supports conditions, and pip can install it everywhere."""
    return servers.get("ministack")


async def test_server_that_ignores_conditions_never_overwrites(servers: Servers) -> None:
    """This is tested before the first conditional write; the object does not change."""
    async with bucket_store(servers.get("rclone"), prefix="ignores/") as store:
        etag = await store.put("k", b"old")
        assert store.capabilities.conditional_put

        for condition in ({"if_absent": True}, {"if_match": etag}, {"if_match": "0" * 32}):
            for data in (b"new", [b"n" * MIB] * 12):
                with pytest.raises(UnsupportedOperationError, match="ignores"):
                    await store.put("k", data, **condition)
        with pytest.raises(UnsupportedOperationError):
            await store.delete("k", if_match=etag)
        with pytest.raises(UnsupportedOperationError):
            await store.copy("k", "k", if_absent=True)

        assert b"old" == await store.get("k")
        assert ["k"] == [key async for key in store.keys()]
        assert not store.capabilities.conditional_put


@pytest.mark.parametrize("conditions", ["off", "trust"])
async def test_conditions_need_not_be_tried(server: Server, conditions: str) -> None:
    """What the caller states is not tested on the server."""
    seen: list[str] = []
    proxy = FaultProxy(server.url, lambda request: seen.append(request.method))
    async with proxy, bucket_store(server, endpoint_url=proxy.url, conditions=conditions, prefix="said/") as store:
        assert (conditions == "trust") is store.capabilities.conditional_put
        if conditions == "off":
            with pytest.raises(UnsupportedOperationError, match="conditions='off'"):
                await store.put(conditions, b"v", if_absent=True)
        else:
            await store.put(conditions, b"v", if_absent=True)

    assert ([] if conditions == "off" else ["PUT"]) == seen


@pytest.mark.parametrize("data", [b"mine", [b"m" * MIB] * 9], ids=["one request", "in parts"])
async def test_lost_answer_to_a_create_is_found_out(server: Server, data: Any) -> None:
    """The object is looked up: it is ours, and the put succeeds."""
    method, where = ("PUT", "") if isinstance(data, bytes) else ("POST", "uploadId=")
    decide = first(method, Fault(lose=True), where=where)
    async with (
        FaultProxy(server.url, decide) as proxy,
        bucket_store(server, endpoint_url=proxy.url, conditions="trust", prefix=f"lost-{method}/") as store,
    ):
        etag = await store.put("k", data, if_absent=True)

        assert etag == (await store.head("k")).etag
        assert {} == (await store.head("k")).attributes
        assert [] == await uploads(server)


async def test_lost_answer_to_a_create_that_came_second(server: Server) -> None:
    """The object is another writer's, and the put fails as it would have with the answer."""
    async with bucket_store(server, prefix="second/") as other:
        await other.put("k", b"theirs")
        async with (
            FaultProxy(server.url, first("PUT", Fault(lose=True))) as proxy,
            bucket_store(server, endpoint_url=proxy.url, conditions="trust", prefix="second/") as store,
        ):
            with pytest.raises(KeyExistsError):
                await store.put("k", b"mine", if_absent=True)

        assert b"theirs" == await other.get("k")


async def test_lost_answer_to_a_swap_that_nobody_can_tell(server: Server) -> None:
    """Our version may have been stored and replaced again: the error says that the outcome is unknown."""
    async with bucket_store(server, prefix="swap/") as other:
        etag = await other.put("k", b"base")
        answers = 0

        async def replace() -> None:
            await other.put("k", b"theirs")

        tasks = []

        def decide(request: ProxiedRequest) -> Fault | None:
            nonlocal answers
            answers += request.method == "PUT"
            if answers == 1 and request.method == "PUT":
                tasks.append(asyncio.ensure_future(replace()))
                return Fault(delay=0.3, lose=True)
            return None

        async with (
            FaultProxy(server.url, decide) as proxy,
            bucket_store(server, endpoint_url=proxy.url, conditions="trust", prefix="swap/") as store,
        ):
            with pytest.raises(OutcomeUnknownError):
                await store.put("k", b"mine", if_match=etag)
        await asyncio.gather(*tasks)
