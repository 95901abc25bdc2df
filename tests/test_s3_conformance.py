"""The suite on `BucketStore`, over every S3 server that is there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import count

import pytest
from buckets import bucket_store
from servers import Server, Servers

from storage import ObjectStore
from storage.stores.s3 import BucketStore
from storage.testing import StoreConformance


class TestBucketStore(StoreConformance):
    """One bucket of each server, and in it a prefix for every test."""

    late_writes = True
    large = 9_000_000  # more than a part of an upload
    numbers = count()

    server: Server
    prefix: str

    @pytest.fixture(params=["ministack", "ceph", "rclone"])
    async def store(self, request: pytest.FixtureRequest, servers: Servers) -> AsyncIterator[ObjectStore]:
        self.server = servers.get(request.param)
        self.prefix = f"t{next(self.numbers)}/"
        async with self._store() as store:
            await store.create_bucket()
            await store.probe()
            yield store

    def _store(self) -> BucketStore:
        return bucket_store(self.server, prefix=self.prefix)

    def another(self, store: ObjectStore) -> BucketStore:
        return self._store()
