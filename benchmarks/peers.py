"""The stores beside other packages that do the same; what is not installed is left out and named."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

import aiosqlite
import anyio

import storage.sync
from benchmarks.harness import Comparison, Work
from storage import DictStore, FilesystemStore, SqliteStore

__all__ = ["file_get", "file_put", "memory_get", "memory_put", "sqlite_get", "sqlite_put", "sync_file_get"]

SMALL = bytes(100)
PAGE = bytes(4096)

#: Objects that are written and read in turn.
KEYS = [f"{number:03}" for number in range(200)]

#: Tasks that use a store at once where a comparison says so.
TASKS = 64

#: One operation on the object of a key.
Operation = Callable[[str], Awaitable[object]]


def in_turn(operation: Operation) -> Work:
    """Return the work of one task that goes through the keys."""

    async def work(count: int) -> None:
        for number in range(count):
            await operation(KEYS[number % len(KEYS)])

    return work


def called(function: Callable[[str], object]) -> Work:
    """Return the work of one thread that goes through the keys."""

    def work(count: int) -> None:
        for number in range(count):
            function(KEYS[number % len(KEYS)])

    return work


def at_once(operation: Operation, tasks: int = TASKS) -> Work:
    """Return the work of so many tasks, which share the operations."""

    async def work(count: int) -> None:
        numbers = iter(range(count))

        async def task() -> None:
            for number in numbers:
                await operation(KEYS[number % len(KEYS)])

        async with anyio.create_task_group() as group:
            for _ in range(tasks):
                group.start_soon(task)

    return work


def missing(*packages: str) -> tuple[str, ...]:
    """Return which of the packages are not installed."""
    return tuple(package for package in packages if find_spec(package) is None)


@asynccontextmanager
async def memory_put() -> AsyncIterator[Comparison]:
    """100 bytes, one task."""
    store = DictStore()
    contenders = {"DictStore": in_turn(lambda key: store.put(key, SMALL))}
    if find_spec("obstore"):
        from obstore.store import MemoryStore

        peer = MemoryStore()
        contenders["obstore MemoryStore"] = in_turn(lambda key: peer.put_async(key, SMALL))
    yield Comparison(title="async put into memory, 100 B", contenders=contenders, missing=missing("obstore"))


@asynccontextmanager
async def memory_get() -> AsyncIterator[Comparison]:
    """100 bytes, one task."""
    store = DictStore()
    await store.put_many(dict.fromkeys(KEYS, SMALL))
    contenders = {"DictStore": in_turn(store.get)}
    if find_spec("obstore"):
        from obstore.store import MemoryStore

        peer = MemoryStore()
        for key in KEYS:
            await peer.put_async(key, SMALL)

        async def get(key: str) -> bytes:
            return bytes(await (await peer.get_async(key)).bytes_async())

        contenders["obstore MemoryStore"] = in_turn(get)
    yield Comparison(title="async get from memory, 100 B", contenders=contenders, missing=missing("obstore"))


@asynccontextmanager
async def file_put() -> AsyncIterator[Comparison]:
    """4 KiB, one task; nobody waits for the disk."""
    with tempfile.TemporaryDirectory() as root, tempfile.TemporaryDirectory() as peer_root:
        store = FilesystemStore(root)
        contenders = {"FilesystemStore": in_turn(lambda key: store.put(key, PAGE))}
        if find_spec("obstore"):
            from obstore.store import LocalStore

            peer = LocalStore(peer_root)
            contenders["obstore LocalStore"] = in_turn(lambda key: peer.put_async(key, PAGE))
        yield Comparison(title="async put of a 4 KiB file", contenders=contenders, missing=missing("obstore"))


@asynccontextmanager
async def file_get() -> AsyncIterator[Comparison]:
    """4 KiB, one task, in the page cache."""
    with tempfile.TemporaryDirectory() as root:
        store = FilesystemStore(root)
        await store.put_many(dict.fromkeys(KEYS, PAGE))
        contenders = {
            "FilesystemStore": in_turn(store.get),
            "asyncio.to_thread(read_bytes)": in_turn(lambda key: asyncio.to_thread(Path(root, key).read_bytes)),
        }
        if find_spec("obstore"):
            from obstore.store import LocalStore

            peer = LocalStore(root)

            async def get(key: str) -> bytes:
                return bytes(await (await peer.get_async(key)).bytes_async())

            contenders["obstore LocalStore"] = in_turn(get)
        yield Comparison(title="async get of a 4 KiB file", contenders=contenders, missing=missing("obstore"))


@asynccontextmanager
async def sync_file_get() -> AsyncIterator[Comparison]:
    """4 KiB, one thread, in the page cache, without ``await``."""
    with tempfile.TemporaryDirectory() as root:
        store = storage.sync.FilesystemStore(root)
        store.put_many(dict.fromkeys(KEYS, PAGE))
        contenders: dict[str, Work] = {"sync.FilesystemStore": called(store.get)}
        if find_spec("obstore"):
            from obstore.store import LocalStore

            peer = LocalStore(root)
            contenders["obstore LocalStore"] = called(lambda key: bytes(peer.get(key).bytes()))
        yield Comparison(title="sync get of a 4 KiB file", contenders=contenders, missing=missing("obstore"))


@asynccontextmanager
async def _database() -> AsyncIterator[tuple[SqliteStore, aiosqlite.Connection]]:
    """Give an open store, and a database of its own with a connection such as one makes by hand."""
    with tempfile.TemporaryDirectory() as work:
        async with SqliteStore(f"{work}/store.sqlite") as store, aiosqlite.connect(f"{work}/peer.sqlite") as peer:
            await peer.execute("PRAGMA journal_mode = WAL")
            await peer.execute("PRAGMA synchronous = FULL")
            await peer.execute("CREATE TABLE objects (key TEXT PRIMARY KEY, data BLOB) WITHOUT ROWID")
            yield store, peer


@asynccontextmanager
async def sqlite_put() -> AsyncIterator[Comparison]:
    """100 bytes, on the disk before the put returns (``synchronous=FULL``, write-ahead log), on both sides."""
    async with _database() as (store, peer):

        async def put(key: str) -> None:
            await peer.execute("INSERT OR REPLACE INTO objects VALUES (?, ?)", (key, SMALL))
            await peer.commit()

        yield Comparison(
            title=f"async put into SQLite, 100 B, {TASKS} tasks",
            contenders={
                "SqliteStore": at_once(lambda key: store.put(key, SMALL)),
                "aiosqlite by hand": at_once(put),
                "aiosqlite by hand, one after the other": in_turn(put),
            },
        )


@asynccontextmanager
async def sqlite_get() -> AsyncIterator[Comparison]:
    """100 bytes."""
    async with _database() as (store, peer):
        await store.put_many(dict.fromkeys(KEYS, SMALL))
        await peer.executemany("INSERT INTO objects VALUES (?, ?)", [(key, SMALL) for key in KEYS])
        await peer.commit()

        async def get(key: str) -> object:
            async with peer.execute("SELECT data FROM objects WHERE key = ?", (key,)) as cursor:
                return await cursor.fetchone()

        yield Comparison(
            title=f"async get from SQLite, 100 B, {TASKS} tasks",
            contenders={"SqliteStore": at_once(store.get), "aiosqlite by hand": at_once(get)},
        )
