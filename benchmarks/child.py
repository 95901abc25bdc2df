"""
Measurements in a process of their own: ``python -m benchmarks.child NAME SIZE [SERVER]`` streams one object through a
store and prints, as JSON, the seconds, the CPU seconds and the additional memory that it took.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import storage
from benchmarks.buckets import obstore_bucket, store_bucket

__all__ = ["STREAMS"]

PIECE = random.Random(0).randbytes(16 << 10) * 64  # 1 MiB that compresses
KEY = "object"
PUT, GET, BOTH = slice(0, 1), slice(1, 2), slice(0, 2)


async def pieces(size: int) -> AsyncIterator[bytes]:
    """Yield so many bytes."""
    for _ in range(size // len(PIECE)):
        yield bytes(memoryview(PIECE))  # a copy, as data from elsewhere is: one shared object would take no memory


async def put(store: Any, key: str, size: int) -> None:
    """Stream an object into one of our stores."""
    await store.put(key, pieces(size))


async def get(store: Any, key: str, size: int) -> None:
    """Stream the object back."""
    async with store.open(key) as reader:
        assert size == sum([len(piece) async for piece in reader])


async def obstore_put(store: Any, key: str, size: int) -> None:
    """Stream an object into one of obstore's stores."""
    await store.put_async(key, pieces(size), chunk_size=8 << 20, max_concurrency=4)


async def obstore_get(store: Any, key: str, size: int) -> None:
    """Stream the object back."""
    stream = (await store.get_async(key)).stream(1 << 20)
    assert size == sum([len(piece) async for piece in stream])


def _files(work: str, server: str) -> Any:
    return storage.FilesystemStore(work)


def _obstore_files(work: str, server: str) -> Any:
    from obstore.store import LocalStore

    return LocalStore(work)


Step = Callable[[Any, str, int], Awaitable[None]]
OURS: list[Step] = [put, get]
OBSTORE: list[Step] = [obstore_put, obstore_get]

#: For each stream: how its store is opened from a directory and a server, how an object is put and read, and which of
#: the two is measured.
STREAMS: dict[str, tuple[Callable[[str, str], Any], list[Step], slice]] = {
    "FilesystemStore": (_files, OURS, BOTH),
    "SqliteStore": (lambda work, server: storage.SqliteStore(f"{work}/objects.sqlite"), OURS, BOTH),
    "ZipStore": (lambda work, server: storage.ZipStore(f"{work}/objects.zip", compression="stored"), OURS, BOTH),
    "GzipStore over files": (lambda work, server: storage.GzipStore(_files(work, server)), OURS, BOTH),
    "obstore LocalStore": (_obstore_files, OBSTORE, BOTH),
    "BucketStore put": (lambda work, server: store_bucket(server, storage), OURS, PUT),
    "BucketStore get": (lambda work, server: store_bucket(server, storage), OURS, GET),
    "obstore S3Store put": (lambda work, server: obstore_bucket(server), OBSTORE, PUT),
    "obstore S3Store get": (lambda work, server: obstore_bucket(server), OBSTORE, GET),
}


def memory(name: str) -> int:
    """Return a number of bytes from the kernel's status of this process."""
    with open("/proc/self/status", encoding="ascii") as status:
        line = next(line for line in status if line.startswith(f"{name}:"))
    return int(line.split()[1]) << 10


async def stream(name: str, size: int, work: str, server: str) -> dict[str, float]:
    """Return the measures of the stream, after a small object as a warm-up."""
    opens, steps, measured = STREAMS[name]
    async with AsyncExitStack() as opened:
        store = opens(work, server)
        if isinstance(store, storage.ObjectStore):
            await opened.enter_async_context(store)
        for step in steps:
            await step(store, "little", len(PIECE))
        gc.collect()
        with open("/proc/self/clear_refs", "w", encoding="ascii") as peak:
            peak.write("5")  # resets the peak
        before, began, busy = memory("VmRSS"), time.perf_counter(), time.process_time()
        for step in steps[measured]:
            await step(store, KEY, size)
        took = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - busy}
        return {**took, "peak": float(max(0, memory("VmHWM") - before))}


def main(name: str, size: str, server: str = "") -> None:
    """Measure one stream and print it."""
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as work:
        print(json.dumps(asyncio.run(stream(name, int(size), work, server))))


if __name__ == "__main__":
    main(*sys.argv[1:])
