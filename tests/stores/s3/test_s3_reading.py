"""Reads of `BucketStore` on real servers: responses that are cut short, objects that are replaced, checksums."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from servers.buckets import BUCKET, bucket_store, pieces, read_in_pieces, s3_client
from servers.s3 import Server

from storage import BucketStore, CorruptObjectError, StorageError
from storage.testing import Fault, FaultProxy, ProxiedRequest

MIB = 1 << 20
BIG = bytes(range(256)) * (20 * MIB // 256)
TEXT = b"The same words again and again. " * 1000


async def test_broken_answers_are_read_on(server: Server, store: BucketStore) -> None:
    """After a cut at any byte, the rest of the same version is requested by a range."""
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
    """A task can open any number of readers, and every other method works meanwhile."""
    await store.put("k", BIG[: 4 * MIB])  # more than the buffers of a connection

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
    """A read never returns the start of one version and the end of another."""
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
    "at once": lambda store: read_in_pieces(store, -1),
    "in pieces": lambda store: read_in_pieces(store, 100_000),
}


@pytest.mark.parametrize("given", [False, True], ids=["own requests", "client"])
@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
async def test_bytes_that_are_not_the_checksums_are_an_error(
    server: Server, store: BucketStore, algorithm: str, given: bool
) -> None:
    """An object that was changed on its way is never returned whole, however it is read."""
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
    """The checksum covers the whole object, also if it came in two responses; reads of a part and seeks have none."""
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
    """Such an object cannot be verified, and that is no error."""
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
