"""`BucketStore` on real servers: its client, its credentials and its options."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
from servers.buckets import BUCKET, bucket_store, first, pieces, s3_client
from servers.s3 import Server, Servers

from storage import (
    BucketStore,
    ConfigError,
    InvalidKeyError,
    KeyExistsError,
    PermissionDeniedError,
    StoreClosedError,
    open_store,
)
from storage.testing import Fault, FaultProxy
from storage.types import ByteRange

MIB = 1 << 20
BIG = bytes(range(256)) * (20 * MIB // 256)


@pytest.fixture
def server(servers: Servers) -> Server:
    """Return the emulator: it supports conditions, and pip can install it everywhere."""
    return servers.get("ministack")


async def test_bucket_is_made_once(server: Server) -> None:
    """Creating one's own bucket again changes nothing in it."""
    async with bucket_store(server, bucket_name="made-once") as store:
        await store.create_bucket()
        await store.put("k", b"v")
        await store.create_bucket()

        assert b"v" == await store.get("k")


async def test_missing_bucket_is_told(server: Server) -> None:
    """It is an error of the configuration, not a missing object."""
    async with bucket_store(server, bucket_name="no-such-bucket") as store:
        for call in (store.get("k"), store.put("k", b"v"), anext(aiter(store.keys()))):
            with pytest.raises(ConfigError, match="bucket"):
                await call


async def test_secrets_are_in_no_text(servers: Servers) -> None:
    """Neither the store nor an error shows the credentials."""
    store = bucket_store(servers.get("rclone"), s3_secret_key="hush-hush", session_token="hush-token")
    async with store:
        with pytest.raises(PermissionDeniedError) as caught:
            await store.get("k")

    shown = f"{store!r} {caught.value} {caught.value!r} {caught.value.__cause__!r} {store._account!r}"
    assert "hush" not in shown


async def test_error_has_the_request_id(servers: Servers) -> None:
    """Operators of the server find it in their logs."""
    async with bucket_store(servers.get("ministack"), bucket_name="no-such-bucket") as store:
        with pytest.raises(ConfigError) as caught:
            await store.get("k")

    assert caught.value.request_id
    assert caught.value.request_id in str(caught.value)


async def test_given_client_does_everything_and_stays_open(server: Server) -> None:
    """No other client is created, and the caller's client still works after the store is closed."""
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
    """A presigned URL needs credentials."""
    async with bucket_store(server, s3_access_key=None, s3_secret_key=None, anonymous=True) as store:
        with pytest.raises(PermissionDeniedError, match="credentials"):
            await store.presigned_get("k")


async def test_public_object_is_read_unsigned(servers: Servers) -> None:
    """After `make_public` everybody can read the object, after `make_private` nobody."""
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
    """A request refused for its time is signed again with the server's time, in every kind of call."""
    async with bucket_store(servers.get("ceph"), prefix=f"clock{hours}/", conditions="trust") as store:
        bucket: Any = (await store._bucket()).once
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
    """If the server's clock agrees or is unknown, the request is not repeated."""
    server = servers.get("ministack")
    for headers in ({}, {"Date": "yesterday"}, {"Date": format_datetime(datetime.now(UTC), usegmt=True)}):
        denied = Fault(times=0, answer=(403, b""), headers=headers)
        async with FaultProxy(server.url, first("HEAD", denied, times=9)) as proxy:
            async with bucket_store(server, endpoint_url=proxy.url) as store:
                with pytest.raises(PermissionDeniedError):
                    await store.head("k")
            assert 1 == proxy.requests


async def test_credentials_that_change_are_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each request is signed with the credentials that the chain returns at that moment."""
    keys: list[str] = []
    proxy = FaultProxy(server.url, lambda request: keys.append(request.headers["authorization"].split("/")[0][-3:]))
    async with proxy, bucket_store(server, endpoint_url=proxy.url) as store:
        await store.put("k", b"v")
        bucket: Any = (await store._bucket()).once
        bucket._provider.access_key = "AKIAnew"
        await store.get("k")

    assert ["000", "new"] == keys


async def test_no_credentials_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any credentials, the error says how to give them."""
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
    """The error comes from the constructor, and says what would be right."""
    with pytest.raises(ValueError, match=message):
        BucketStore("bucket", **options)


async def test_store_from_a_url(server: Server) -> None:
    """The bucket is the host, the prefix is the path, and the options are the query."""
    url = (
        f"s3://{server.access_key}:{server.secret_key}@{BUCKET}/from/url/"
        f"?endpoint_url={server.url}&region=us-east-1&read_timeout=5"
    )
    async with open_store(url) as store, bucket_store(server) as plain:
        await store.put("k", b"v")

        assert b"v" == await plain.get("from/url/k")
        assert server.secret_key not in repr(store)


async def test_store_of_another_loop_says_so(server: Server) -> None:
    """A client belongs to one event loop, and the error says what to do."""
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
    """Every method refuses them without a request."""
    for call in (store.get(key), store.put(key, b""), store.exists(key), store.presigned_get(key)):
        with pytest.raises(InvalidKeyError):
            await call
