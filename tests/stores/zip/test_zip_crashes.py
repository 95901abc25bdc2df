"""ZipStore after a crash: an archive that breaks off anywhere, killed writers, a full disk, a disk that fails."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import random
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from processes.forking import context
from zip_tools import read_by_zipfile

import storage.sync
from storage import CorruptObjectError, StorageError, StoreFullError, ZipStore
from storage.stores.zip.archive import Archive
from storage.stores.zip.content import Content
from storage.stores.zip.file import OpenFile
from storage.stores.zip.format import EMPTY

#: Processes that are killed, one after the other.
ROUNDS = 24


def objects(path: Path) -> dict[str, bytes]:
    """Open the archive, return all objects, and leave it as it would be after another crash."""
    archive = Archive(os.fspath(path), sync=False)
    return {key: Content(*found).read(0, found.entry.size) for key, found in archive.objects.items()}


def inner_archive() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(zipfile.ZipInfo("from the inner archive"), "wrong")  # of a fixed time
    return packed.getvalue()


# -- files that break off ----------------------------------------------------------------------------------------------


class History:
    """
    What was done to an archive, and what it held when it had how many bytes.

    Attributes:
        states: bytes of the file after each call that has returned, and the objects then.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.states: list[tuple[int, dict[str, bytes]]] = []

    def holds(self, **objects: bytes) -> None:
        """Take down what the archive holds now."""
        self.states.append((self.path.stat().st_size, objects))

    def expected(self, size: int) -> dict[str, bytes]:
        """Return what must be there when the file has its first *size* bytes."""
        return [objects for written, objects in self.states if written <= size][-1]


@pytest.fixture
def history(tmp_path: Path) -> History:
    """Give an archive with a little of everything."""
    history = History(tmp_path / "history.zip")
    with storage.sync.ZipStore(history.path, durability="atomic") as store:
        history.holds()
        store.put("a", b"first")
        history.holds(a=b"first")
        store.put("a", b"second" * 50, attributes={"x": "y" * 20})
        history.holds(a=b"second" * 50)
        store.flush()
        store.put("b", [b"str", b"eam"])
        history.holds(a=b"second" * 50, b=b"stream")
        store.delete("a")
        history.holds(b=b"stream")
        store.put("c", b"")
        history.holds(b=b"stream", c=b"")
        store.put("z", inner_archive())
        history.holds(b=b"stream", c=b"", z=inner_archive())
        store.copy("b", "a")
        history.holds(a=b"stream", b=b"stream", c=b"", z=inner_archive())
        store.clear("b")
        history.holds(a=b"stream", c=b"", z=inner_archive())
        store.flush()
        store.put("d", b"last" * 30)
        history.holds(a=b"stream", c=b"", z=inner_archive(), d=b"last" * 30)
    return history


@pytest.mark.parametrize("rest", ["nothing", "zeros", "ones"])
def test_archive_that_breaks_off_anywhere_has_all_that_was_acknowledged(history: History, rest: str) -> None:
    """
    At every byte. Behind it is nothing, as after a kill; or what a disk has there when its power failed.

    No call is seen half done.
    """
    whole = history.path.read_bytes()
    fill = {"nothing": b"", "zeros": b"\0", "ones": b"\xff"}[rest]
    torn = history.path.with_name("torn.zip")

    for size in range(len(EMPTY), len(whole) + 1):
        torn.write_bytes(whole[:size] + fill * 5000)

        right = len(whole) - len(whole[size:].lstrip(fill)) if fill else size
        assert history.expected(right) == objects(torn), size


def test_archive_that_broke_off_is_repaired_by_using_it(history: History) -> None:
    """The next put and the next close leave an archive that every program reads, with all that was there."""
    whole = history.path.read_bytes()
    torn = history.path.with_name("torn.zip")

    for size in range(len(EMPTY), len(whole) + 1, 13):
        torn.write_bytes(whole[:size])
        with storage.sync.ZipStore(torn, durability="atomic") as store:
            store.put("after", b"works")

        expected = {**history.expected(size), "after": b"works"}
        assert set(expected) == set(read_by_zipfile(torn)), size
        assert expected == objects(torn), size


@pytest.mark.parametrize("behind", [b"", b"the rest of the object"])
def test_inner_archive_at_the_torn_end_is_not_taken_for_the_archive(tmp_path: Path, behind: bytes) -> None:
    """The file ends in an end record, but it is that of an object, whole or cut off."""
    path, torn = tmp_path / "a.zip", tmp_path / "torn.zip"
    data = inner_archive() + behind
    with storage.sync.ZipStore(path, compression="stored") as store:
        store.put("k", b"v")
        store.put("inner", data)
        content = path.read_bytes()
    torn.write_bytes(content[: content.index(inner_archive()) + len(inner_archive())])

    assert torn.read_bytes().endswith(inner_archive())
    assert {"k": b"v", **({} if behind else {"inner": data})} == objects(torn)


def test_rename_that_is_cut_in_two_loses_nothing(tmp_path: Path) -> None:
    """Between its two records both names are there, and at no byte none of them."""
    path, torn = tmp_path / "a.zip", tmp_path / "torn.zip"
    with storage.sync.ZipStore(path) as store:
        store.put("old", b"v")
        before = path.stat().st_size
        store.rename("old", "new")
        content = path.read_bytes()

    seen = []
    for size in range(before, len(content) + 1):
        torn.write_bytes(content[:size])
        if (found := objects(torn)) not in seen:
            seen.append(found)

    assert [{"old": b"v"}, {"old": b"v", "new": b"v"}, {"new": b"v"}] == seen


def test_what_was_recovered_is_made_to_last(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the killed process wrote may be in memory only: it is on the disk before anyone reads it."""
    torn = history.path.with_name("torn.zip")
    syncs: list[OpenFile] = []
    monkeypatch.setattr(OpenFile, "sync", lambda file: syncs.append(file))

    for size, expected in ((history.states[-1][0], 1), (history.path.stat().st_size, 0)):
        torn.write_bytes(history.path.read_bytes()[:size])
        syncs.clear()
        Archive(os.fspath(torn), sync=True)

        assert expected == len(syncs)


def test_half_made_archive_becomes_one(tmp_path: Path) -> None:
    """A process that was killed while it made the file leaves a beginning of an empty archive."""
    for size in range(len(EMPTY) + 1):
        path = tmp_path / f"{size}.zip"
        path.write_bytes(EMPTY[:size])

        assert {} == objects(path)
        assert EMPTY == path.read_bytes()


@pytest.mark.parametrize(
    "content",
    [b"x", b"not an archive" * 100, b"PK\3\4" + bytes(100), b"PK\5\6", bytes(1000), EMPTY[:50] + b"x"],
    ids=["a byte", "text", "a header", "a signature", "zeros", "not quite ours"],
)
def test_what_is_no_archive_is_left_alone(tmp_path: Path, content: bytes) -> None:
    """Opening it is an error that names the file, and not a byte of it changes."""
    path = tmp_path / "a.zip"
    path.write_bytes(content)

    for _ in range(2):
        with pytest.raises(CorruptObjectError, match=r"a\.zip"), storage.sync.ZipStore(path):
            pass  # pragma: no cover

    assert content == path.read_bytes()


def test_damaged_directory_is_not_repaired_from_an_older_one(tmp_path: Path) -> None:
    """To go back to the last directory that can be read would throw away what came after it."""
    path = tmp_path / "a.zip"
    with storage.sync.ZipStore(path) as store:
        store.put("a", b"v")
        store.flush()
        store.put("b", b"v")
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\1\2")] ^= 1
    path.write_bytes(content)

    with pytest.raises(CorruptObjectError, match="directory"), storage.sync.ZipStore(path):
        pass  # pragma: no cover

    assert content == path.read_bytes()


# -- killed processes --------------------------------------------------------------------------------------------------


def write_until_killed(path: str, begin: int, acknowledged: Connection) -> None:
    """Put, overwrite, delete, flush and compact, and tell of each put and delete when it has returned."""

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


def test_killed_writer_that_flushes_and_compacts_loses_nothing(tmp_path: Path) -> None:
    """After each kill -9 all that was acknowledged is there, nothing is half written, and the next one goes on."""
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


def test_full_disk_leaves_the_old_objects_and_a_store_that_works(tmp_path: Path) -> None:
    """A put for which there is no room fails whole; what fits can be put afterwards."""
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
    """What may not be on the disk is taken back: neither this store nor the next one shows it."""
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
    """The deletion, which is smaller, is not written when there is no room for the copy."""
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
    """A directory that was not written to its end is no obstacle to what follows."""
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
