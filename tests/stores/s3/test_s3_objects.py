"""Objects of `BucketStore` on real servers: uploads in parts, checksums, compression, and what is left behind."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import re
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import aiohttp
import pytest
from servers.buckets import BUCKET, bucket_store, s3_client, uploads
from servers.s3 import Server, Servers
from yarl import URL

import storage.sync
from storage import (
    BucketStore,
    ByteRange,
    CorruptObjectError,
    KeyExistsError,
    PermissionDeniedError,
    RangeNotSatisfiableError,
    StorageError,
)
from storage.stores.s3.multipart import LARGEST, part_size
from storage.testing import Fault, FaultProxy, ProxiedRequest

MIB = 1 << 20
BIG = bytes(range(256)) * (20 * MIB // 256)
TEXT = b"The same words again and again. " * 1000


@pytest.fixture(params=["ministack", "ceph"])
def server(request: pytest.FixtureRequest, servers: Servers) -> Server:
    """Give each server that does all there is."""
    return servers.get(request.param)


@pytest.fixture
async def store(server: Server, request: pytest.FixtureRequest) -> AsyncIterator[BucketStore]:
    name = re.sub(r"\W+", "-", request.node.name)
    async with bucket_store(server, prefix=f"{name}/") as store:
        yield store


async def pieces(data: bytes, size: int = MIB) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


# -- parts -----------------------------------------------------------------------------------------------------------


def test_parts_grow_to_the_largest_object() -> None:
    """10,000 parts, none above what a server takes, hold 5 TiB."""
    assert LARGEST <= sum(map(part_size, range(1, 10_001)))
    assert part_size(10_000) <= 5 << 30


async def test_parts_are_sent_at_once(server: Server, store: BucketStore) -> None:
    """Several are on their way at a time, and not all of a large object."""
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
    """No object, no parts that would take room for ever, and the old object stays."""
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
    """The token is all that it takes; parts that are there are not sent again."""
    token = await store.begin_upload("big", attributes={"color": "red"})

    async def breaks_off() -> AsyncIterator[bytes]:
        yield BIG[: 17 * MIB]
        async with s3_client(server) as client:
            name = {"Bucket": BUCKET, "Key": f"{store.prefix}big", "UploadId": json.loads(token)["upload"]}
            while len((await client.list_parts(**name)).get("Parts", ())) < 2:  # noqa: ASYNC110  # it is the server's
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
    """The object is what the last call was given, whatever earlier ones have sent."""
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
    """It leaves nothing, cannot go on, and can be given up twice."""
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
    """And nothing is asked of the server."""
    async with bucket_store(servers.get("ministack")) as store:
        with pytest.raises(ValueError, match="no token"):
            await store.resume_upload(token, b"v")


# -- reading ---------------------------------------------------------------------------------------------------------


async def test_broken_answers_are_read_on(server: Server, store: BucketStore) -> None:
    """Cut at any byte, the rest comes by a range, of the same version."""
    await store.put("k", BIG)
    cuts = iter([0, 1, 100_000, 5 * MIB, 7 * MIB])

    def decide(request: ProxiedRequest) -> Fault | None:
        return Fault(cut_answer=cut) if request.method == "GET" and (cut := next(cuts, None)) is not None else None

    async with (
        FaultProxy(server.url, decide) as proxy,
        bucket_store(server, endpoint_url=proxy.url, prefix=store.prefix) as faulty,
        faulty.open("k") as reader,
    ):
        found = b"".join([piece async for piece in reader])

    assert BIG == found
    assert next(cuts, None) is None


async def test_many_readers_at_once(store: BucketStore) -> None:
    """However many one task has open, another can be opened, and every other method works beside them."""
    await store.put("k", BIG[: 4 * MIB])  # more than what a line holds

    async with AsyncExitStack() as opened, asyncio.timeout(60):
        readers = [await opened.enter_async_context(store.open("k")) for _ in range(300)]
        assert {BIG[:4]} == {await reader.read(4) for reader in readers}

        await store.put("l", b"v", if_absent=True)
        await store.put("large", pieces(BIG))
        assert [b"v", BIG] == [await store.get(key) for key in ("l", "large")]
        assert ["k", "l", "large"] == [key async for key in store.keys()]
        assert {"l": None, "large": None} == await store.delete_many(["l", "large"])
        assert BIG[4 : 4 * MIB] == await readers[-1].read()


async def test_object_replaced_amid_a_broken_read_is_an_error(server: Server, store: BucketStore) -> None:
    """Never the start of one version and the end of another."""
    await store.put("k", BIG)
    cuts = iter([MIB])

    def decide(request: ProxiedRequest) -> Fault | None:
        return Fault(cut_answer=cut) if request.method == "GET" and (cut := next(cuts, None)) is not None else None

    async with (
        FaultProxy(server.url, decide) as proxy,
        bucket_store(server, endpoint_url=proxy.url, prefix=store.prefix) as faulty,
        faulty.open("k") as reader,
    ):
        start = await reader.read(1000)
        await store.put("k", bytes(len(BIG)))
        with pytest.raises(StorageError, match="replaced"):
            await reader.read()

    assert BIG[:1000] == start


READS: dict[str, Callable[[BucketStore], Awaitable[object]]] = {
    "get": lambda store: store.get("k"),
    "at once": lambda store: _read(store, -1),
    "in pieces": lambda store: _read(store, 100_000),
}


async def _read(store: BucketStore, size: int, key: str = "k") -> bytes:
    pieces = []
    async with store.open(key) as reader:
        while piece := await reader.read(size):
            pieces.append(piece)
    return b"".join(pieces)


@pytest.mark.parametrize("given", [False, True], ids=["own requests", "client"])
@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
async def test_bytes_that_are_not_the_checksums_are_an_error(
    server: Server, store: BucketStore, algorithm: str, given: bool
) -> None:
    """What was changed on its way is not handed out as a whole, however it is read."""
    async with s3_client(server) as client:
        name = {"Bucket": BUCKET, "Key": f"{store.prefix}k"}
        await client.put_object(**name, Body=TEXT, ChecksumAlgorithm=algorithm)
        head = await client.head_object(**name, ChecksumMode="ENABLED")
    headers = {f"x-amz-checksum-{algorithm.lower()}": head[f"Checksum{algorithm}"], "ETag": head["ETag"]}
    changed = Fault(answer=(200, TEXT[:-1] + b"!"), headers=headers)
    for read in READS.values():
        assert TEXT == await read(store)
    async with (
        FaultProxy(server.url, lambda request: changed) as proxy,
        s3_client(server, endpoint_url=proxy.url) as client,
        bucket_store(server, endpoint_url=proxy.url, prefix=store.prefix, client=client if given else None) as faulty,
    ):
        for read in READS.values():
            with pytest.raises(CorruptObjectError, match="checksum") as caught:
                await read(faulty)
            assert "k" == caught.value.key


async def test_body_that_goes_on_with_other_bytes_is_an_error(server: Server, store: BucketStore) -> None:
    """The checksum is of the whole, also when it came in two answers; who reads a part, or goes about, has none."""
    data = BIG[: 6 * MIB]
    etag = await store.put("k", data)
    rest = data[4 * MIB :][::-1]
    headers = {"ETag": f'"{etag}"', "Content-Range": f"bytes {4 * MIB}-{len(data) - 1}/{len(data)}"}

    def decide(request: ProxiedRequest) -> Fault:
        begins = f"bytes={4 * MIB}-"
        if request.headers.get("range", "").startswith(begins):
            return Fault(answer=(206, rest), headers=headers)
        return Fault(cut_answer=4 * MIB)

    async with (
        FaultProxy(server.url, decide) as proxy,
        bucket_store(server, endpoint_url=proxy.url, prefix=store.prefix) as faulty,
    ):
        async with faulty.open("k") as reader:
            assert data[: 4 * MIB] == await reader.read(4 * MIB)
            with pytest.raises(CorruptObjectError):
                await reader.read()
        async with faulty.open("k") as reader:
            await reader.seek(4 * MIB)
            assert rest == await reader.read()


async def test_object_whose_parts_have_the_checksums_is_read(server: Server, store: BucketStore) -> None:
    """Of such a one nothing can be verified, and nothing is wrong."""
    async with s3_client(server) as client:
        name = {"Bucket": BUCKET, "Key": f"{store.prefix}k"}
        upload = {
            **name,
            "UploadId": (await client.create_multipart_upload(**name, ChecksumAlgorithm="CRC32"))["UploadId"],
        }
        parts = []
        for number, data in enumerate((BIG[: 8 * MIB], BIG[8 * MIB :]), start=1):
            sent = await client.upload_part(**upload, PartNumber=number, Body=data, ChecksumAlgorithm="CRC32")
            parts.append({"PartNumber": number, "ETag": sent["ETag"], "ChecksumCRC32": sent["ChecksumCRC32"]})
        await client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})

    assert [BIG] * 3 == [await read(store) for read in READS.values()]


# -- what objects are kept as ----------------------------------------------------------------------------------------


async def test_compressed_objects_are_read_as_they_were(server: Server, store: BucketStore) -> None:
    """Sizes, ranges and streams are of the text; a browser gets gzip and is told so."""
    async with bucket_store(server, prefix=store.prefix, compress=True) as packing:
        etag = await packing.put("page.html", TEXT, attributes={"color": "red"})
        await packing.put("photo.jpg", TEXT)
        await packing.put("short.txt", b"short")
        await packing.copy("page.html", "copy.html")
        await packing.put("given.txt", gzip.compress(TEXT), attributes={"content-encoding": "gzip"})

    for key in ("page.html", "copy.html"):
        info = await store.head(key)
        assert (len(TEXT), {"color": "red"}) == (info.size, dict(info.attributes))
        assert TEXT == await store.get(key)
        assert TEXT[5:10] == await store.get(key, byte_range=ByteRange(5, 10))
        assert TEXT[-7:] == await store.get(key, byte_range=ByteRange.suffix(7))
        assert TEXT[31_000:] == await store.get(key, byte_range=ByteRange(31_000))
        assert b"" == await store.get(key, byte_range=ByteRange(len(TEXT)))
        with pytest.raises(RangeNotSatisfiableError):
            await store.get(key, byte_range=ByteRange(len(TEXT) + 1))
        async with store.open(key) as reader:
            assert (TEXT[:9], TEXT[9:]) == (await reader.read(9), await reader.read())
    assert etag == (await store.head("page.html")).etag
    assert [TEXT, b"short"] == [await store.get(key) for key in ("photo.jpg", "short.txt")]
    assert TEXT == gzip.decompress(await store.get("given.txt"))
    assert {"content-encoding": "gzip"} == (await store.head("given.txt")).attributes
    if server.name == "ministack":
        return  # it unpacks for whoever says that he can
    async with aiohttp.ClientSession() as browser:
        async with browser.get(URL(await store.presigned_get("page.html"), encoded=True)) as answer:
            assert ("gzip", "text/html") == (answer.headers["Content-Encoding"], answer.headers["Content-Type"])
            assert TEXT == await answer.read()
        async with browser.get(URL(await store.presigned_get("photo.jpg"), encoded=True)) as answer:
            assert "Content-Encoding" not in answer.headers


#: What compresses to a part of an upload, to some, and not at all.
STREAMS = {
    "one part": TEXT * 700,
    "several parts": random.Random(0).randbytes(8 * MIB).hex().encode(),
    "as it is": random.Random(1).randbytes(9 * MIB),
}


@pytest.mark.parametrize("name", STREAMS)
async def test_compressed_streams_are_read_as_they_were(server: Server, store: BucketStore, name: str) -> None:
    """They go through in bounded memory, both ways; and are sent as gzip files that any program unpacks."""
    data = STREAMS[name]
    async with bucket_store(server, prefix=store.prefix, compress=True) as packing:
        etag = await packing.put("k.csv", pieces(data), attributes={"color": "red"}, if_absent=True)
        with pytest.raises(KeyExistsError):
            await packing.put("k.csv", pieces(data), if_absent=True)
        await store.copy("k.csv", "moved.csv")
        await store.rename("moved.csv", "renamed.csv")

    middle = len(data) // 2
    for key in ("k.csv", "renamed.csv"):
        info = await store.head(key)
        assert (len(data), {"color": "red"}) == (info.size, dict(info.attributes))
        assert data == await store.get(key)
    assert etag == (await store.head("k.csv")).etag
    for byte_range in (ByteRange(middle, middle + 10), ByteRange.suffix(7), ByteRange(0, 5), ByteRange(middle)):
        start, stop = byte_range.within(len(data))
        assert data[start:stop] == await store.get("k.csv", byte_range=byte_range)
    assert b"" == await store.get("k.csv", byte_range=ByteRange(len(data)))
    with pytest.raises(RangeNotSatisfiableError):
        await store.get("k.csv", byte_range=ByteRange(len(data) + 1))
    async with store.open("k.csv") as reader:
        assert data == b"".join([piece async for piece in reader])
        await reader.seek(middle)
        assert data[middle : middle + 9] == await reader.read(9)
        await reader.seek(3)
        assert data[3:] == await reader.read()
    assert [] == await uploads(server)

    async with s3_client(server) as client:
        answer = await client.get_object(Bucket=BUCKET, Key=f"{store.prefix}k.csv")
        kept = await answer["Body"].read()
    assert ("as it is" == name) is ("ContentEncoding" not in answer)
    assert data == (kept if name == "as it is" else gzip.decompress(kept))


async def test_compressed_stream_takes_little_memory(server: Server, store: BucketStore) -> None:
    """Some parts are in memory, however long it is, and of one that is read some pieces."""

    async def long() -> AsyncIterator[bytes]:
        for _ in range(120):
            yield TEXT * 32

    async with bucket_store(server, prefix=store.prefix, compress=True) as packing:
        await packing.put("warm.txt", b"v")
        tracemalloc.start()
        try:
            await packing.put("k.txt", long())
            put = tracemalloc.get_traced_memory()[1]
            tracemalloc.reset_peak()
            async with packing.open("k.txt") as reader:
                size = sum([len(piece) async for piece in reader])
            read = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert 120 * 32 * len(TEXT) == size
    assert put < 60 * MIB
    assert read < 10 * MIB


async def test_compressed_stream_that_is_damaged_is_an_error(server: Server, store: BucketStore) -> None:
    """Neither get nor a reader that comes to the end gives what is not the data that was put."""
    packed = gzip.compress(TEXT, mtime=0)
    kept = b"\x1f\x8b\x08\x04" + bytes(5) + struct.pack("<BH2sHQ", 255, 12, b"SS", 8, len(TEXT)) + packed[10:]
    changed = {
        "nothing": kept,
        "end": kept[:-9],
        "size": kept[:16] + struct.pack("<Q", len(TEXT) - 1) + kept[24:],
        "more": kept[:16] + struct.pack("<Q", len(TEXT) + 1) + kept[24:],
        "checksum": kept[:-8] + bytes(4) + kept[-4:],
        "data": kept[:40] + bytes(8) + kept[48:],
        "beginning": packed,
    }
    async with s3_client(server) as client:
        for name, data in changed.items():
            await client.put_object(
                Bucket=BUCKET,
                Key=f"{store.prefix}{name}",
                Body=data,
                ContentEncoding="gzip",
                Metadata={"-size": "inside"},
            )

    assert TEXT == await store.get("nothing") == await _read(store, 1000, "nothing")
    for key in [*changed][1:]:
        for call in (store.get(key), _read(store, 1000, key)):
            with pytest.raises(CorruptObjectError) as caught:
                await call
            assert key == caught.value.key


async def test_bomb_is_not_unpacked(server: Server, store: BucketStore) -> None:
    """No more is unpacked than the object says that it has."""
    async with s3_client(server) as client:
        await client.put_object(
            Bucket=BUCKET,
            Key=f"{store.prefix}k",
            Body=gzip.compress(bytes(100 * MIB)),
            ContentEncoding="gzip",
            Metadata={"-size": "1000"},
        )

    with pytest.raises(CorruptObjectError, match="another size"):
        await store.get("k")


async def test_headers_of_objects(server: Server, store: BucketStore) -> None:
    """The type is guessed, `Cache-Control` is the store's, and what is given goes before both."""
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
    """Anybody who has one can read or write that object, and no other."""
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
    """2,000 keys are a few requests, and one that no bucket can hold does not keep the others."""
    keys = [f"k{number}" for number in range(1100)]
    await store.put_many(dict.fromkeys(keys[::100], b""))

    results = await store.delete_many([*keys, "bad\0key"], raise_errors=False)

    assert keys == [key for key, result in results.items() if result is None]
    assert isinstance(results["bad\0key"], ValueError)
    assert [] == [key async for key in store.keys()]


@pytest.mark.parametrize("ends", [True, False], ids=["for a while", "for good"])
async def test_keys_that_are_refused_for_now_are_deleted_again(server: Server, store: BucketStore, ends: bool) -> None:
    """A good answer can say of some keys that they must wait: those are asked for again, and no others."""
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
    """The same, with the methods of its own."""
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
    """A script that forgets to close ends all the same."""
    server = servers.get("ministack")
    with storage.sync.BucketStore("bucket", endpoint_url=server.url, s3_access_key="a", s3_secret_key="b") as store:
        store.create_bucket()
    ran = subprocess.run(
        [sys.executable, "-c", UNCLOSED, server.url], capture_output=True, text=True, timeout=30, check=False
    )

    assert (0, "b'v'\n") == (ran.returncode, ran.stdout), ran.stderr
