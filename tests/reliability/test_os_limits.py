"""Limits of the system that a store reaches, and damaged files: what is raised, and what exists afterwards."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes.os_faults import LARGE, NEW, OLD, at_work, files
from processes.victims import STORES, victim

from storage import (
    CorruptObjectError,
    KeyNotFoundError,
    PermissionDeniedError,
    StorageError,
    StoreFullError,
    StoreUnavailableError,
    sync,
)

pytestmark = pytest.mark.process


def size(path: Path) -> int:
    return path.stat().st_size


# -- limits that are real ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["filesystem", "hashdir", "deep"])
def test_process_with_all_its_files_open_is_told_so(name: str, tmp_path: Path) -> None:
    """The error is not taken for a missing key or an empty store, and is gone when a file is closed."""
    with victim(name, tmp_path) as process:
        process.call("put", "d/k", OLD)
        before, held = files(tmp_path), process.held()
        limits = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (0, limits[1]))
        errors = [process.call("put", "d/k", NEW), process.call("get", "d/k"), process.call("delete", "d/k")]
        errors += [process.call("head", "d/k"), process.call("exists", "d/k"), process.call("keys")]
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, limits)

        assert [StoreUnavailableError] * 6 == [type(error) for error in errors], errors
        assert ["d/k"] * 5 == [error.key for error in errors[:5]]
        assert (before, held) == (files(tmp_path), process.held())
        assert OLD == process.call("get", "d/k")
        at_work(process, tmp_path)


@pytest.mark.parametrize("name", list(STORES))
def test_write_that_is_cut_short_is_a_full_store(name: str, tmp_path: Path) -> None:
    """The first system call writes a part, the next one nothing: neither counts as success."""
    with victim(name, tmp_path) as process:
        process.call("put", "d/k", OLD)
        before, held = files(tmp_path), process.held()
        limits = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (max(map(size, before)) + 10_000, limits[1]))
        errors = [process.call("put", "d/k", LARGE), process.call("put", "d/k", [LARGE, LARGE])]
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, limits)

        # SQLite has no code for EFBIG, and reports it as a general failure of the disk.
        expected = StorageError if name == "sqlite" else StoreFullError
        assert [(expected, "d/k")] * 2 == [(type(error), error.key) for error in errors], errors
        assert (before, held) == (files(tmp_path), process.held())
        assert OLD == process.call("get", "d/k")
        at_work(process, tmp_path)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """Return a file system of 4 MiB."""
    if os.geteuid() != 0:
        pytest.skip("a small file system needs root, to mount it")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", tmp_path], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.parametrize("name", list(STORES))
def test_disk_that_is_full_keeps_what_it_has_and_takes_more_when_there_is_room(name: str, small: Path) -> None:
    """In one piece or as a stream, an object that does not fit leaves no trace."""
    filler = small / "filler"
    with victim(name, small) as process:
        process.call("put", "d/k", OLD)
        filler.write_bytes(bytes(3_000_000))
        before = files(small)
        errors = [process.call("put", "d/k", LARGE), process.call("put", "d/k", [LARGE[:600_000]] * 4)]

        assert [(StoreFullError, "d/k")] * 2 == [(type(error), error.key) for error in errors], errors
        assert before == files(small)
        assert OLD == process.call("get", "d/k")
        filler.unlink()
        at_work(process, small)


@pytest.mark.parametrize("name", list(STORES))
def test_disk_that_may_be_read_only_is_no_broken_store(name: str, small: Path) -> None:
    """Objects can be read if that needs no write; a write raises the right error, and works later."""
    with victim(name, small) as process:
        process.call("put", "d/k", OLD)
    subprocess.run(["mount", "-o", "remount,ro", small], check=True)
    if name in ("sqlite", "zip"):
        with pytest.raises(PermissionDeniedError) as refused, victim(name, small):
            pass  # pragma: no cover
        assert str(small) in str(refused.value.store)
    else:
        with victim(name, small) as process:
            errors = [process.call("put", "d/k", NEW), process.call("delete", "d/k")]

            assert [(PermissionDeniedError, "d/k")] * 2 == [(type(error), error.key) for error in errors], errors
            assert OLD == process.call("get", "d/k")
    subprocess.run(["mount", "-o", "remount,rw", small], check=True)
    with victim(name, small) as process:
        assert OLD == process.call("get", "d/k")
        at_work(process, small)


@pytest.mark.parametrize("name", ["filesystem", "hashdir", "deep"])
def test_directory_that_vanishes_is_an_empty_store_that_works(name: str, tmp_path: Path) -> None:
    """Also in the middle of a stream: the put fails, and no partial object appears."""
    root = tmp_path / "root"
    with victim(name, root) as process:
        process.call("put", "d/k", OLD)
        held = process.held()
        shutil.rmtree(root)

        assert isinstance(process.call("get", "d/k"), KeyNotFoundError)
        assert [] == process.call("keys")
        assert held == process.held()
        at_work(process, root)

    store = STORES[name](root)

    def vanishing() -> Iterator[bytes]:
        yield LARGE
        shutil.rmtree(root)
        yield LARGE

    with pytest.raises(StoreUnavailableError) as caught:
        store.put("d/k", vanishing())
    assert "d/k" == caught.value.key
    assert [] == list(tmp_path.rglob("*"))
    store.put("d/k", OLD)
    assert OLD == store.get("d/k")


# -- files that are damaged --------------------------------------------------------------------------------------------


def test_database_that_is_damaged_anywhere_is_our_error_or_right(tmp_path: Path) -> None:
    """Cut short, or with a page overwritten: each method raises a StorageError, or is right."""
    path, damaged = tmp_path / "objects.db", tmp_path / "damaged.db"
    objects = {f"d/{number:03}": bytes([number]) * 3000 for number in range(60)} | {"large": LARGE}
    with sync.SqliteStore(path) as store:
        store.put_many(objects)
    whole = path.read_bytes()
    every = range(0, len(whole), 16384)
    pages = [*every[:4], *every[4::20]]  # the tables' roots, and some of what is below
    contents = [whole[:start] for start in pages[1:]]
    contents += [whole[:start] + b"\xff" * 16384 + whole[start + 16384 :] for start in pages]
    errors = 0
    for content in contents:
        damaged.write_bytes(content)
        for call in ("keys", "get", "large", "put", "delete"):
            try:
                with sync.SqliteStore(damaged) as store:
                    if call == "keys":
                        list(store.keys())
                    elif call == "get":
                        store.get("d/030")
                    elif call == "large":
                        store.get("large")
                    elif call == "put":
                        store.put("d/030", b"new")
                    else:
                        store.delete("d/030")
            except StorageError as error:
                assert isinstance(error, CorruptObjectError | KeyNotFoundError), error  # noqa: PT017  # it may be right
                assert str(damaged) in str(error.store)  # noqa: PT017
                errors += 1

    assert errors
