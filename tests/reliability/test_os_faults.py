"""Faults of the system under stores that are at work: what is raised, what is there then, and what is left over."""

from __future__ import annotations

import os
import random
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from processes.strace import needs_strace
from processes.victims import STORES, Victim, faulty, victim

from storage import (
    CorruptObjectError,
    KeyNotFoundError,
    PermissionDeniedError,
    StorageError,
    StoreFullError,
    StoreUnavailableError,
    sync,
)

OLD, NEW = b"old" * 3000, b"new" * 4000

#: More than SQLite keeps in a row, and than fits where there is little room; it cannot be compressed.
LARGE = random.Random(1).randbytes(2_000_000)

RENAMES = "rename,renameat,renameat2"


class Fault(NamedTuple):
    """
    What goes wrong, and when.

    Attributes:
        calls: the system calls.
        fault: what strace makes of them.
        error: what the store makes of that.
        late: whether the new object may be there all the same: its name was given, and may not last.
    """

    calls: str
    fault: str
    error: type[StorageError]
    late: bool = False


FILES = [
    Fault("write", "error=ENOSPC:when=1", StoreFullError),
    Fault("write", "error=EDQUOT:when=1", StoreFullError),
    Fault("write", "error=EIO:when=1", StorageError),
    Fault("fsync", "error=EIO:when=1", StorageError),
    Fault("fsync", "error=EIO:when=2", StorageError, late=True),
    Fault("fsync", "error=ENOSPC", StoreFullError),
    Fault("openat", "error=EMFILE", StoreUnavailableError),
    Fault("openat", "error=EACCES", PermissionDeniedError),
    Fault("openat", "error=EROFS", PermissionDeniedError),
    Fault("openat", "error=EIO", StorageError),
    Fault("fsetxattr", "error=EIO", StorageError),
    Fault("utimensat", "error=EIO", StorageError),
    Fault("flock", "error=EIO:when=2", StorageError),
    Fault(RENAMES, "error=EIO", StorageError),
    Fault(RENAMES, "error=ENOSPC", StoreFullError),
    Fault(RENAMES, "error=EACCES", PermissionDeniedError),
]

PUTS = {
    "filesystem": FILES,
    "hashdir": FILES,
    "deep": FILES,
    "sqlite": [
        Fault("pwrite64", "error=ENOSPC", StoreFullError),
        Fault("pwrite64", "error=EIO", StorageError),
        Fault("fsync,fdatasync", "error=EIO", StorageError),
    ],
    "zip": [
        Fault("pwrite64", "error=ENOSPC", StoreFullError),
        Fault("pwrite64", "error=EIO:when=2", StorageError),
        Fault("fsync", "error=EIO", StorageError),
        Fault("fsync", "error=EIO:when=1", StorageError),
    ],
}

STREAMS = {
    name: [Fault("write", "error=EIO:when=2", StorageError), Fault("fsync", "error=EIO:when=1", StorageError)]
    for name in ("filesystem", "hashdir", "deep")
} | {
    "sqlite": [Fault("pwrite64", "error=ENOSPC:when=100+", StoreFullError)],
    "zip": [
        Fault("write", "error=ENOSPC:when=1", StoreFullError),  # of the temporary file
        Fault("pwrite64", "error=EIO:when=2", StorageError),
        Fault("fsync", "error=EIO", StorageError),
    ],
}

MOVES = {
    "filesystem": [Fault(RENAMES, "error=EIO", StorageError), Fault("openat", "error=EMFILE", StoreUnavailableError)],
    "hashdir": [Fault(RENAMES, "error=EIO", StorageError)],
    "sqlite": [Fault("pwrite64", "error=ENOSPC", StoreFullError)],
    "zip": [Fault("pwrite64", "error=ENOSPC:when=1", StoreFullError), Fault("fsync", "error=EIO", StorageError)],
}

UNREADABLE = Fault("pread64", "error=EIO", StorageError)

GETS = {
    "filesystem": [UNREADABLE, Fault("openat2,openat", "error=EMFILE", StoreUnavailableError)],
    "hashdir": [UNREADABLE, Fault("openat2", "error=EACCES", PermissionDeniedError)],
    "deep": [UNREADABLE],
    "sqlite": [Fault("pread64", "error=EIO", CorruptObjectError)],  # so SQLite calls it
    "zip": [UNREADABLE],
}

UNLINKS = "unlink,unlinkat"

DELETES = {
    "filesystem": [Fault(UNLINKS, "error=EIO", StorageError), Fault(UNLINKS, "error=EROFS", PermissionDeniedError)],
    "hashdir": [Fault(UNLINKS, "error=EIO", StorageError)],
    "sqlite": PUTS["sqlite"],
    "zip": [fault for fault in PUTS["zip"] if "when=2" not in fault.fault],
}


def each(table: dict[str, list[Fault]]) -> pytest.MarkDecorator:
    """Return the parameters of a test: the store's name, and a fault."""
    return pytest.mark.parametrize(
        ("name", "fault"),
        [
            pytest.param(name, fault, id=f"{name}-{fault.calls.partition(',')[0]}-{fault.fault.partition('=')[2]}")
            for name, faults in table.items()
            for fault in faults
        ],
    )


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file() and path.suffix not in (".db-wal", ".db-shm"))


def size(path: Path) -> int:
    return path.stat().st_size


def told(error: object, fault: Fault, root: Path, key: str) -> None:
    """Assert that an error says what is wrong, and with what."""
    assert isinstance(error, fault.error), error
    assert (fault.error is StorageError) == (type(error) is StorageError), error
    assert error.key == key
    assert str(root) in str(error.store)


def at_work(process: Victim, root: Path) -> None:
    """Assert that the store works as if nothing had been."""
    assert isinstance(process.call("put", "d/k", NEW, attributes={"a": "c"}), str)
    assert NEW == process.call("get", "d/k")
    assert isinstance(process.call("put", "d/l", NEW), str)
    assert ["d/k", "d/l"] == process.call("keys")
    assert process.call("delete", "d/l") is None


@needs_strace
@each(PUTS)
def test_put_that_fails_leaves_the_old_object_and_nothing_else(name: str, fault: Fault, tmp_path: Path) -> None:
    """The error is of our tree, and names key and store; no file, descriptor, thread or lock is left behind."""
    with victim(name, tmp_path) as process:
        process.call("put", "d/k", OLD, attributes={"a": "b"})
        before, held = files(tmp_path), process.held()
        with faulty(process, fault.calls, fault.fault):
            error = process.call("put", "d/k", NEW, attributes={"a": "c"})

        told(error, fault, tmp_path, "d/k")
        assert process.call("get", "d/k") in ([OLD, NEW] if fault.late else [OLD])
        assert (before, held) == (files(tmp_path), process.held())
        at_work(process, tmp_path)


@needs_strace
@each(STREAMS)
def test_stream_that_fails_leaves_the_old_object_and_nothing_else(name: str, fault: Fault, tmp_path: Path) -> None:
    """Also when a good part of it was written."""
    with victim(name, tmp_path) as process:
        process.call("put", "d/k", [LARGE, LARGE])
        process.call("put", "d/k", OLD)
        before, held = files(tmp_path), process.held()
        with faulty(process, fault.calls, fault.fault):
            error = process.call("put", "d/k", [LARGE, LARGE, LARGE])

        told(error, fault, tmp_path, "d/k")
        assert OLD == process.call("get", "d/k")
        assert (before, held) == (files(tmp_path), process.held())
        at_work(process, tmp_path)


@needs_strace
@pytest.mark.parametrize("method", ["copy", "rename"])
@each(MOVES)
def test_copy_or_rename_that_fails_leaves_both_objects(name: str, fault: Fault, method: str, tmp_path: Path) -> None:
    """The source is where it was, and the target what it was."""
    with victim(name, tmp_path) as process:
        process.call("put", "d/k", OLD)
        process.call("put", "d/l", NEW)
        before, held = files(tmp_path), process.held()
        with faulty(process, fault.calls, fault.fault):
            error = process.call(method, "d/k", "d/l")

        told(error, fault, tmp_path, "d/k" if name == "zip" else "d/l")
        assert {"d/k": OLD, "d/l": NEW} == process.call("get_many", ["d/k", "d/l"])
        assert (before, held) == (files(tmp_path), process.held())
        at_work(process, tmp_path)


@needs_strace
@each(GETS)
def test_get_that_fails_is_our_error_and_does_no_harm(name: str, fault: Fault, tmp_path: Path) -> None:
    """A disk that cannot be read for a moment is no missing object, and no shorter one."""
    with victim(name, tmp_path) as process:
        process.call("put", "d/k", OLD)
    with victim(name, tmp_path) as process:
        process.call("get", "nothing")
        held = process.held()
        with faulty(process, fault.calls, fault.fault):
            error = process.call("get", "d/k")

        told(error, fault, tmp_path, "d/k")
        assert held == process.held()
        assert OLD == process.call("get", "d/k")
        at_work(process, tmp_path)


@needs_strace
@each(DELETES)
def test_delete_that_fails_leaves_the_object(name: str, fault: Fault, tmp_path: Path) -> None:
    """It is there as it was, and can be deleted when the fault is gone."""
    with victim(name, tmp_path) as process:
        process.call("put", "d/k", OLD)
        before, held = files(tmp_path), process.held()
        with faulty(process, fault.calls, fault.fault):
            error = process.call("delete", "d/k")

        told(error, fault, tmp_path, "d/k")
        assert OLD == process.call("get", "d/k")
        assert (before, held) == (files(tmp_path), process.held())
        at_work(process, tmp_path)


@needs_strace
@pytest.mark.parametrize("name", ["filesystem", "hashdir", "deep"])
def test_listing_that_fails_is_our_error(name: str, tmp_path: Path) -> None:
    """A directory that cannot be read is not an empty one."""
    with victim(name, tmp_path) as process:
        process.call("put", "d/k", OLD)
        held = process.held()
        with faulty(process, "getdents64", "error=EIO"):
            error = process.call("keys")

        assert type(error) is StorageError
        assert str(tmp_path) in str(error.store)
        assert held == process.held()
        assert ["d/k"] == process.call("keys")


# -- limits that are real ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["filesystem", "hashdir", "deep"])
def test_process_with_all_its_files_open_is_told_so(name: str, tmp_path: Path) -> None:
    """It is no missing key and no empty store, and passes when something is closed."""
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
    """The first call of the system writes some of it, the next one nothing: neither passes for the whole."""
    with victim(name, tmp_path) as process:
        process.call("put", "d/k", OLD)
        before, held = files(tmp_path), process.held()
        limits = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (max(map(size, before)) + 10_000, limits[1]))
        errors = [process.call("put", "d/k", LARGE), process.call("put", "d/k", [LARGE, LARGE])]
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, limits)

        # SQLite has no word for EFBIG, and takes it for any other failure of the disk.
        expected = StorageError if name == "sqlite" else StoreFullError
        assert [(expected, "d/k")] * 2 == [(type(error), error.key) for error in errors], errors
        assert (before, held) == (files(tmp_path), process.held())
        assert OLD == process.call("get", "d/k")
        at_work(process, tmp_path)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """Give a file system of 4 MiB."""
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
    """At once or in pieces, what does not fit leaves no trace."""
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
    """What was put is read where that needs no writing; a write is refused as what it is, and works later."""
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
    """Also when it goes in the middle of a stream: that one fails, and does not come back as a part."""
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
    """Cut short, or with a page overwritten: opening and every method say what is wrong in an error of our tree."""
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
