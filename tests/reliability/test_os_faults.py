"""System calls that fail while a store works: what is raised, what exists afterwards, and what is left over."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
from processes.os_faults import LARGE, NEW, OLD, at_work, files
from processes.strace import needs_strace
from processes.victims import faulty, victim

from storage import (
    CorruptObjectError,
    PermissionDeniedError,
    StorageError,
    StoreFullError,
    StoreUnavailableError,
)

pytestmark = pytest.mark.process

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
        Fault("pwrite64", "error=ENOSPC:when=1", StoreFullError),  # of the temporary file
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


def told(error: object, fault: Fault, root: Path, key: str) -> None:
    """Assert that the error has the right class, key and store."""
    assert isinstance(error, fault.error), error
    assert (fault.error is StorageError) == (type(error) is StorageError), error
    assert error.key == key
    assert str(root) in str(error.store)


@needs_strace
@each(PUTS)
def test_put_that_fails_leaves_the_old_object_and_nothing_else(name: str, fault: Fault, tmp_path: Path) -> None:
    """The error is a StorageError with key and store; no file, descriptor, thread or lock is left over."""
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
    """Also if a large part of it was written."""
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
    """Source and target are unchanged."""
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
    """If the disk cannot be read for a moment, the object is neither missing nor shorter."""
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
    """The object is unchanged, and can be deleted when the fault is gone."""
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
