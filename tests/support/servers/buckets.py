"""Buckets on the S3 servers, stores over them, and faults of their connections."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from aiobotocore.session import get_session
from servers.s3 import Server

import storage.sync
from storage import BucketStore
from storage.testing import Fault, ProxiedRequest

__all__ = ["BUCKET", "bucket_store", "conditions_of", "first", "pieces", "read_in_pieces", "s3_client", "uploads"]

BUCKET = "bucket"

#: The servers on which the bucket was created.
_MADE: set[str] = set()

#: By kind of server.
_CONDITIONS: dict[str, str] = {}


def bucket_store(server: Server, **options: Any) -> BucketStore:
    """Return a store over the server's bucket, which is created first; it gives up after seconds."""
    if server.url not in _MADE:
        with storage.sync.BucketStore(
            BUCKET,
            endpoint_url=server.url,
            s3_access_key=server.access_key,
            s3_secret_key=server.secret_key,
            region="us-east-1",
            ca_bundle=server.ca_bundle,
        ) as store:
            store.create_bucket()
        _MADE.add(server.url)
    return BucketStore(
        **{
            "bucket_name": BUCKET,
            "endpoint_url": server.url,
            "s3_access_key": server.access_key,
            "s3_secret_key": server.secret_key,
            "region": "us-east-1",
            "ca_bundle": server.ca_bundle,
            "read_timeout": 10,
            "retry_timeout": 5,
            **options,
        }
    )


async def conditions_of(server: Server) -> str:
    """Return the option for whether the server supports conditions, which is tested once."""
    if server.kind not in _CONDITIONS:
        async with bucket_store(server) as store:
            await store.probe()
            _CONDITIONS[server.kind] = "trust" if store.capabilities.conditional_put else "off"
    return _CONDITIONS[server.kind]


def s3_client(server: Server, **options: Any) -> AbstractAsyncContextManager[Any]:
    """Return a client of aiobotocore, to check a bucket without the store."""
    given = {
        "endpoint_url": server.url,
        "aws_access_key_id": server.access_key,
        "aws_secret_access_key": server.secret_key,
        "region_name": "us-east-1",
        "verify": server.ca_bundle,
        **options,
    }
    client: AbstractAsyncContextManager[Any] = get_session().create_client("s3", **given)
    return client


async def uploads(server: Server) -> list[str]:
    """Return the keys of uploads in parts that were neither completed nor aborted."""
    async with s3_client(server) as client:
        answer = await client.list_multipart_uploads(Bucket=BUCKET)
    return [each["Key"] for each in answer.get("Uploads", ())]


async def pieces(data: bytes, size: int = 1 << 20) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def read_in_pieces(store: BucketStore, size: int, key: str = "k") -> bytes:
    pieces = []
    async with store.open(key) as reader:
        while piece := await reader.read(size):
            pieces.append(piece)
    return b"".join(pieces)


def first(method: str, fault: Fault, *, times: int = 1, where: str = "") -> Callable[[ProxiedRequest], Fault | None]:
    """Return a function that answers with *fault* to the first requests of a method whose target contains *where*."""
    left = times

    def decide(request: ProxiedRequest) -> Fault | None:
        nonlocal left
        if left and request.method == method and where in request.target:
            left -= 1
            return fault
        return None

    return decide
