"""What the tests of `BucketStore` share."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
from servers.buckets import bucket_store
from servers.s3 import Server, Servers

from storage import BucketStore


@pytest.fixture(params=["ministack", "ceph"])
def server(request: pytest.FixtureRequest, servers: Servers) -> Server:
    """Return each server that supports everything."""
    return servers.get(request.param)


@pytest.fixture
async def store(server: Server, request: pytest.FixtureRequest) -> AsyncIterator[BucketStore]:
    name = re.sub(r"\W+", "-", request.node.name)
    async with bucket_store(server, prefix=f"{name}/") as store:
        yield store
