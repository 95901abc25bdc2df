"""Uploads of `BucketStore` in parts, on real servers: concurrent, resumed, aborted."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator

import pytest
from servers.buckets import BUCKET, bucket_store, pieces, s3_client, uploads
from servers.s3 import Server, Servers

from storage import BucketStore, PermissionDeniedError, StorageError
from storage.stores.s3.multipart import LARGEST, part_size
from storage.testing import Fault, FaultProxy, ProxiedRequest

MIB = 1 << 20
BIG = bytes(range(256)) * (20 * MIB // 256)


def test_parts_grow_to_the_largest_object() -> None:
    """10,000 parts, none larger than servers accept, hold 5 TiB."""
    assert LARGEST <= sum(map(part_size, range(1, 10_001)))
    assert part_size(10_000) <= 5 << 30


async def test_parts_are_sent_at_once(server: Server, store: BucketStore) -> None:
    """Several parts are sent concurrently, but not all of a large object."""
    now = most = 0
    arrived = asyncio.Event()

    def decide(request: ProxiedRequest) -> Fault | None:
        nonlocal now, most
        if "partNumber" in request.target:
            now += 1
            most = max(most, now)
            asyncio.get_running_loop().call_later(0.3, left)
            return Fault(delay=0.3)
        return None

    def left() -> None:
        nonlocal now
        now -= 1

    async with (
        FaultProxy(server.url, decide) as proxy,
        bucket_store(server, endpoint_url=proxy.url, prefix=store.prefix) as slow,
    ):
        await slow.put("k", pieces(BIG * 3))

    assert not arrived.is_set()
    assert 2 <= most <= 4
    assert BIG * 3 == await store.get("k")


@pytest.mark.parametrize("how", ["producer fails", "cancelled", "part fails"])
async def test_failed_upload_leaves_nothing(server: Server, store: BucketStore, how: str) -> None:
    """It leaves no object and no parts that would take up space, and the old object stays."""
    begun = asyncio.Event()

    async def source() -> AsyncIterator[bytes]:
        yield BIG
        begun.set()
        if how == "producer fails":
            raise ZeroDivisionError
        if how == "cancelled":
            await asyncio.Event().wait()
        yield BIG

    def decide(request: ProxiedRequest) -> Fault | None:
        if how == "part fails" and "partNumber=4" in request.target:
            return Fault(answer=(403, b"<Error><Code>AccessDenied</Code></Error>"), times=0)
        return None

    await store.put("k", b"old")
    async with (
        FaultProxy(server.url, decide) as proxy,
        bucket_store(server, endpoint_url=proxy.url, prefix=store.prefix) as faulty,
    ):
        task = asyncio.create_task(faulty.put("k", source()))
        await begun.wait()
        if how == "cancelled":
            task.cancel()
        expected = {
            "producer fails": ZeroDivisionError,
            "cancelled": asyncio.CancelledError,
            "part fails": PermissionDeniedError,
        }
        with pytest.raises(expected[how]):
            await task

    assert [] == await uploads(server)
    assert b"old" == await store.get("k")


async def test_upload_goes_on_in_another_store(server: Server, store: BucketStore) -> None:
    """The token is enough to continue; parts that the server has are not sent again."""
    token = await store.begin_upload("big", attributes={"color": "red"})

    async def breaks_off() -> AsyncIterator[bytes]:
        yield BIG[: 17 * MIB]
        async with s3_client(server) as client:
            name = {"Bucket": BUCKET, "Key": f"{store.prefix}big", "UploadId": json.loads(token)["upload"]}
            while len((await client.list_parts(**name)).get("Parts", ())) < 2:  # noqa: ASYNC110  # the state is the server's
                await asyncio.sleep(0.02)
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        await store.resume_upload(token, breaks_off())
    assert not await store.exists("big")
    sent: list[str] = []

    def decide(request: ProxiedRequest) -> None:
        if found := re.search("partNumber=([0-9]+)", request.target):
            sent.append(found[1])

    async with (
        FaultProxy(server.url, decide) as proxy,
        bucket_store(server, endpoint_url=proxy.url, prefix=store.prefix) as other,
    ):
        etag = await other.resume_upload(json.loads(json.dumps(token)), pieces(BIG))
        assert etag == await other.resume_upload(token, pieces(BIG))

    assert ["3"] == sent
    assert (etag, {"color": "red"}) == ((await store.head("big")).etag, dict((await store.head("big")).attributes))
    assert BIG == await store.get("big")
    assert [] == await uploads(server)


async def test_upload_that_goes_on_sends_what_has_changed(store: BucketStore) -> None:
    """The object is the data of the last call, whatever earlier calls have sent."""
    token = await store.begin_upload("k")

    async def breaks_off() -> AsyncIterator[bytes]:
        yield BIG
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        await store.resume_upload(token, breaks_off())
    other = BIG[::-1]
    await store.resume_upload(token, other)

    assert other == await store.get("k")


async def test_upload_given_up_is_over(server: Server, store: BucketStore) -> None:
    """It leaves nothing, cannot be resumed, and can be aborted twice."""
    token = await store.begin_upload("k")
    await store.abort_upload(token)
    await store.abort_upload(token)

    with pytest.raises(StorageError, match="upload") as caught:
        await store.resume_upload(token, b"v")
    assert "k" == caught.value.key
    assert not caught.value.retryable
    assert not await store.exists("k")
    assert [] == await uploads(server)


@pytest.mark.parametrize("token", ["", "{}", "[]", '{"key": 1, "upload": "u", "nonce": "n"}', "null"])
async def test_what_is_no_token_is_a_value_error(servers: Servers, token: str) -> None:
    """No request is sent."""
    async with bucket_store(servers.get("ministack")) as store:
        with pytest.raises(ValueError, match="token is not one that begin_upload returned"):
            await store.resume_upload(token, b"v")
