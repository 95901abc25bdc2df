"""Fixtures of the tests of `RedisStore`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import redis.asyncio
from servers.redis import RedisServer, redis_server

from storage import RedisStore


@pytest.fixture(scope="module")
def server(uses_server: None) -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def raw(server: RedisServer) -> Iterator[redis.Redis]:
    """Return a plain client, and remove all keys afterwards."""
    with server.client() as client:
        yield client
        client.flushall()


@pytest.fixture
async def store(server: RedisServer, raw: redis.Redis) -> AsyncIterator[RedisStore]:
    async with RedisStore(server.url, prefix="p") as store:
        yield store
