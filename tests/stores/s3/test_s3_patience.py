"""`BucketStore` with a server that stops answering: every call ends, with its own requests and with a client."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiobotocore.config import AioConfig
from servers.buckets import BUCKET, bucket_store, s3_client, uploads
from servers.mute import mute
from servers.s3 import Server, Servers

from storage import BucketStore, BulkError, StorageError, StoreTimeoutError
from storage.testing import Fault, FaultProxy, ProxiedRequest

MIB = 1 << 20

#: More than the buffers of two sockets, and more than one part of an upload.
LARGE = bytes(20 * MIB)

#: The content of a single part.
PART = bytes(8 * MIB)

#: The configuration of a client that does not retry.
ONCE = AioConfig(retries={"total_max_attempts": 1})

#: In seconds; a call that they end takes far less than `AT_MOST`.
TIMES: dict[str, Any] = {"connect_timeout": 0.2, "read_timeout": 0.3, "retry_timeout": 0}
AT_MOST = 8


async def stream(data: bytes) -> AsyncIterator[bytes]:
    for begin in range(0, len(data), MIB):
        yield data[begin : begin + MIB]


CALLS: dict[str, Callable[[BucketStore], Awaitable[object]]] = {
    "get": lambda store: store.get("k"),
    "head": lambda store: store.head("k"),
    "put": lambda store: store.put("k", b"v"),
    "put of nothing": lambda store: store.put("k", b""),
    "put of a part": lambda store: store.put("k", PART),
    "put in parts": lambda store: store.put("k", LARGE),
    "put of a stream": lambda store: store.put("k", stream(LARGE)),
    "create": lambda store: store.put("k", b"v", if_absent=True),
    "swap": lambda store: store.put("k", PART, if_match="e"),
    "delete": lambda store: store.delete("k"),
    "delete a version": lambda store: store.delete("k", if_match="e"),
    "delete in bulk": lambda store: store.delete_many(["k"]),
    "copy": lambda store: store.copy("k", "l"),
    "keys": lambda store: anext(aiter(store.keys())),
    "children": lambda store: anext(aiter(store.children())),
    "begin an upload": lambda store: store.begin_upload("k"),
    "resume an upload": lambda store: store.resume_upload('{"key": "k", "upload": "u", "nonce": "n"}', LARGE),
    "abort an upload": lambda store: store.abort_upload('{"key": "k", "upload": "u", "nonce": "n"}'),
    "make public": lambda store: store.make_public("k"),
    "create the bucket": lambda store: store.create_bucket(),
}


@pytest.fixture(params=["own requests", "client"])
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Callable[[str], Awaitable[BucketStore]]]:
    """Return a function that opens a store on the server at a URL; the client of one has long timeouts."""
    async with AsyncExitStack() as opened:

        async def made(url: str) -> BucketStore:
            server, client = Server("mute", url, "a", "b"), None
            if request.param == "client":
                client = await opened.enter_async_context(s3_client(server, config=ONCE))
            store = BucketStore(
                BUCKET,
                endpoint_url=url,
                s3_access_key="a",
                s3_secret_key="b",
                region="us-east-1",
                client=client,
                conditions="trust",
                **TIMES,
            )
            return await opened.enter_async_context(store)

        yield made


async def outcome(call: Awaitable[object]) -> object:
    """Return the error of a call, or that of the key in a bulk call."""
    try:
        async with asyncio.timeout(AT_MOST):
            return await call
    except BulkError as error:
        [failed] = error.results.values()
        return failed
    except StorageError as error:
        return error


@pytest.mark.slow
@pytest.mark.parametrize("reads", [True, False], ids=["reads", "does not read"])
async def test_mute_server_is_given_up(make: Callable[[str], Awaitable[BucketStore]], reads: bool) -> None:
    """Every call ends by the read timeout, whatever is sent, and whether the server reads it or not."""
    async with mute(reads) as url:
        store = await make(url)
        outcomes = dict(
            zip(CALLS, await asyncio.gather(*(outcome(call(store)) for call in CALLS.values())), strict=True)
        )

    assert {} == {name: error for name, error in outcomes.items() if not isinstance(error, StoreTimeoutError)}
    assert {None, "k"} == {error.key for error in outcomes.values() if isinstance(error, StorageError)}


BEGUN = b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"


@pytest.mark.slow
@pytest.mark.parametrize("reads", [True, False], ids=["reads", "does not read"])
async def test_server_that_takes_no_parts_is_given_up(
    make: Callable[[str], Awaitable[BucketStore]], reads: bool
) -> None:
    """An upload whose beginning was answered ends like any other call, and so does aborting it."""

    def answers(line: str) -> bytes | None:
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BEGUN), BEGUN) if "?uploads" in line else None

    async with mute(reads, answers=answers) as url:
        store = await make(url)
        for data in (LARGE, stream(LARGE)):
            async with asyncio.timeout(AT_MOST):
                with pytest.raises(StoreTimeoutError) as caught:
                    await store.put("k", data)
            assert "k" == caught.value.key


@pytest.mark.parametrize("where", ["partNumber=2", "the end"])
async def test_upload_that_the_server_stops_in_the_middle(servers: Servers, where: str) -> None:
    """The parts on the server are deleted if it still answers."""
    server = servers.get("ministack")

    def decide(request: ProxiedRequest) -> Fault | None:
        ends = request.method == "POST" and "uploadId=" in request.target
        return Fault(silent=True, times=0) if where in request.target or (where == "the end" and ends) else None

    async with (
        FaultProxy(server.url, decide) as proxy,
        bucket_store(server, endpoint_url=proxy.url, prefix="stopped/", **{**TIMES, "read_timeout": 1}) as store,
    ):
        async with asyncio.timeout(AT_MOST):
            with pytest.raises(StoreTimeoutError):
                await store.put("k", LARGE)

        assert not await store.exists("k")
    assert [] == await uploads(server)


async def test_body_that_goes_on_slowly_is_no_timeout(servers: Servers) -> None:
    """
    Timeouts limit the time without progress: a body may take longer than all of them, with a client as well.

    When it has, the server takes the rest at once: on a busy machine its pauses would add up to a timeout at the end.
    """
    server: Server = servers.get("ministack")
    finished: list[float] = []

    async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        begun, left = clock(), len(PART)
        if b"100-continue" in head:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while left:
            if clock() - begun < 1.8:
                await asyncio.sleep(0.02)
            left -= len(await reader.read(min(left, 1 << 16)))
        writer.write(b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 0\r\n\r\n')
        finished.append(clock() - begun)
        await reader.read()
        writer.close()

    clock = asyncio.get_running_loop().time
    with socket.socket() as listening:
        listening.setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16
        )  # bytes in it were sent, but have not arrived
        listening.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        options = {"endpoint_url": url, "connect_timeout": 0.2, "read_timeout": 1.5, "retry_timeout": 0}
        async with (
            await asyncio.start_server(slowly, sock=listening, limit=1 << 16),
            s3_client(server, endpoint_url=url) as client,
            bucket_store(server, **options) as plain,
            bucket_store(server, **options, client=client) as through,
        ):
            assert ("e", "e") == tuple(await asyncio.gather(plain.put("k", PART), through.put("k", PART)))

    assert min(finished) > 1.7


@pytest.mark.parametrize("name", CALLS)
async def test_attempts_are_ours_alone(servers: Servers, name: str) -> None:
    """Neither aiohttp nor botocore retries by itself, not even if the server reports a damaged body."""
    seen: Counter[tuple[str, str]] = Counter()

    def decide(request: ProxiedRequest) -> Fault:
        seen[request.method, request.target] += 1
        return Fault(times=0, answer=(400, b"<Error><Code>BadDigest</Code><Message>-</Message></Error>"))

    async with (
        FaultProxy(servers.get("ministack").url, decide) as proxy,
        bucket_store(servers.get("ministack"), endpoint_url=proxy.url, conditions="trust", retry_timeout=0) as store,
    ):
        error = await outcome(CALLS[name](store))

    assert isinstance(error, StorageError)
    assert {1} == set(seen.values())


@pytest.mark.parametrize("given", [False, True], ids=["own requests", "client"])
async def test_answer_that_nobody_asked_for(servers: Servers, given: bool) -> None:
    """A 304 without a condition, and with a checksum of no bytes, is an error like any other."""
    server: Server = servers.get("ministack")
    headers = {"x-amz-checksum-crc32": "AAAAAA==", "ETag": '"e"'}
    async with (
        FaultProxy(server.url, lambda request: Fault(times=0, answer=(304, b""), headers=headers)) as proxy,
        s3_client(server, endpoint_url=proxy.url, config=ONCE) as client,
        bucket_store(server, endpoint_url=proxy.url, client=client if given else None, **TIMES) as store,
    ):
        for call in (store.get, store.head):
            with pytest.raises(StorageError):
                await call("k")
