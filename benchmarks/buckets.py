"""Objects in a bucket, on rclone's S3 server, which is fast enough to compare clients."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.call_styles import (
    awaited_obstore,
    awaited_opendal,
    awaited_store,
    sync_obstore,
    sync_opendal,
    sync_store,
)
from benchmarks.contenders import Calls, Place, contender

__all__ = ["ACCOUNT", "RCLONE", "obstore_bucket", "rclone", "store_bucket"]

#: Where `make servers` puts rclone.
RCLONE = Path(__file__).parent.parent / ".servers" / "pip" / "bin" / "rclone"

#: Directories in memory, where no disk slows the server.
MEMORY = "/dev/shm"

BUCKETS = ("bucket", "another")
REGION = "us-east-1"

#: The credentials for the server.
ACCOUNT = {"access_key": "AKBENCH000000000", "secret_key": "SKBENCH000000000"}


@contextmanager
def rclone() -> Iterator[str]:
    """Start the server over an empty directory, in memory if possible, and yield its URL."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    with tempfile.TemporaryDirectory(dir=MEMORY if os.path.isdir(MEMORY) else None) as directory:
        for bucket in BUCKETS:
            os.mkdir(os.path.join(directory, bucket))
        options = ["--addr", address, "--auth-key", ",".join(ACCOUNT.values()), "--vfs-cache-mode", "off"]
        command = [str(RCLONE), "serve", "s3", "--config", os.devnull, *options, directory]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            for _ in range(200):
                with socket.socket() as tried:
                    if tried.connect_ex(("127.0.0.1", int(address.rpartition(":")[2]))) == 0:
                        break
                time.sleep(0.05)
            yield f"http://{address}"
        finally:
            process.kill()  # terminated, it would wait for connections that clients keep open
            process.wait()


def store_bucket(url: str, module: Any, bucket: str = BUCKETS[0]) -> Any:
    """Return our store over a bucket, of `storage` or of `storage.sync`."""
    account = {f"s3_{name}": value for name, value in ACCOUNT.items()}
    return module.BucketStore(bucket, endpoint_url=url, region=REGION, **account)


def obstore_bucket(url: str, bucket: str = BUCKETS[0]) -> Any:
    """Return obstore's store over a bucket."""
    from obstore.store import S3Store

    return S3Store(
        bucket,
        endpoint=url,
        access_key_id=ACCOUNT["access_key"],
        secret_access_key=ACCOUNT["secret_key"],
        region=REGION,
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )


def _opendal(place: Place) -> dict[str, str]:
    account = {"access_key_id": ACCOUNT["access_key"], "secret_access_key": ACCOUNT["secret_key"]}
    return {"bucket": BUCKETS[place.number], "endpoint": place.server, "region": REGION, **account}


@contender("s3", "BucketStore", ours=True)
async def bucket_store(place: Place) -> AsyncIterator[Calls]:
    import storage

    async with store_bucket(place.server, storage, BUCKETS[place.number]) as store:
        yield awaited_store(store)


@contender("s3", "obstore S3Store", needs="obstore")
async def obstore_s3(place: Place) -> AsyncIterator[Calls]:
    yield awaited_obstore(obstore_bucket(place.server, BUCKETS[place.number]))


@contender("s3", "opendal s3", needs="opendal")
async def opendal_s3(place: Place) -> AsyncIterator[Calls]:
    from opendal import AsyncOperator

    yield awaited_opendal(AsyncOperator("s3", **_opendal(place)))


@contender("s3", "s3fs", needs="s3fs")
async def by_s3fs(place: Place) -> AsyncIterator[Calls]:
    import s3fs

    files = s3fs.S3FileSystem(
        key=ACCOUNT["access_key"],
        secret=ACCOUNT["secret_key"],
        endpoint_url=place.server,
        client_kwargs={"region_name": REGION},
        config_kwargs={"max_pool_connections": max(place.tasks, 10)},
        asynchronous=True,
        skip_instance_cache=True,
        use_listings_cache=False,
    )
    session = await files.set_session()
    bucket = BUCKETS[place.number]
    yield Calls(
        get=lambda key: files._cat_file(f"{bucket}/{key}"),
        put=lambda key, data: files._pipe_file(f"{bucket}/{key}", data),
        head=lambda key: files._info(f"{bucket}/{key}"),
        keys=lambda: files._find(bucket),
        get_many=lambda keys: files._cat([f"{bucket}/{key}" for key in keys]),
        put_many=lambda objects: files._pipe({f"{bucket}/{key}": data for key, data in objects.items()}),
        delete_many=lambda keys: files._rm([f"{bucket}/{key}" for key in keys]),
    )
    await session.close()


@contender("s3", "aiobotocore")
async def by_aiobotocore(place: Place) -> AsyncIterator[Calls]:
    from aiobotocore.config import AioConfig
    from aiobotocore.session import get_session

    account = {"aws_access_key_id": ACCOUNT["access_key"], "aws_secret_access_key": ACCOUNT["secret_key"]}
    bucket = BUCKETS[place.number]
    config = AioConfig(max_pool_connections=max(place.tasks, 10), s3={"addressing_style": "path"})
    client: Any
    async with get_session().create_client(
        "s3", endpoint_url=place.server, region_name=REGION, config=config, **account
    ) as client:

        async def get(key: str) -> bytes:
            answer = await client.get_object(Bucket=bucket, Key=key)
            async with answer["Body"] as body:
                data: bytes = await body.read()
            return data

        async def keys() -> list[str]:
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
            return [info["Key"] async for page in pages for info in page.get("Contents", [])]

        yield Calls(
            get=get,
            put=lambda key, data: client.put_object(Bucket=bucket, Key=key, Body=data),
            head=lambda key: client.head_object(Bucket=bucket, Key=key),
            keys=keys,
            delete_many=lambda keys: client.delete_objects(
                Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
            ),
        )


@contender("s3", "sync.BucketStore", ours=True)
def sync_bucket_store(place: Place) -> Iterator[Calls]:
    import storage.sync

    with store_bucket(place.server, storage.sync, BUCKETS[place.number]) as store:
        yield sync_store(store)


@contender("s3", "obstore S3Store", needs="obstore")
def sync_obstore_s3(place: Place) -> Iterator[Calls]:
    yield sync_obstore(obstore_bucket(place.server, BUCKETS[place.number]))


@contender("s3", "opendal s3", needs="opendal")
def sync_opendal_s3(place: Place) -> Iterator[Calls]:
    from opendal import Operator

    yield sync_opendal(Operator("s3", **_opendal(place)))
