"""ZipStore: compacting, one store at a time, opening and closing."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from zip_tools import INCOMPRESSIBLE, read_by_zipfile, unzip_complaints

from storage import (
    CorruptObjectError,
    ObjectInfo,
    StoreClosedError,
    StoreUnavailableError,
    ZipStore,
)
from storage._concurrency.stepping import step
from storage._core.conditions import Target
from storage.stores.zip.changes import put_change
from storage.stores.zip.file import OpenFile

# -- compacting --------------------------------------------------------------------------------------------------------


@pytest.mark.process
def test_compact_gives_back_the_room(path: Path) -> None:
    """Overwritten and deleted data is gone; the rest is unchanged, with its etags, times and attributes."""

    async def main() -> tuple[list[ObjectInfo], list[ObjectInfo], int, int]:
        async with ZipStore(path, durability="atomic") as store:
            for _ in range(20):
                await store.put("a/k", INCOMPRESSIBLE, attributes={"content-type": "text/plain"})
            await store.put("b", b"compressible" * 1000)
            await store.put("gone", INCOMPRESSIBLE)
            await store.delete("gone")
            before, large = [info async for info in store.scan()], path.stat().st_size

            await store.compact()

            after, small = [info async for info in store.scan()], path.stat().st_size
            assert "" == unzip_complaints(path)
            assert INCOMPRESSIBLE == await store.get("a/k")
            await store.put("c", b"works")
            return before, after, large, small

    before, after, large, small = asyncio.run(main())

    assert before == after
    assert large > 20 * len(INCOMPRESSIBLE)
    assert small < len(INCOMPRESSIBLE) + 1000
    assert {"a/k": INCOMPRESSIBLE, "b": b"compressible" * 1000, "c": b"works"} == read_by_zipfile(path)
    assert [path] == list(path.parent.iterdir())


@pytest.mark.parametrize("compression", ["deflate", "stored"])
async def test_reader_goes_on_while_the_archive_is_compacted_and_closed(path: Path, compression: Any) -> None:
    """It reads the old file, which exists as long as a reader has it open."""
    data = b"".join(b"%08d" % number for number in range(300_000))
    async with ZipStore(path, compression=compression) as store:
        await store.put("before", b"x" * 100_000)
        await store.put("k", data)
        await store.delete("before")
        async with store.open("k") as reader:
            pieces = [await reader.read(1000)]
            await store.compact()
            pieces.append(await reader.read(1_000_000))
            await store.put("k", b"new")
            await store.compact()
            await store.aclose()
            pieces.append(await reader.read())

    assert data == b"".join(pieces)


async def test_compact_keeps_the_permissions_and_the_link(path: Path) -> None:
    """A link to the archive stays a link, and the mode of the file stays the same."""
    link = path.parent / "link.zip"
    link.symlink_to(path)
    async with ZipStore(link) as store:
        await store.put("k", b"v")
        path.chmod(0o640)
        await store.compact()

    assert link.is_symlink()
    assert 0o640 == path.stat().st_mode & 0o777
    assert {"k": b"v"} == read_by_zipfile(path)


async def test_failed_compact_leaves_all_as_it_was(path: Path) -> None:
    """A misplaced entry stops it; the other objects are readable, and no temporary file is left."""
    async with ZipStore(path) as store:
        await store.put("a", b"v")
        await store.put("b", b"v")
        start = path.read_bytes().index(b"PK\3\4", 40)
        with path.open("r+b") as file:
            file.seek(start)
            file.write(b"KP")

        with pytest.raises(CorruptObjectError):
            await store.compact()

        assert b"v" == await store.get("b")
        assert [path] == list(path.parent.iterdir())


# -- one store at a time -----------------------------------------------------------------------------------------------


@pytest.mark.process
async def test_second_store_is_told_that_the_archive_is_open(path: Path) -> None:
    """In this process or another one; after the first is closed or killed, another store can open it."""
    program = "import sys, storage.sync\nwith storage.sync.ZipStore(sys.argv[1]) as store: store.put('b', b'v')"
    command = [sys.executable, "-c", program, str(path)]
    async with ZipStore(path) as store:
        await store.put("a", b"v")
        with pytest.raises(StoreUnavailableError, match=str(path)):
            await ZipStore(path).__aenter__()
        other = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "StoreUnavailableError" in other.stderr
        await store.compact()
        with pytest.raises(StoreUnavailableError):
            await ZipStore(path).__aenter__()

    subprocess.run(command, check=True)
    assert {"a": b"v", "b": b"v"} == read_by_zipfile(path)


async def test_archive_that_is_replaced_while_it_is_opened_is_opened_anew(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between opening and locking the file, another process may have compacted the archive and closed it."""
    async with ZipStore(path) as store:
        await store.put("k", b"old")
    lock = OpenFile.lock
    compacted = path.with_name("compacted.zip")
    async with ZipStore(compacted) as store:
        await store.put("k", b"new")

    def late(file: OpenFile) -> None:
        if compacted.exists():
            compacted.rename(path)
        lock(file)

    monkeypatch.setattr(OpenFile, "lock", late)
    async with ZipStore(path) as store:
        assert b"new" == await store.get("k")
        await store.put("l", b"v")

    assert {"k": b"new", "l": b"v"} == read_by_zipfile(path)


async def test_write_that_comes_too_late_is_not_done(path: Path) -> None:
    """A thread whose put is still running when the store is closed does not change the archive."""
    async with ZipStore(path) as store:
        archive = store._archive
        assert archive is not None
    written = path.read_bytes()

    with pytest.raises(StoreClosedError):
        archive.commit([put_change(Target("k"), b"v", None)])
    with pytest.raises(StoreClosedError):
        archive.compact()

    assert written == path.read_bytes()


async def test_interrupted_write_is_not_done_later(path: Path) -> None:
    """After Ctrl-C during a waiting put, the next writer does not write it."""

    class Interrupting:
        def __enter__(self) -> None:
            raise KeyboardInterrupt

        def __exit__(self, *_: object) -> None: ...

    async with ZipStore(path) as store:
        archive = store._archive
        assert archive is not None
        lock = archive._writing
        archive._writing = Interrupting()  # type: ignore[assignment]  # a lock that is never had
        with pytest.raises(KeyboardInterrupt):
            archive.commit([put_change(Target("interrupted"), b"v", None)])
        archive._writing = lock
        await store.put("k", b"v")

        assert ["k"] == [key async for key in store.keys()]


async def test_store_that_is_not_open_says_so(path: Path) -> None:
    """The constructor does nothing; before entering and after leaving, the error of every method names the fix."""
    store = ZipStore(path)
    assert not path.exists()
    with pytest.raises(StoreClosedError, match="async with"):
        await store.get("k")
    async with store:
        await store.put("k", b"v")
    for call in (store.exists("k"), store.put("k", b""), store.flush(), store.compact()):
        with pytest.raises(StoreClosedError, match="async with"):
            await call
    async with store:
        assert b"v" == await store.get("k")


@pytest.fixture
def _fork_may_warn() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12 on, for forking beside threads
        yield


@pytest.mark.process
@pytest.mark.usefixtures("_fork_may_warn")
async def test_forked_child_leaves_the_archive_to_its_parent(path: Path) -> None:
    """The store is closed in the child, whose exit neither unlocks nor keeps the parent's archive."""
    go_read, go_write = os.pipe()
    closed_read, closed_write = os.pipe()
    async with ZipStore(path) as store:
        await store.put("k", b"v")
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.close(go_write)
                store.exists("k").send(None)
            except StoreClosedError:
                step(store.aclose())
                os.write(closed_write, b"x")
                status = 0
                os.read(go_read, 1)
            finally:
                os._exit(status)
        os.close(closed_write)
        os.read(closed_read, 1)  # the child has closed its store
        with pytest.raises(StoreUnavailableError):
            await ZipStore(path).__aenter__()
        await store.put("l", b"v")
    async with ZipStore(path) as store:
        assert ["k", "l"] == [key async for key in store.keys()]
    for descriptor in (go_read, go_write, closed_read):
        os.close(descriptor)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    assert 0 == os.waitstatus_to_exitcode(status)
