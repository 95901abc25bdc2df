"""`RedisStore` beside what one writes by hand, on a Redis server that is started for it."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.util import find_spec

import redis.asyncio

from benchmarks.harness import Comparison
from benchmarks.peers import KEYS, PAGE, TASKS, at_once, missing
from storage import RedisStore

__all__ = ["SERVER", "redis_get", "redis_put"]

#: The server's program, None where it is not installed.
SERVER = shutil.which("redis-server") or shutil.which("valkey-server")


@asynccontextmanager
async def _server() -> AsyncIterator[int]:
    """Give the port of a server that keeps nothing on the disk."""
    assert SERVER is not None
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    command = [SERVER, "--bind", "127.0.0.1", "--port", str(port), "--save", ""]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: ASYNC220  # nothing else is at work yet
    try:
        async with RedisStore(f"redis://127.0.0.1:{port}") as store:
            await store.exists("there")  # it waits until the server is
        yield port
    finally:
        process.kill()
        process.wait()


@asynccontextmanager
async def _comparison(operation: str) -> AsyncIterator[Comparison]:
    async with (
        _server() as port,
        RedisStore(f"redis://127.0.0.1:{port}") as store,
        redis.asyncio.Redis(port=port) as client,
    ):
        await store.put_many(dict.fromkeys(KEYS, PAGE))
        for key in KEYS:
            await client.set(key, PAGE)
        contenders = {
            "RedisStore": at_once(store.get if operation == "get" else lambda key: store.put(key, PAGE)),
            "redis-py by hand": at_once(client.get if operation == "get" else lambda key: client.set(key, PAGE)),
        }
        if find_spec("aiocache"):
            from aiocache import RedisCache
            from aiocache.serializers import NullSerializer

            cache = RedisCache(port=port, serializer=NullSerializer(encoding=None), namespace="cache")
            for key in KEYS:
                await cache.set(key, PAGE)
            contenders["aiocache"] = at_once(cache.get if operation == "get" else lambda key: cache.set(key, PAGE))
        yield Comparison(
            title=f"async {operation}, 4 KiB in Redis, {TASKS} tasks",
            contenders=contenders,
            missing=missing("aiocache"),
        )
        if find_spec("aiocache"):
            await cache.close()


def redis_get() -> AbstractAsyncContextManager[Comparison]:
    """4 KiB."""
    return _comparison("get")


def redis_put() -> AbstractAsyncContextManager[Comparison]:
    """4 KiB; ours with an etag, a time and a place in the order of the keys."""
    return _comparison("put")
