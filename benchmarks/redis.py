"""Objects in Redis, on a server that is started for it and keeps nothing on the disk."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from benchmarks.call_styles import awaited_store, sync_store
from benchmarks.contenders import Calls, Place, contender

__all__ = ["SERVER", "redis_server"]

#: The server's program; None if it is not installed.
SERVER = shutil.which("redis-server") or shutil.which("valkey-server")


@contextmanager
def redis_server() -> Iterator[int]:
    """Start the server and yield its port."""
    assert SERVER is not None
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    command = [SERVER, "--bind", "127.0.0.1", "--port", str(port), "--save", ""]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield port
    finally:
        process.kill()
        process.wait()


@contender("redis", "RedisStore", ours=True)
async def redis_store(place: Place) -> AsyncIterator[Calls]:
    from storage import RedisStore

    async with RedisStore(f"redis://127.0.0.1:{place.server}/{place.number}") as store:
        yield awaited_store(store)


@contender("redis", "redis-py", less="no etags and times, and no order of the keys")
async def redis_py(place: Place) -> AsyncIterator[Calls]:
    import redis.asyncio

    async with redis.asyncio.Redis(port=place.server, db=place.number) as client:
        yield Calls(
            get=client.get,
            put=client.set,
            head=client.strlen,
            get_many=client.mget,
            put_many=client.mset,
            delete_many=lambda keys: client.delete(*keys),
        )


@contender("redis", "aiocache RedisCache", needs="aiocache", less="no etags and times, no head, no listing")
async def aiocache_redis(place: Place) -> AsyncIterator[Calls]:
    from aiocache import RedisCache
    from aiocache.serializers import NullSerializer

    cache = RedisCache(port=place.server, db=place.number, serializer=NullSerializer(encoding=None), namespace="cache")
    yield Calls(
        get=cache.get,
        put=cache.set,
        get_many=cache.multi_get,
        put_many=lambda objects: cache.multi_set(list(objects.items())),
    )
    await cache.close()


@contender("redis", "sync.RedisStore", ours=True)
def sync_redis_store(place: Place) -> Iterator[Calls]:
    import storage.sync

    with storage.sync.RedisStore(f"redis://127.0.0.1:{place.server}/{place.number}") as store:
        yield sync_store(store)


@contender("redis", "redis-py", less="no etags and times, and no order of the keys")
def sync_redis_py(place: Place) -> Iterator[Calls]:
    import redis

    with redis.Redis(port=place.server, db=place.number) as client:
        yield Calls(get=client.get, put=client.set, head=client.strlen, get_many=client.mget, put_many=client.mset)
