"""Objects of `BucketStore` on real servers: headers, signed URLs, bulk deletes, and without await."""

from __future__ import annotations

import re
import subprocess
import sys

import aiohttp
import pytest
from doubles import HandClock
from servers.buckets import BUCKET, bucket_store, s3_client
from servers.s3 import Server, Servers
from yarl import URL

import storage.sync
from storage import BucketStore, PermissionDeniedError
from storage._core import retry
from storage.testing import Fault, FaultProxy, ProxiedRequest

MIB = 1 << 20


# -- how objects are stored ------------------------------------------------------------------------------------------


async def test_headers_of_objects(server: Server, store: BucketStore) -> None:
    """The type is guessed, `Cache-Control` is the store's, and given attributes override both."""
    async with bucket_store(server, prefix=store.prefix, cache_control="max-age=60") as caching:
        await caching.put("a.json", b"{}")
        await caching.put("b.json", b"{}", attributes={"content-type": "text/plain", "cache-control": "no-store"})
        await caching.copy("a.json", "c.csv")

    async with s3_client(server) as client:
        found = {}
        for key in ("a.json", "b.json", "c.csv"):
            head = await client.head_object(Bucket=BUCKET, Key=store.prefix + key)
            found[key] = (head["ContentType"], head["CacheControl"])
    assert {
        "a.json": ("application/json", "max-age=60"),
        "b.json": ("text/plain", "no-store"),
        "c.csv": ("text/csv", "max-age=60"),
    } == found
    assert {"cache-control": "max-age=60"} == (await store.head("c.csv")).attributes


async def test_presigned_urls_work_for_nasty_keys(server: Server, store: BucketStore) -> None:
    """Anybody with the URL can read or write that object, and no other."""
    if server.name == "ministack":
        pytest.skip("it takes signatures of one user's only, and then any")
    key = "a b/ü?#%2F&=+.txt"
    put = URL(await store.presigned_put(key, content_type="text/plain"), encoded=True)
    get = URL(await store.presigned_get(key, expiry=60), encoded=True)
    async with aiohttp.ClientSession() as anybody:
        async with anybody.put(put, data=b"v", headers={"content-type": "text/plain"}) as answer:
            assert 200 == answer.status
        async with anybody.get(get) as answer:
            assert b"v" == await answer.read()
        other = URL(str(get).replace("%C3%BC", "%C3%B6"), encoded=True)
        async with anybody.get(other) as answer:
            assert 403 == answer.status

    assert b"v" == await store.get(key)


async def test_keys_deleted_in_bulk_have_their_own_results(store: BucketStore) -> None:
    """2,000 keys take a few requests, and an invalid key does not prevent the others."""
    keys = [f"k{number}" for number in range(1100)]
    await store.put_many(dict.fromkeys(keys[::100], b""))

    results = await store.delete_many([*keys, "bad\0key"], raise_errors=False)

    assert keys == [key for key, result in results.items() if result is None]
    assert isinstance(results["bad\0key"], ValueError)
    assert [] == [key async for key in store.keys()]


@pytest.mark.parametrize("ends", [True, False], ids=["for a while", "for good"])
async def test_keys_that_are_refused_for_now_are_deleted_again(
    server: Server, store: BucketStore, ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A successful response can contain errors of some keys: those are sent again, and no others."""
    clock = HandClock()
    monkeypatch.setattr(retry, "monotonic", clock.monotonic)
    monkeypatch.setattr(retry, "pause", clock.sleep)
    codes = {"busy": "SlowDown", "broken": "InternalError", "away": "ServiceUnavailable", "denied": "AccessDenied"}
    asked: list[set[str]] = []

    def decide(request: ProxiedRequest) -> Fault | None:
        if request.method != "POST":
            return None
        asked.append(set(re.findall(rf"<Key>{store.prefix}(\w+)</Key>", request.body.decode())))
        if ends and len(asked) > 2:
            return None
        errors = "".join(
            f"<Error><Key>{store.prefix}{key}</Key><Code>{code}</Code><Message>-</Message></Error>"
            for key, code in codes.items()
            if key in asked[-1]
        )
        return Fault(times=0, answer=(200, f"<DeleteResult>{errors}</DeleteResult>".encode()))

    await store.put_many(dict.fromkeys(codes, b"v"))
    async with (
        FaultProxy(server.url, decide) as proxy,
        bucket_store(server, endpoint_url=proxy.url, prefix=store.prefix, retry_timeout=5 if ends else 0.5) as faulty,
    ):
        results = await faulty.delete_many(["gone", *codes], raise_errors=False)

    waiting = {"busy", "broken", "away"}
    assert [{"gone", *codes}, waiting, waiting] == asked[:3]
    assert [waiting] * (len(asked) - 1) == asked[1:]
    denied = results.pop("denied")
    assert isinstance(denied, PermissionDeniedError)
    assert "denied" == denied.key
    failed = {key: error for key, error in results.items() if error is not None}
    assert (set() if ends else waiting) == set(failed)
    assert all(error.retryable and error.key == key for key, error in failed.items())
    assert (["denied"] if ends else sorted(codes)) == [key async for key in store.keys()]


# -- the synchronous face, and the end -------------------------------------------------------------------------------


def test_bucket_without_await(servers: Servers) -> None:
    """The synchronous store works, with its own methods as well."""
    server = servers.get("ministack")
    with storage.sync.BucketStore(
        "sync", endpoint_url=server.url, s3_access_key="a", s3_secret_key="b", region="us-east-1"
    ) as store:
        store.create_bucket()
        store.put("k", b"v", if_absent=True)
        token = store.begin_upload("big")
        store.resume_upload(token, [b"x" * MIB] * 9)

        assert [b"v", 9 * MIB] == [store.get("k"), store.head("big").size]
        assert ["big", "k"] == list(store.keys())
        assert store.presigned_get("k").startswith(server.url)


UNCLOSED = """
import asyncio, sys, warnings
warnings.simplefilter("error")
import storage.sync
store = storage.sync.BucketStore("bucket", endpoint_url=sys.argv[1], s3_access_key="a", s3_secret_key="b")
store.__enter__()
store.put("unclosed", b"v")
print(store.get("unclosed"))
"""


def test_store_left_open_does_not_hold_the_interpreter(servers: Servers) -> None:
    """A script that does not close its store ends nevertheless."""
    server = servers.get("ministack")
    with storage.sync.BucketStore("bucket", endpoint_url=server.url, s3_access_key="a", s3_secret_key="b") as store:
        store.create_bucket()
    ran = subprocess.run(
        [sys.executable, "-c", UNCLOSED, server.url], capture_output=True, text=True, timeout=30, check=False
    )

    assert (0, "b'v'\n") == (ran.returncode, ran.stdout), ran.stderr
