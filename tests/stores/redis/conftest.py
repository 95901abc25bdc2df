"""What the tests of `RedisStore` share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import redis.asyncio
from servers.redis import RedisServer, redis_server

from storage import RedisStore


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def raw(server: RedisServer) -> Iterator[redis.Redis]:
    """Give a client that knows nothing of stores, and leave nothing behind."""
    with server.client() as client:
        yield client
        client.flushall()


@pytest.fixture
async def store(server: RedisServer, raw: redis.Redis) -> AsyncIterator[RedisStore]:
    async with RedisStore(server.url, prefix="p") as store:
        yield store
