"""
A program that uses a deep stack for a time, and says as JSON what it holds: before, at the end of each twentieth of
the time, and when it has closed the stack.

    python tests/support/processes/soak_program.py SECONDS DIRECTORY
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from storage import (
    CachingStore,
    ChecksumStore,
    ConcurrencyLimitStore,
    DictStore,
    EncryptingStore,
    ExpiringStore,
    FilesystemStore,
    GzipStore,
    KeyNotFoundError,
    LoggingStore,
    MirroringStore,
    ObjectStore,
    PrefixStore,
    RetryingStore,
    SqliteStore,
    StorageError,
    TimeoutStore,
    ZipStore,
)

#: Keys that are used, tasks that use them, and the seconds that each waits between two operations: the load is to last,
#: not to be the greatest.
KEYS = [f"{part}/{number:03}" for part in ("reports", "images", "readings") for number in range(60)]
TASKS = 12
PAUSE = 0.02

#: How often the resources in use are reported.
SAMPLES = 20


def stack(root: Path) -> ObjectStore:
    """Return a stack of nearly everything, over a database, files and an archive."""
    sealed = EncryptingStore(PrefixStore(SqliteStore(root / "objects.db"), "v1/"), {"only": bytes(32)})
    files = ChecksumStore(RetryingStore(ConcurrencyLimitStore(TimeoutStore(FilesystemStore(root / "files"), 60), 8)))
    mirror = MirroringStore([GzipStore(sealed), files, ZipStore(root / "objects.zip")])
    return LoggingStore(ExpiringStore(CachingStore(mirror, DictStore(), max_count=40), 3, sweep_interval=1))


def held() -> dict[str, int]:
    """Return what the process holds: bytes in memory, descriptors, threads and tasks."""
    gc.collect()
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    return {
        "memory": pages * os.sysconf("SC_PAGE_SIZE"),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "tasks": len(asyncio.all_tasks()),
    }


async def pieces(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield random.randbytes(20_000)


async def listing(store: ObjectStore, key: str) -> None:
    async for _ in store.keys(key[:4]):
        pass


async def cancelled(store: ObjectStore, key: str) -> None:
    task = asyncio.create_task(store.put(key, pieces(8)))
    await asyncio.sleep(random.random() * 0.01)
    task.cancel()
    await asyncio.wait([task])


async def streamed(store: ObjectStore, key: str) -> None:
    async with store.open(key) as reader:
        while await reader.read(10_000):
            if random.random() < 0.1:
                return


OPERATIONS: list[Callable[[ObjectStore, str], Awaitable[object]]] = [
    lambda store, key: store.get(key),
    lambda store, key: store.put(key, random.randbytes(random.randrange(20_000))),
    lambda store, key: store.put(key, pieces(random.randrange(8))),
    lambda store, key: store.delete(key),
    lambda store, key: store.exists(key),
    lambda store, key: store.head(key),
    lambda store, key: store.put_many({key: b"x" * 100, KEYS[0]: b"y"}),
    lambda store, key: store.get_many([key, *KEYS[:5]]),
    lambda store, key: store.copy(key, KEYS[1]),
    listing,
    streamed,
    cancelled,
]


async def soak(seconds: float, root: Path) -> list[dict[str, int]]:
    """Use the stack for so long, and return what was held before, meanwhile and afterwards."""
    samples = [held()]
    operations = failures = 0
    enough = False

    async def work(store: ObjectStore) -> None:
        nonlocal operations, failures
        while not enough:
            operations += 1
            try:
                await random.choice(OPERATIONS)(store, random.choice(KEYS))
            except KeyNotFoundError:
                pass
            except StorageError as error:
                failures += 1
                print(repr(error), error.__cause__, file=sys.stderr)
            await asyncio.sleep(PAUSE)

    async with stack(root) as store:
        tasks = [asyncio.create_task(work(store)) for _ in range(TASKS)]
        for _ in range(SAMPLES):
            await asyncio.sleep(seconds / SAMPLES)
            samples.append(held() | {"operations": operations, "failures": failures})
        enough = True
        await asyncio.gather(*tasks)
    return [*samples, held() | {"operations": operations, "failures": failures}]


if __name__ == "__main__":
    print(json.dumps(asyncio.run(soak(float(sys.argv[1]), Path(sys.argv[2])))))
