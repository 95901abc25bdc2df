"""ZipStore on disks that reorder writes, lose power, fail temporarily, or whose archive is deleted."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from zip_tools import read_by_zipfile

import storage.sync
from storage import StorageError, StoreUnavailableError
from storage._core.directory_sync import sync_directory
from storage.stores.zip import tail
from storage.stores.zip.archive import Archive
from storage.stores.zip.content import Content
from storage.stores.zip.file import OpenFile
from storage.stores.zip.format import EMPTY

#: Bytes that a disk writes at once, and whole.
SECTOR = 512

#: Power cuts per setting.
CUTS = int(os.environ.get("STORAGE_ZIP_CUTS", "400"))

pytestmark = [pytest.mark.slow] if CUTS > 2000 else []


class Recorder:
    """
    The calls on an archive's file, in order.

    Attributes:
        calls: (offset, bytes) for a write, ``None`` for a sync, a number for the size of a truncation.
        states: for each state of the objects, the number of calls before it, and whether it was promised to be
            durable.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[int, bytes] | int | None] = []
        self.states: list[tuple[int, bool, dict[str, bytes]]] = []

    def now(self, lasts: bool, **objects: bytes) -> None:
        """Record the state."""
        self.states.append((len(self.calls), lasts, objects))


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    made = Recorder()
    write, truncate, sync = OpenFile.write, OpenFile.truncate, OpenFile.sync

    def writing(file: OpenFile, data: bytes, offset: int) -> int:
        made.calls.append((offset, bytes(data)))
        return write(file, data, offset)

    def truncating(file: OpenFile, size: int) -> None:
        if file.size() > size:
            made.calls.append(size)
        truncate(file, size)

    def syncing(file: OpenFile) -> None:
        sync(file)
        made.calls.append(None)

    monkeypatch.setattr(OpenFile, "write", writing)
    monkeypatch.setattr(OpenFile, "truncate", truncating)
    monkeypatch.setattr(OpenFile, "sync", syncing)
    return made


def history(path: Path, recorder: Recorder, durability: str) -> None:
    """Do a little of every operation on an archive."""
    synced = durability == "fsync"
    with storage.sync.ZipStore(path, durability=durability) as store:  # type: ignore[arg-type]  # as pytest gives it
        recorder.now(True)
        a, b, large = b"a" * 100, os.urandom(700), os.urandom(5000)
        store.put("a", a, attributes={"x": "y"})
        recorder.now(synced, a=a)
        store.put("large", large)
        recorder.now(synced, a=a, large=large)
        store.flush()
        recorder.now(True, a=a, large=large)
        store.put("b", b)
        recorder.now(synced, a=a, large=large, b=b)
        store.delete("a")
        recorder.now(synced, large=large, b=b)
        store.put("large", b + large)
        recorder.now(synced, large=b + large, b=b)
        store.flush()
        recorder.now(True, large=b + large, b=b)
        store.put("a", large)
        recorder.now(synced, large=b + large, b=b, a=large)
        store.delete("large")
        recorder.now(synced, b=b, a=large)
    recorder.now(True, b=b, a=large)


def cut(calls: list[tuple[int, bytes] | int | None], chances: random.Random) -> bytes:
    """Return the content of a disk after a power failure: of unsynced calls any sectors may be missing."""
    disk = bytearray()
    last = max((place for place, call in enumerate(calls) if call is None), default=-1)
    likely = chances.choice([0.1, 0.5, 0.9])
    for place, call in enumerate(calls):
        if call is None:
            continue
        if isinstance(call, int):
            if place < last or chances.random() < likely:
                del disk[call:]
            continue
        offset, data = call
        for begin in range(offset - offset % SECTOR, offset + len(data), SECTOR):
            start, stop = max(begin, offset), min(begin + SECTOR, offset + len(data))
            if place < last or chances.random() < likely:
                disk.extend(bytes(max(0, start - len(disk))))
                disk[start:stop] = data[start - offset : stop - offset]
    return bytes(disk)


@pytest.mark.parametrize("durability", ["fsync", "atomic"])
def test_sectors_that_are_written_in_any_order_lose_nothing_that_was_said_to_last(
    durability: str, recorder: Recorder, tmp_path: Path
) -> None:
    """
    After a power cut at any time the archive has one of its states, at least as new as the last durable one.

    With ``"fsync"`` each put and delete makes a durable state, with ``"atomic"`` each flush.
    """
    history(tmp_path / "a.zip", recorder, durability)
    chances = random.Random(durability)
    calls, states = list(recorder.calls), list(recorder.states)
    torn = tmp_path / "torn.zip"
    for _ in range(CUTS):
        moment = chances.randrange(states[0][0], len(calls) + 1)
        torn.write_bytes(cut(calls[:moment], chances))

        archive = Archive(os.fspath(torn), sync=False)
        found = {key: Content(*each).read(0, each.entry.size) for key, each in archive.objects.items()}
        promised = max(place for place, (when, lasts, _) in enumerate(states) if lasts and when <= moment)
        begun = [place for place, (when, _, _) in enumerate(states) if when <= moment]
        possible = [objects for _, _, objects in states[promised : begun[-1] + 2]]
        assert found in possible, (moment, [len(each) for each in possible], len(found))
        del archive


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return a function that makes the n-th sync from now fail once, as after a failed disk write."""
    counted = [0]
    sync = OpenFile.sync

    def syncing(file: OpenFile) -> None:
        counted[0] -= 1
        if counted[0] == 0:
            raise OSError(errno.EIO, "the disk failed")
        sync(file)

    def fail(number: int) -> None:
        counted[0] = number

    monkeypatch.setattr(OpenFile, "sync", syncing)
    return fail


def rewritten(recorder: Recorder, since: int) -> set[int]:
    """Return the offsets in the file that were written since that call."""
    writes = [call for call in recorder.calls[since:] if isinstance(call, tuple)]
    return {place for offset, data in writes for place in range(offset, offset + len(data))}


def test_flush_after_one_that_failed_writes_again_what_may_be_lost(
    recorder: Recorder, failing: Callable[[int], None], tmp_path: Path
) -> None:
    """The system reports only once that bytes did not reach the disk; a later successful sync proves nothing."""
    path = tmp_path / "a.zip"
    with storage.sync.ZipStore(path, durability="atomic") as store:
        store.put("k", b"v" * 1000)
        end = path.stat().st_size
        failing(1)
        with pytest.raises(StorageError, match="error"):
            store.flush()
        since = len(recorder.calls)
        store.flush()

        assert set(range(len(EMPTY), end)) <= rewritten(recorder, since)
    assert {"k": b"v" * 1000} == read_by_zipfile(path)


def test_opening_writes_again_what_a_killed_process_left(
    recorder: Recorder, failing: Callable[[int], None], tmp_path: Path
) -> None:
    """Whether its disk failed is unknown, and after a failed opening the next one cannot trust the disk either."""
    path, left = tmp_path / "a.zip", tmp_path / "left.zip"
    with storage.sync.ZipStore(path) as store:
        store.put("k", b"v" * 1000)
        left.write_bytes(path.read_bytes())
    failing(1)
    with pytest.raises(StorageError, match="error"), storage.sync.ZipStore(left):
        pass  # pragma: no cover
    since = len(recorder.calls)

    with storage.sync.ZipStore(left) as store:
        assert b"v" * 1000 == store.get("k")
        assert set(range(len(EMPTY), left.stat().st_size)) <= rewritten(recorder, since)


def test_put_after_a_compaction_whose_last_sync_failed_syncs_the_new_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a power cut could restore the old archive, without the objects put into the new one."""
    synced: list[str] = []

    def failing(path: str) -> None:
        raise OSError(errno.EIO, "the disk failed")

    def syncing(path: str) -> None:
        synced.append(path)
        sync_directory(path)

    with storage.sync.ZipStore(tmp_path / "a.zip") as store:
        store.put("k", b"v")
        with monkeypatch.context() as broken:
            broken.setattr(tail, "sync_directory", failing)
            with pytest.raises(StorageError, match="error"):
                store.compact()
        monkeypatch.setattr(tail, "sync_directory", syncing)
        store.put("l", b"v")

        assert [str(tmp_path)] == synced
        assert ["k", "l"] == list(store.keys())


@pytest.mark.parametrize("gone", [os.unlink, lambda path: os.replace(path.with_name("other"), path)])
def test_archive_that_is_deleted_or_replaced_under_the_store_takes_no_writes(
    gone: Callable[[Path], None], tmp_path: Path
) -> None:
    """They would go into a file without a name, and be lost on closing."""
    path = tmp_path / "a.zip"
    (tmp_path / "other").write_bytes(EMPTY)
    with storage.sync.ZipStore(path) as store:
        store.put("k", b"v")
        store.flush()
        gone(path)

        for write in (lambda: store.put("k", b"w"), lambda: store.delete("k"), store.compact):
            with pytest.raises(StoreUnavailableError, match="deleted or replaced"):
                write()
        assert b"v" == store.get("k")
