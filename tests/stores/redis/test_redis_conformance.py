"""The suite on `RedisStore`: awaited, with TLS, synchronous, and on a cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from itertools import count

import pytest
from servers.redis import RedisServer, raw_object, redis_cluster, redis_over_tls, redis_server
from servers.tls import Certificate
from sync_view import View

import storage.sync
from storage import ObjectStore
from storage.stores.redis.store import RedisStore
from storage.testing import StoreConformance


@pytest.fixture(scope="module")
def alone() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture(scope="module")
def tls(certificate: Certificate) -> Iterator[tuple[RedisServer, str]]:
    with redis_over_tls(certificate) as server:
        yield server


@pytest.fixture(scope="module")
def clustered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_cluster(tmp_path_factory.mktemp("cluster")) as server:
        yield server


@pytest.mark.server
class TestRedisStore(StoreConformance):
    """Each test has its own prefix."""

    numbers = count()

    @pytest.fixture(params=["awaited", "sync", "tls", "clustered"])
    async def store(self, request: pytest.FixtureRequest) -> AsyncIterator[ObjectStore]:
        self.view = request.param
        self.server: RedisServer
        if self.view == "tls":
            self.server, self.url = request.getfixturevalue("tls")
        else:
            self.server = request.getfixturevalue("clustered" if self.view == "clustered" else "alone")
            self.url = self.server.url
        self.client = self.server.client()
        self.prefix = f"t{next(self.numbers)}/"
        async with self.another(None) as store:
            yield store
        assert [] == self.client.keys("{*:[drv]:*"), "nothing is left of readers and streams"
        self.client.flushall()
        self.client.close()

    def another(self, store: ObjectStore | None) -> AbstractAsyncContextManager[ObjectStore]:
        made = RedisStore(self.url, prefix=self.prefix)
        return View(storage.sync.ObjectStore(made)) if self.view == "sync" else made

    async def raw(self, store: ObjectStore, key: str) -> bytes | None:
        return raw_object(self.client, self.prefix, key)
