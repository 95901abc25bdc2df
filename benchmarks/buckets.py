"""`BucketStore` beside aiobotocore and obstore, on rclone's S3 server, which is fast enough to compare clients."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.harness import Comparison, Work
from benchmarks.peers import KEYS, PAGE, Operation, at_once, missing

__all__ = ["bucket_get", "bucket_large_get", "bucket_large_put", "bucket_put"]

#: Where `make servers` puts rclone.
RCLONE = Path(__file__).parent.parent / ".servers" / "pip" / "bin" / "rclone"

#: Who may use the server.
ACCESS_KEY, SECRET_KEY, BUCKET = "AKBENCH000000000", "SKBENCH000000000", "bucket"

#: Tasks that use a store at once.
TASKS = 32

LARGE = 64 << 20
PIECE = bytes(1 << 20)


@asynccontextmanager
async def _rclone() -> AsyncIterator[str]:
    """Start the server over an empty directory and give its URL."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    with tempfile.TemporaryDirectory() as directory:
        os.mkdir(os.path.join(directory, BUCKET))
        options = ["--addr", address, "--auth-key", f"{ACCESS_KEY},{SECRET_KEY}", "--vfs-cache-mode", "off"]
        command = [str(RCLONE), "serve", "s3", "--config", os.devnull, *options, directory]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: ASYNC220
        try:
            for _ in range(200):
                await asyncio.sleep(0.05)
                with socket.socket() as tried:
                    if tried.connect_ex(("127.0.0.1", int(address.rpartition(":")[2]))) == 0:
                        break
            yield f"http://{address}"
        finally:
            process.terminate()
            process.wait()


@asynccontextmanager
async def _clients(url: str) -> AsyncIterator[tuple[Any, Any, Any]]:
    """Give aiobotocore's client, a store, and obstore's where it is installed."""
    from aiobotocore.config import AioConfig
    from aiobotocore.session import get_session

    from storage import BucketStore

    account = {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY, "region_name": "us-east-1"}
    config = AioConfig(max_pool_connections=TASKS, s3={"addressing_style": "path"})
    peer = None
    if find_spec("obstore"):
        from obstore.store import S3Store

        peer = S3Store(
            BUCKET,
            endpoint=url,
            access_key_id=ACCESS_KEY,
            secret_access_key=SECRET_KEY,
            region="us-east-1",
            virtual_hosted_style_request=False,
            client_options={"allow_http": True},
        )
    async with (
        get_session().create_client("s3", endpoint_url=url, config=config, **account) as client,
        BucketStore(
            BUCKET, endpoint_url=url, s3_access_key=ACCESS_KEY, s3_secret_key=SECRET_KEY, region="us-east-1"
        ) as store,
    ):
        yield client, store, peer


@asynccontextmanager
async def _compared(
    title: str, make: Callable[[Any, Any, Any], dict[str, Work]], at_most: float | None = None
) -> AsyncIterator[Comparison]:
    """Give what *make* makes of the clients; nothing where there is no server."""
    absent = missing("obstore") if RCLONE.exists() else ("rclone (make servers)",)
    if not RCLONE.exists():
        yield Comparison(title=title, contenders={}, missing=absent)
        return
    async with _rclone() as url, _clients(url) as (client, store, peer):
        await store.put_many(dict.fromkeys(KEYS, PAGE))
        contenders = make(client, store, peer)
        if peer is None:
            contenders.pop("obstore S3Store")
        yield Comparison(title=title, contenders=contenders, at_most=at_most, missing=absent)


def _tasks(operation: Operation) -> Work:
    return at_once(operation, TASKS)


@asynccontextmanager
async def bucket_get() -> AsyncIterator[Comparison]:
    """4 KiB, 32 tasks."""

    def make(client: Any, store: Any, peer: Any) -> dict[str, Work]:
        async def by_client(key: str) -> bytes:
            answer = await client.get_object(Bucket=BUCKET, Key=key)
            data: bytes = await answer["Body"].read()
            return data

        async def by_peer(key: str) -> bytes:
            return bytes(await (await peer.get_async(key)).bytes_async())

        return {
            "aiobotocore": _tasks(by_client),
            "BucketStore": _tasks(store.get),
            "obstore S3Store": _tasks(by_peer),
        }

    async with _compared("get from a bucket, 4 KiB, 32 tasks", make, at_most=0.2) as comparison:
        yield comparison


@asynccontextmanager
async def bucket_put() -> AsyncIterator[Comparison]:
    """4 KiB, 32 tasks."""

    def make(client: Any, store: Any, peer: Any) -> dict[str, Work]:
        return {
            "aiobotocore": _tasks(lambda key: client.put_object(Bucket=BUCKET, Key=key, Body=PAGE)),
            "BucketStore": _tasks(lambda key: store.put(key, PAGE)),
            "obstore S3Store": _tasks(lambda key: peer.put_async(key, PAGE)),
        }

    async with _compared("put into a bucket, 4 KiB, 32 tasks", make, at_most=0.2) as comparison:
        yield comparison


def _often(operation: Callable[[], Any]) -> Work:
    async def work(count: int) -> None:
        for _ in range(count):
            await operation()

    return work


@asynccontextmanager
async def bucket_large_put() -> AsyncIterator[Comparison]:
    """64 MiB, as a stream, in parts."""

    def make(client: Any, store: Any, peer: Any) -> dict[str, Work]:
        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(LARGE >> 20):
                yield PIECE

        return {
            "BucketStore": _often(lambda: store.put("large", pieces())),
            "obstore S3Store": _often(lambda: peer.put_async("large", pieces(), chunk_size=8 << 20, max_concurrency=4)),
        }

    async with _compared("stream into a bucket, 64 MiB", make) as comparison:
        yield comparison


@asynccontextmanager
async def bucket_large_get() -> AsyncIterator[Comparison]:
    """64 MiB, as a stream."""

    def make(client: Any, store: Any, peer: Any) -> dict[str, Work]:
        async def by_store() -> None:
            await _there(store)
            async with store.open("large") as reader:
                async for _ in reader:
                    pass

        async def by_peer() -> None:
            await _there(store)
            async for _ in (await peer.get_async("large")).stream(1 << 20):
                pass

        return {"BucketStore": _often(by_store), "obstore S3Store": _often(by_peer)}

    async with _compared("stream from a bucket, 64 MiB", make) as comparison:
        yield comparison


async def _there(store: Any) -> None:
    """Put the large object where it is not."""
    if not await store.exists("large"):
        await store.put("large", [PIECE] * (LARGE >> 20))
