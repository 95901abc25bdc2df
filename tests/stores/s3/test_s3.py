"""`BucketStore` on real servers: its options, and what goes wrong on the way there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
from servers.buckets import BUCKET, bucket_store, s3_client, uploads
from servers.s3 import Server, Servers

from storage import (
    BucketStore,
    ConfigError,
    InvalidKeyError,
    KeyExistsError,
    OutcomeUnknownError,
    PermissionDeniedError,
    StoreClosedError,
    StoreUnavailableError,
    UnsupportedOperationError,
    open_store,
)
from storage.testing import Fault, FaultProxy, ProxiedRequest
from storage.types import ByteRange

MIB = 1 << 20
BIG = bytes(range(256)) * (20 * MIB // 256)


@pytest.fixture
def server(servers: Servers) -> Server:
    """Give the emulator: it keeps conditions, and is there wherever pip is."""
    return servers.get("ministack")


@pytest.fixture
async def store(server: Server, request: pytest.FixtureRequest) -> AsyncIterator[BucketStore]:
    async with bucket_store(server, prefix=f"{request.node.name}/") as store:
        yield store


def first(method: str, fault: Fault, *, times: int = 1, where: str = "") -> Callable[[ProxiedRequest], Fault | None]:
    """Return what makes *fault* of the first requests of a method, whose target has *where* in it."""
    left = times

    def decide(request: ProxiedRequest) -> Fault | None:
        nonlocal left
        if left and request.method == method and where in request.target:
            left -= 1
            return fault
        return None

    return decide


async def pieces(data: bytes, size: int = MIB) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


# -- who asks, and where ---------------------------------------------------------------------------------------------


async def test_bucket_is_made_once(server: Server) -> None:
    """Asking for one's own bucket again changes nothing in it."""
    async with bucket_store(server, bucket_name="made-once") as store:
        await store.create_bucket()
        await store.put("k", b"v")
        await store.create_bucket()

        assert b"v" == await store.get("k")


async def test_missing_bucket_is_told(server: Server) -> None:
    """It is a mistake in the configuration, not an object that is not there."""
    async with bucket_store(server, bucket_name="no-such-bucket") as store:
        for call in (store.get("k"), store.put("k", b"v"), anext(aiter(store.keys()))):
            with pytest.raises(ConfigError, match="bucket"):
                await call


async def test_secrets_are_in_no_text(servers: Servers) -> None:
    """Neither the store nor an error shows what requests are signed with."""
    store = bucket_store(servers.get("rclone"), s3_secret_key="hush-hush", session_token="hush-token")
    async with store:
        with pytest.raises(PermissionDeniedError) as caught:
            await store.get("k")

    shown = f"{store!r} {caught.value} {caught.value!r} {caught.value.__cause__!r} {store._account!r}"
    assert "hush" not in shown


async def test_error_has_the_request_id(servers: Servers) -> None:
    """By which those who run the server find it in their logs."""
    async with bucket_store(servers.get("ministack"), bucket_name="no-such-bucket") as store:
        with pytest.raises(ConfigError) as caught:
            await store.get("k")

    assert caught.value.request_id
    assert caught.value.request_id in str(caught.value)


async def test_given_client_does_everything_and_stays_open(server: Server) -> None:
    """No other client is made, and the one that is not ours works on when the store is closed."""
    asked: list[str] = []
    async with s3_client(server) as client:
        client.meta.events.register("before-call.s3", lambda model, **_: asked.append(model.name))
        store = BucketStore(BUCKET, client=client, prefix="given/")
        async with store:
            await store.create_bucket()
            etag = await store.put("k", b"v", if_absent=True)
            assert b"v" == await store.get("k")
            assert b"v" == await store.get("k", byte_range=ByteRange(0, 1))
            assert etag == (await store.head("k")).etag
            await store.put("big", pieces(BIG))
            assert ["big", "k"] == [key async for key in store.keys()]
            with pytest.raises(KeyExistsError):
                await store.put("k", b"w", if_absent=True)
            await store.delete("k")
        await client.head_bucket(Bucket=BUCKET)

    assert {"PutObject", "GetObject", "HeadObject", "UploadPart", "ListObjectsV2", "DeleteObject"} <= set(asked)


async def test_nobody_signs_a_url_without_credentials(server: Server) -> None:
    """An anonymous store can only be read from."""
    async with bucket_store(server, s3_access_key=None, s3_secret_key=None, anonymous=True) as store:
        with pytest.raises(PermissionDeniedError, match="credentials"):
            await store.presigned_get("k")


async def test_public_object_is_read_unsigned(servers: Servers) -> None:
    """`make_public` lets everybody read, `make_private` nobody."""
    server = servers.get("ceph")
    async with (
        bucket_store(server, prefix="public/") as store,
        bucket_store(server, prefix="public/", s3_access_key=None, s3_secret_key=None, anonymous=True) as anybody,
    ):
        await store.create_bucket()
        await store.put("k", b"v")
        with pytest.raises(PermissionDeniedError):
            await anybody.get("k")

        await store.make_public("k")
        assert b"v" == await anybody.get("k")

        await store.make_private("k")
        with pytest.raises(PermissionDeniedError):
            await anybody.get("k")


CALLS: dict[str, Callable[[BucketStore], Awaitable[object]]] = {
    "get": lambda store: store.get("k"),
    "head": lambda store: store.head("k"),
    "exists": lambda store: store.exists("k"),
    "put": lambda store: store.put("k", b"v"),
    "create": lambda store: store.put("new", b"v", if_absent=True),
    "put in parts": lambda store: store.put("big", pieces(BIG)),
    "delete": lambda store: store.delete("new"),
    "delete in bulk": lambda store: store.delete_many(["new", "other"]),
    "copy": lambda store: store.copy("k", "l"),
    "keys": lambda store: _all(store.keys()),
    "children": lambda store: _all(store.children()),
    "scan": lambda store: _all(store.scan()),
    "begin an upload": lambda store: store.begin_upload("upload"),
    "make private": lambda store: store.make_private("k"),
    "create the bucket": lambda store: store.create_bucket(),
}


async def _all(items: AsyncIterator[object]) -> list[object]:
    return [item async for item in items]


@pytest.mark.parametrize("hours", [-2, 2])
async def test_clock_that_is_wrong_is_set_by_the_server(servers: Servers, hours: int) -> None:
    """A request refused for its time is signed again with the server's, whoever sends it."""
    async with bucket_store(servers.get("ceph"), prefix=f"clock{hours}/", conditions="trust") as store:
        bucket: Any = await store._bucket()
        await store.put("k", b"v")
        for name, call in CALLS.items():
            bucket._skew = hours * 3600.0

            found = await call(store)

            assert abs(bucket._skew) < 60, name
            if name == "begin an upload":
                bucket._skew = hours * 3600.0
                assert isinstance(found, str)
                await store.resume_upload(found, pieces(BIG))
        assert b"v" == await store.get("l")
        assert [BIG, BIG] == [await store.get(key) for key in ("big", "upload")]


async def test_refusal_is_no_matter_of_the_clock(servers: Servers) -> None:
    """Where the server's clock agrees, or is none, nobody asks twice."""
    server = servers.get("ministack")
    for headers in ({}, {"Date": "yesterday"}, {"Date": format_datetime(datetime.now(UTC), usegmt=True)}):
        denied = Fault(times=0, answer=(403, b""), headers=headers)
        async with FaultProxy(server.url, first("HEAD", denied, times=9)) as proxy:
            async with bucket_store(server, endpoint_url=proxy.url) as store:
                with pytest.raises(PermissionDeniedError):
                    await store.head("k")
            assert 1 == proxy.requests


async def test_credentials_that_change_are_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each request is signed with what the chain of credentials gives at that moment."""
    keys: list[str] = []
    proxy = FaultProxy(server.url, lambda request: keys.append(request.headers["authorization"].split("/")[0][-3:]))
    async with proxy, bucket_store(server, endpoint_url=proxy.url) as store:
        await store.put("k", b"v")
        bucket: Any = await store._bucket()
        bucket._provider.access_key = "AKIAnew"
        await store.get("k")

    assert ["000", "new"] == keys


async def test_no_credentials_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody has any, the error says how to give them."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    async with BucketStore("bucket", endpoint_url="http://127.0.0.1:9") as store:
        with pytest.raises(PermissionDeniedError, match="anonymous=True"):
            await store.get("k")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"s3_access_key": "a"}, "belong together"),
        ({"s3_access_key": "a", "s3_secret_key": "b", "anonymous": True}, "leave out"),
        ({"conditions": "maybe"}, "'auto', 'trust' or 'off'"),
        ({"read_timeout": 0}, "read_timeout"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    """At once, and with what would be right."""
    with pytest.raises(ValueError, match=message):
        BucketStore("bucket", **options)


async def test_store_from_a_url(server: Server) -> None:
    """The bucket is the host, the prefix the path, all else the query."""
    url = (
        f"s3://{server.access_key}:{server.secret_key}@{BUCKET}/from/url/"
        f"?endpoint_url={server.url}&region=us-east-1&read_timeout=5"
    )
    async with open_store(url) as store, bucket_store(server) as plain:
        await store.put("k", b"v")

        assert b"v" == await plain.get("from/url/k")
        assert server.secret_key not in repr(store)


async def test_store_of_another_loop_says_so(server: Server) -> None:
    """One client belongs to one event loop, and the error says what to do."""
    async with bucket_store(server) as store:

        def elsewhere() -> bytes:
            return asyncio.run(store.get("k"))

        with pytest.raises(StoreClosedError, match="event loop"):
            await asyncio.to_thread(elsewhere)


async def test_virtual_hosts_have_the_bucket_in_the_host(server: Server) -> None:
    """With path_style=False the URL's host begins with the bucket's name."""
    async with bucket_store(server, endpoint_url="http://s3.example:9000", path_style=False) as store:
        assert "http://bucket.s3.example:9000/a%20b" == await store.url("a b")
        assert (await store.presigned_get("k")).startswith("http://bucket.s3.example:9000/k?")


@pytest.mark.parametrize("key", ["a\0b", "k" * 1025, "é" * 513])
async def test_keys_that_no_bucket_holds_are_refused(store: BucketStore, key: str) -> None:
    """In every method alike, and without asking the server."""
    for call in (store.get(key), store.put(key, b""), store.exists(key), store.presigned_get(key)):
        with pytest.raises(InvalidKeyError):
            await call


# -- conditions ------------------------------------------------------------------------------------------------------


async def test_server_that_ignores_conditions_never_overwrites(servers: Servers) -> None:
    """It is found out before the first write on a condition; the object stays as it is."""
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
    """What the caller says is not asked of the server."""
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
    """The object is looked at: it is ours, and the put succeeds."""
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
    """The object is somebody else's, and the put fails as it would have with the answer."""
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
    """Our version may have been there and be gone again: the error says that it is not known."""
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


# -- answers that are none -------------------------------------------------------------------------------------------

SLOW_DOWN = (503, b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>")
INTERNAL = (500, b"<Error><Code>InternalError</Code></Error>")
ERROR_IN_200 = (200, b"<Error><Code>InternalError</Code><Message>We encountered an error.</Message></Error>")


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
    """What a retry mends nobody sees."""

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
    """An answer of status 200 that holds an error is made again, not believed."""
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
    """After the time for all attempts, with the last error."""
    decide = lambda request: Fault(answer=SLOW_DOWN, times=0)  # noqa: E731
    async with (
        FaultProxy(server.url, decide) as proxy,
        bucket_store(server, endpoint_url=proxy.url, retry_timeout=0.5) as store,
    ):
        with pytest.raises(StoreUnavailableError, match="reduce your request rate"):
            await asyncio.wait_for(store.get("k"), 5)
        assert proxy.requests > 1


async def test_nobody_listens(server: Server) -> None:
    """A port without a server is unavailable, for every call."""
    async with bucket_store(server, endpoint_url="http://127.0.0.1:9", retry_timeout=0) as store:
        for call in (store.get("k"), store.put("k", b"v"), anext(aiter(store.keys()))):
            with pytest.raises(StoreUnavailableError):
                await call
