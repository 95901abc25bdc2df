"""A process that has a store open and runs the calls it is sent, and temporary faults of its system calls."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from processes.forking import context

from storage import StorageError, sync

__all__ = ["STORES", "Victim", "faulty", "victim"]

#: Seconds that the process may take for a call.
TIMEOUT = 60

#: How each store is made; all of them wait for the disk.
STORES: dict[str, Callable[[Path], sync.ObjectStore]] = {
    "filesystem": lambda root: sync.FilesystemStore(root, durability="fsync"),
    "hashdir": lambda root: sync.HashdirStore(root, durability="fsync"),
    "sqlite": lambda root: sync.SqliteStore(root / "objects.db"),
    "zip": lambda root: sync.ZipStore(root / "objects.zip", compression="stored"),
    "deep": lambda root: sync.ChecksumStore(sync.GzipStore(sync.FilesystemStore(root, durability="fsync"))),
}


def _serve(name: str, root: Path, told: Connection) -> None:
    with ExitStack() as opened:
        try:
            store = opened.enter_context(STORES[name](root))
        except StorageError as refusal:
            told.send(refusal)
            return
        told.send(None)
        while True:
            try:
                method, arguments, options = told.recv()
            except EOFError:
                return
            try:
                result = getattr(store, method)(*arguments, **options)
                result = result if method != "keys" else list(result)
            except Exception as error:
                result = error
            told.send(result)


class Victim:
    """
    The process.

    Attributes:
        pid: its number.
    """

    def __init__(self, pid: int, told: Connection) -> None:
        self.pid: int = pid
        self._told = told

    def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Have the store called, and return what the method returned; what it raised is returned, too."""
        self._told.send((method, arguments, options))
        assert self._told.poll(TIMEOUT), f"{method} does not return"
        return self._told.recv()

    def held(self) -> tuple[list[str], int]:
        """Return what it has open, and how many threads it has."""
        descriptors = Path("/proc", str(self.pid), "fd")
        return sorted(os.readlink(each) for each in descriptors.iterdir()), len(
            list((descriptors.parent / "task").iterdir())
        )


@contextmanager
def victim(name: str, root: Path) -> Iterator[Victim]:
    """Give a process that has the store of that name open; what the opening raised is raised here."""
    ours, theirs = context().Pipe()
    process = context().Process(target=_serve, args=(name, root, theirs))
    process.start()
    theirs.close()
    try:
        assert ours.poll(TIMEOUT), "the store does not open"
        if (refusal := ours.recv()) is not None:
            raise refusal
        assert process.pid is not None
        yield Victim(process.pid, ours)
    finally:
        ours.close()
        process.join(TIMEOUT)
        process.kill()


@contextmanager
def faulty(victim: Victim, calls: str, fault: str) -> Iterator[None]:
    """Have these system calls of the process fail, as strace puts it, while the block runs."""
    command = ["strace", "-f", "-p", str(victim.pid), "-e", f"trace={calls}", "-e", f"inject={calls}:{fault}"]
    with subprocess.Popen([*command, "-o", os.devnull], stderr=subprocess.PIPE, text=True) as strace:
        assert strace.stderr is not None
        try:
            said = strace.stderr.readline()
            assert "attached" in said, said
            yield
        finally:
            strace.terminate()
