"""ZipStore after a crash: killed writers, a full disk, a disk that fails."""

from __future__ import annotations

import asyncio
import errno
import random
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from processes.forking import context
from zip_tools import objects, read_by_zipfile

import storage.sync
from storage import StorageError, StoreFullError, ZipStore
from storage.stores.zip.file import OpenFile

#: Processes that are killed, one after the other.
ROUNDS = 24


# -- killed processes --------------------------------------------------------------------------------------------------


def write_until_killed(path: str, begin: int, acknowledged: Connection) -> None:
    """Put, overwrite, delete, flush and compact, and report each put and delete after it has returned."""

    async def rewrite(store: ZipStore, key: str, size: int) -> None:
        for number in range(begin, begin + 1_000_000):
            data = b"%08d" % number + bytes([number % 256]) * size
            await store.put(key, [data[:5000], data[5000:]] if size > 5000 else data)
            acknowledged.send((key, number))

    async def come_and_go(store: ZipStore) -> None:
        for number in range(begin, begin + 1_000_000):
            for key in (f"kept/{number}", f"gone/{number}"):
                await store.put(key, b"%08d" % number)
                acknowledged.send((key, number))
            await store.delete(f"gone/{number}")
            acknowledged.send((f"gone/{number}", None))

    async def tidy(store: ZipStore) -> None:
        while True:
            await store.flush()
            await asyncio.sleep(0.002)
            await store.compact()

    async def main() -> None:
        async with ZipStore(path) as store:
            await asyncio.gather(
                rewrite(store, "small", 100), rewrite(store, "large", 400_000), come_and_go(store), tidy(store)
            )

    asyncio.run(main())


@pytest.mark.process
def test_killed_writer_that_flushes_and_compacts_loses_nothing(tmp_path: Path) -> None:
    """After each kill -9 every acknowledged object is there, none is half written, and the next process goes on."""
    path = tmp_path / "a.zip"
    chances = random.Random(1)
    last: dict[str, int | None] = {}
    begin = 0
    for _ in range(ROUNDS):
        receiver, sender = context().Pipe(duplex=False)
        process = context().Process(target=write_until_killed, args=(str(path), begin, sender))
        process.start()
        sender.close()
        receiver.poll(30)
        process.join(chances.uniform(0, 0.05))
        process.kill()
        process.join()
        with suppress(EOFError):
            while True:
                key, number = receiver.recv()
                last[key] = number
        receiver.close()

        found = objects(path)
        for key, data in found.items():
            number = int(data[:8])
            assert data[8:] == bytes([number % 256]) * (len(data) - 8), key
            # The last put may have taken place without being acknowledged; a deleted object may not.
            assert number in (last.get(key, number), begin) or number - 1 == last[key], key
        told = {key for key, number in last.items() if number is not None and not key.startswith("gone/")}
        assert told <= set(found)
        assert 1 >= sum(key.startswith("gone/") for key in found)
        with storage.sync.ZipStore(path) as store:
            assert found == store.get_many(list(found))
            store.clear("gone/")
            store.clear("kept/")
        kept = {"small", "large"} & set(found)
        assert kept == set(read_by_zipfile(path))
        assert [path] == list(tmp_path.iterdir())
        last = {key: int(found[key][:8]) for key in kept}
        begin = 1 + max([begin, *(int(data[:8]) for data in found.values())])


# -- disks that are full, or fail --------------------------------------------------------------------------------------


@pytest.mark.process
def test_full_disk_leaves_the_old_objects_and_a_store_that_works(tmp_path: Path) -> None:
    """A put without space fails completely; a smaller one succeeds afterwards."""
    program = """
        import os, resource, sys
        import storage.sync
        from storage import BulkError, StoreFullError

        path = sys.argv[1]
        with storage.sync.ZipStore(path) as store:
            store.put("k", b"old")
            limit = os.path.getsize(path) + 300_000
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            large = os.urandom(400_000)
            puts = [
                lambda: store.put("k", large),
                lambda: store.put("k", [large]),
                lambda: store.put("k", [large] * 4),
            ]
            for put in puts:
                before = os.path.getsize(path)
                try:
                    put()
                except StoreFullError as error:
                    assert error.key == "k" and path in str(error), error
                else:
                    raise AssertionError("there was room")
                assert b"old" == store.get("k")
                assert before == os.path.getsize(path)
                store.put("l", b"fits")
            results = store.put_many({"k": large, "m": b"fits"}, raise_errors=False)
            assert isinstance(results["k"], StoreFullError) and isinstance(results["m"], str), results
    """
    path = tmp_path / "a.zip"
    subprocess.run([sys.executable, "-c", textwrap.dedent(program), path], check=True)

    assert {"k": b"old", "l": b"fits", "m": b"fits"} == objects(path)
    assert {"k", "l", "m"} == set(read_by_zipfile(path))


@pytest.mark.parametrize("call", ["put", "put_many", "rename", "clear"])
def test_failed_sync_fails_the_write_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """A write that may not be on the disk is undone: neither this store nor the next one shows it."""
    path = tmp_path / "a.zip"
    calls: dict[str, Callable[[storage.sync.ZipStore], object]] = {
        "put": lambda store: store.put("k", b"new"),
        "put_many": lambda store: store.put_many({"k": b"new", "l": b"new"}),
        "rename": lambda store: store.rename("k", "l"),
        "clear": lambda store: store.clear(),
    }

    def fail(file: OpenFile) -> None:
        raise OSError(errno.EIO, "the disk failed")

    with storage.sync.ZipStore(path) as store:
        store.put("k", b"old")
        size = path.stat().st_size
        with monkeypatch.context() as broken:
            broken.setattr(OpenFile, "sync", fail)
            with pytest.raises(StorageError) as caught:
                calls[call](store)
        assert {"k": b"old"} == {key: store.get(key) for key in store.keys()}
        assert size == path.stat().st_size
        store.put("after", b"works")

    assert repr(store.async_store) in str(caught.value)
    assert {"k": b"old", "after": b"works"} == objects(path)


def test_rename_that_cannot_write_the_new_name_keeps_the_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The smaller deletion record is not written if there is no space for the copy."""
    write = OpenFile.write

    def full(file: OpenFile, data: bytes, offset: int) -> int:
        if b"a longer name" in data:
            raise OSError(errno.ENOSPC, "no room")
        return write(file, data, offset)

    with storage.sync.ZipStore(tmp_path / "a.zip") as store:
        store.put("k", b"v")
        with monkeypatch.context() as broken:
            broken.setattr(OpenFile, "write", full)
            with pytest.raises(StoreFullError):
                store.rename("k", "a longer name")

        assert {"k": b"v"} == store.get_many(store.keys())


def test_failed_flush_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that was not completely written does not affect later writes."""
    path = tmp_path / "a.zip"
    sync = OpenFile.sync
    for failing in (1, 2):
        calls: list[int] = []

        def fail(file: OpenFile, calls: list[int] = calls, failing: int = failing) -> None:
            calls.append(1)
            if len(calls) == failing:
                raise OSError(errno.EIO, "the disk failed")
            sync(file)

        with storage.sync.ZipStore(path, durability="atomic") as store:
            store.put(f"before {failing}", b"v")
            with monkeypatch.context() as broken:
                broken.setattr(OpenFile, "sync", fail)
                with pytest.raises(StorageError):
                    store.flush()
            store.put(f"after {failing}", b"works")
            archive = store.async_store._archive
            assert archive is not None
            crashed = tmp_path / "crashed.zip"
            crashed.write_bytes(path.read_bytes())
            expected = set(archive.objects)
        assert expected == set(objects(crashed))

    assert {"before 1", "after 1", "before 2", "after 2"} == set(read_by_zipfile(path))
