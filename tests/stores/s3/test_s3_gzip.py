"""Objects that `BucketStore` stores compressed, on real servers."""

from __future__ import annotations

import gzip
import random
import struct
import tracemalloc
from collections.abc import AsyncIterator

import aiohttp
import pytest
from servers.buckets import BUCKET, bucket_store, pieces, read_in_pieces, s3_client, uploads
from servers.s3 import Server
from yarl import URL

from storage import BucketStore, ByteRange, CorruptObjectError, KeyExistsError, RangeNotSatisfiableError

MIB = 1 << 20


TEXT = b"The same words again and again. " * 1000


async def test_compressed_objects_are_read_as_they_were(server: Server, store: BucketStore) -> None:
    """Sizes, ranges and streams are those of the text; a browser gets gzip and a header for it."""
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
        return  # it decompresses for clients that accept gzip
    async with aiohttp.ClientSession() as browser:
        async with browser.get(URL(await store.presigned_get("page.html"), encoded=True)) as answer:
            assert ("gzip", "text/html") == (answer.headers["Content-Encoding"], answer.headers["Content-Type"])
            assert TEXT == await answer.read()
        async with browser.get(URL(await store.presigned_get("photo.jpg"), encoded=True)) as answer:
            assert "Content-Encoding" not in answer.headers


#: Data that compresses to one part of an upload, to several, and not at all.
STREAMS = {
    "one part": TEXT * 700,
    "several parts": random.Random(0).randbytes(8 * MIB).hex().encode(),
    "as it is": random.Random(1).randbytes(9 * MIB),
}


@pytest.mark.parametrize("name", STREAMS)
async def test_compressed_streams_are_read_as_they_were(server: Server, store: BucketStore, name: str) -> None:
    """They take bounded memory in both directions, and are gzip files that any program can decompress."""
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
    """Whatever its length, only some parts are in memory, and only some pieces when it is read."""

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
    """Neither get nor a reader at its end returns other data than was put."""
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

    assert TEXT == await store.get("nothing") == await read_in_pieces(store, 1000, "nothing")
    for key in [*changed][1:]:
        for call in (store.get(key), read_in_pieces(store, 1000, key)):
            with pytest.raises(CorruptObjectError) as caught:
                await call
            assert key == caught.value.key


async def test_bomb_is_not_unpacked(server: Server, store: BucketStore) -> None:
    """No more is decompressed than the size in the object says."""
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
