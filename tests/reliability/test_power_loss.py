"""Disks that lose power while a store writes: what they hold afterwards."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from processes.disks import Disk, disk
from processes.workers import killed, prepared, verified

from storage import CorruptObjectError, IncompleteListingError, KeyNotFoundError, StorageError
from storage.sync import ChecksumStore, FilesystemStore, HashdirStore, ObjectStore, ZipStore

#: Power cuts per store and file system; STORAGE_POWER_CUTS=100 makes it a long run.
CUTS = int(os.environ.get("STORAGE_POWER_CUTS", "2"))

#: What promises that all that was acknowledged outlasts a power cut.
DURABLE = ["filesystem-fsync", "hashdir-fsync", "deep-fsync", "sqlite", "zip"]

pytestmark = [pytest.mark.timeout(60 + 5 * CUTS), pytest.mark.process]


@pytest.fixture(params=["ext4", "xfs"])
def drive(request: pytest.FixtureRequest) -> Iterator[Disk]:
    with disk(request.param) as made:
        yield made


def listed(store: ObjectStore) -> list[str]:
    """Return the keys that a listing yields, also where it says at its end that some are lost."""
    found = []
    with suppress(IncompleteListingError):
        for key in store.keys():
            found.append(key)  # noqa: PERF402  # those before the error
    return found


def place_on(drive: Disk) -> Path:
    """Return a new directory that is certainly on the disk."""
    root = drive.root / "store"
    root.mkdir()
    os.sync()
    return root


@pytest.mark.parametrize("name", DURABLE)
async def test_all_that_was_acknowledged_outlasts_a_power_cut(name: str, drive: Disk) -> None:
    """
    With ``durability="fsync"``, and for SQLite and zip as they are, at any moment and time after time.

    Deletions too, and the names of new directories.
    """
    chances = random.Random(name)
    root = place_on(drive)
    told, begin = await prepared(name, root), 1

    for _ in range(CUTS):
        told = killed(name, root, begin, told, chances, cut=drive.cut)
        drive.restart()

        told, begin = await verified(name, root, told, begin)


# -- what is not promised ----------------------------------------------------------------------------------------------

#: Sizes of objects in bytes: within a page, several pages, and more than one write call takes.
SIZES = [100, 20_000, 1_000_000]


def version(number: int, size: int) -> bytes:
    """Return bytes without a zero, different in every version."""
    return bytes([1 + number % 255]) * size


def commit_names(root: Path) -> None:
    """Make the file system write its log, as it does by itself every few seconds: all names, but no bytes of files."""
    with (root.parent / "other").open("wb") as file:
        file.write(b"x")
        os.fsync(file.fileno())


@pytest.mark.parametrize("store_class", [FilesystemStore, HashdirStore])
def test_power_cut_under_atomic_may_damage_what_was_written_last(
    store_class: type[FilesystemStore | HashdirStore], drive: Disk
) -> None:
    """
    What `os.sync` has seen stays. What came later may be missing, as it was before, whole, or damaged, also where it
    replaced something: bytes are missing at the end or are zeros. Never are there bytes of two versions.
    """
    root = place_on(drive)
    replaced = {f"old-{size}": size for size in SIZES}
    created = {f"new-{size}": size for size in SIZES}
    with store_class(root) as store:
        store.put("synced", b"stays")
        for number in range(CUTS):
            for key, size in replaced.items():
                store.put(key, version(number, size))
            for key in created:
                store.delete(key)
            os.sync()
            for key, size in {**replaced, **created}.items():
                store.put(key, version(number + 1, size))
            commit_names(root)
            drive.cut()
            drive.restart()

            assert b"stays" == store.get("synced")
            for key, size in {**replaced, **created}.items():
                allowed = [version(number + 1, size)] + [version(number, size)] * (key in replaced)
                found = store.get(key) if store.exists(key) else None
                if found not in (allowed if key in replaced else [None, *allowed]):
                    assert found is not None
                    assert len(found) <= size
                    assert {0, *found} in ({0}, *({0, each[0]} for each in allowed)), key


@pytest.mark.parametrize("store_class", [FilesystemStore, HashdirStore])
def test_checksums_tell_what_a_power_cut_damaged(
    store_class: type[FilesystemStore | HashdirStore], drive: Disk
) -> None:
    """With a `ChecksumStore` above, an object reads as a version that was put, or is an error; and can be put again."""
    root = place_on(drive)
    store: ObjectStore = ChecksumStore(store_class(root))
    damaged = 0
    for number in range(CUTS):
        for size in SIZES:
            store.put(f"{number}-{size}", version(number, size))
        commit_names(root)
        drive.cut()
        drive.restart()

        for size in SIZES:
            key = f"{number}-{size}"
            found = store.get_many([key])[key]
            damaged += isinstance(found, CorruptObjectError)
            assert found == version(number, size) or isinstance(found, CorruptObjectError | KeyNotFoundError), key
            store.put(key, b"again")
            assert b"again" == store.get(key)
            assert key in listed(store)
    assert damaged, "no power cut has damaged anything: the test does not show what it should"


def test_power_cut_under_atomic_leaves_a_beginning_of_a_zip(drive: Disk) -> None:
    """All objects up to the last `flush` are there, and some of the first ones after it; all are whole."""
    chances = random.Random("zip")
    path = place_on(drive) / "a.zip"
    for number in range(CUTS):
        flushed, last = sorted(chances.sample(range(30), 2))
        with suppress(StorageError), ZipStore(path, durability="atomic") as store:  # it cannot be closed as it should
            for place in range(last):
                if place == flushed:
                    store.flush()
                store.put(f"{place:02}", version(number + place, 30_000))
                if chances.random() < 0.1:
                    os.sync()
            drive.cut()
        drive.restart()

        with ZipStore(path, durability="atomic") as store:
            found = list(store.keys())
            assert [f"{place:02}" for place in range(len(found))] == found
            assert flushed <= len(found) <= last
            assert {key: version(number + int(key), 30_000) for key in found} == store.get_many(found)
            store.clear()


def test_log_of_the_file_system_keeps_the_order_of_new_directories(drive: Disk) -> None:
    """
    A durable put into directories that somebody else has made in this very moment, and not synced, takes them along.

    POSIX promises no such thing, and these file systems do: a sync writes the log up to what it is about.
    """
    root = place_on(drive)
    for number in range(CUTS):
        FilesystemStore(root).put(f"{number}/made/by/another", b"")
        FilesystemStore(root, durability="fsync").put(f"{number}/made/by/k", b"v")
        drive.cut()
        drive.restart()

        assert b"v" == FilesystemStore(root).get(f"{number}/made/by/k")
