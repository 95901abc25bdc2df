"""Objects as files: no contender waits for the disk; each replaces an object in one step, unless `less` differs."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Iterator

import storage.sync
from benchmarks.call_styles import (
    awaited_obstore,
    awaited_opendal,
    awaited_store,
    sync_fsspec,
    sync_obstore,
    sync_opendal,
    sync_store,
)
from benchmarks.contenders import Calls, Place, contender
from storage import FilesystemStore

__all__ = ["read_file", "write_file"]

_FLAGS = os.O_CLOEXEC | getattr(os, "O_BINARY", 0)
_temporary = itertools.count()


def read_file(path: str) -> bytes:
    """Return a file's bytes: the least that can be done."""
    file = os.open(path, os.O_RDONLY | _FLAGS)
    try:
        return os.read(file, os.fstat(file).st_size)
    finally:
        os.close(file)


def write_file(path: str, data: bytes) -> None:
    """Put a file into its place in one step: the least that can be done."""
    temporary = f"{path}.{next(_temporary)}"
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o644)
    try:
        os.write(file, data)
    finally:
        os.close(file)
    os.replace(temporary, path)


def _find(root: str) -> list[str]:
    """Return the paths of all files below *root*, in order."""
    paths = [f"{directory}/{name}" for directory, _, names in os.walk(root) for name in names]
    return sorted(path[len(root) + 1 :] for path in paths)


@contender("file", "FilesystemStore", ours=True)
async def filesystem_store(place: Place) -> AsyncIterator[Calls]:
    async with FilesystemStore(place.directory) as store:
        yield awaited_store(store)


@contender("file", "obstore LocalStore", needs="obstore")
async def obstore_local(place: Place) -> AsyncIterator[Calls]:
    from obstore.store import LocalStore

    yield awaited_obstore(LocalStore(place.directory))


@contender("file", "opendal fs", needs="opendal")
async def opendal_fs(place: Place) -> AsyncIterator[Calls]:
    from opendal import AsyncOperator

    yield awaited_opendal(AsyncOperator("fs", root=place.directory, atomic_write_dir=f"{place.directory}.part"))


@contender("file", "aiofiles", needs="aiofiles", less="put: no directories are made")
async def by_aiofiles(place: Place) -> AsyncIterator[Calls]:
    import aiofiles
    import aiofiles.os

    async def get(key: str) -> bytes:
        async with aiofiles.open(f"{place.directory}/{key}", "rb") as file:
            data: bytes = await file.read()
            return data

    async def put(key: str, data: bytes) -> None:
        path = f"{place.directory}/{key}"
        temporary = f"{path}.{next(_temporary)}"
        async with aiofiles.open(temporary, "wb") as file:
            await file.write(data)
        await aiofiles.os.replace(temporary, path)

    yield Calls(get=get, put=put, head=lambda key: aiofiles.os.stat(f"{place.directory}/{key}"))


@contender("file", "asyncio.to_thread", less="put: no directories are made")
async def by_threads(place: Place) -> AsyncIterator[Calls]:
    yield Calls(
        get=lambda key: asyncio.to_thread(read_file, f"{place.directory}/{key}"),
        put=lambda key, data: asyncio.to_thread(write_file, f"{place.directory}/{key}", data),
        head=lambda key: asyncio.to_thread(os.stat, f"{place.directory}/{key}"),
        keys=lambda: asyncio.to_thread(_find, place.directory),
        delete=lambda key: asyncio.to_thread(os.unlink, f"{place.directory}/{key}"),
    )


@contender("file", "os calls", less="it blocks the loop, and checks and makes nothing", limit=True)
async def os_calls(place: Place) -> AsyncIterator[Calls]:
    async def get(key: str) -> bytes:
        return read_file(f"{place.directory}/{key}")

    async def put(key: str, data: bytes) -> None:
        write_file(f"{place.directory}/{key}", data)

    async def head(key: str) -> os.stat_result:
        return os.stat(f"{place.directory}/{key}")

    async def keys() -> list[str]:
        return _find(place.directory)

    async def delete(key: str) -> None:
        os.unlink(f"{place.directory}/{key}")

    yield Calls(get=get, put=put, head=head, keys=keys, delete=delete)


@contender("file", "sync.FilesystemStore", ours=True)
def sync_filesystem_store(place: Place) -> Iterator[Calls]:
    with storage.sync.FilesystemStore(place.directory) as store:
        yield sync_store(store)


@contender("file", "obstore LocalStore", needs="obstore")
def sync_obstore_local(place: Place) -> Iterator[Calls]:
    from obstore.store import LocalStore

    yield sync_obstore(LocalStore(place.directory))


@contender("file", "fsspec local", needs="fsspec", less="put: writes in place, readers see half")
def sync_fsspec_local(place: Place) -> Iterator[Calls]:
    from fsspec.implementations.local import LocalFileSystem

    yield sync_fsspec(LocalFileSystem(), place.directory)


@contender("file", "opendal fs", needs="opendal")
def sync_opendal_fs(place: Place) -> Iterator[Calls]:
    from opendal import Operator

    yield sync_opendal(Operator("fs", root=place.directory, atomic_write_dir=f"{place.directory}.part"))


@contender("file", "os calls", less="it checks and makes nothing", limit=True)
def sync_os_calls(place: Place) -> Iterator[Calls]:
    yield Calls(
        get=lambda key: read_file(f"{place.directory}/{key}"),
        put=lambda key, data: write_file(f"{place.directory}/{key}", data),
        head=lambda key: os.stat(f"{place.directory}/{key}"),
        keys=lambda: _find(place.directory),
        delete=lambda key: os.unlink(f"{place.directory}/{key}"),
    )
