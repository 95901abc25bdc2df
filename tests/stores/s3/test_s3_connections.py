"""The connections of `BucketStore`."""

from __future__ import annotations

import asyncio
import os

import pytest
from servers.buckets import bucket_store
from servers.s3 import Servers

MIB = 1 << 20


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="open files are counted in /proc")
async def test_closed_store_holds_no_connection(servers: Servers) -> None:
    """Stores that are closed, some in the middle of a read, leave no open file."""
    server = servers.get("ministack")
    async with bucket_store(server, prefix="closed/") as store:
        await store.put("k", b"x" * 3 * MIB)
    counts = []
    for _ in range(6):
        async with bucket_store(server, prefix="closed/") as store:
            await asyncio.gather(*(store.get("k") for _ in range(8)))
            async with store.open("k") as reader:
                await reader.read(10)
            async for _ in store.keys():
                break
        counts.append(len(os.listdir("/proc/self/fd")))

    assert counts[1] == counts[-1]
