"""
`DatabaseFiles`: whether the files of an open database are still those that SQLite has open, with its locks on them.

SQLite's locks are POSIX locks: they belong to the process and a file, not to a descriptor. Two things take them away
without SQLite noticing:

- a fork: the child inherits SQLite's table of the locks, but not the locks. So the child may not open a file that was
  open at the fork (`refuse_inherited`);
- any code of this process that opens and closes one of the files, such as ``shutil.copy``. So the locks that SQLite
  holds for as long as it is open are taken again around each write (`DatabaseFiles.check`); it costs 6 us.

A process that closes the database while these locks are missing believes that it is the last one, and deletes the log.
What was written to the deleted log later would be lost: the check finds it, because the path has no such file then.
"""

from __future__ import annotations

import os
import sqlite3
import struct
import sys
import time
from typing import Any, NamedTuple

from storage._concurrency.mutex import Mutex
from storage.errors import StoreClosedError, StoreUnavailableError

if sys.platform != "win32":  # where locks belong to handles, and nothing forks
    import fcntl

__all__ = ["DatabaseFiles", "Identity", "descriptors_of", "identity", "refuse_inherited"]

#: The bytes of the database that SQLite locks while it is open, of https://sqlite.org/fileformat2.html ("the lock-byte
#: page"), and the byte of the ``-shm`` file, of https://sqlite.org/walformat.html ("locks").
_SHARED = 0x40000002, 510
_SHM = 128, 1

#: Seconds after which a read checks the files again; a write always does.
READS_CHECK_AFTER = 0.05

_REOPEN = "close all stores of this process that have it open, and open them again"


class Identity(NamedTuple):
    """Device and inode of a file, which all its names and links share."""

    device: int
    inode: int


def identity(path: str) -> Identity | None:
    """Return which file a path leads to, or None if there is none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return Identity(found.st_dev, found.st_ino)


class DatabaseFiles:
    """
    The files of one open database.

    Args:
        path: the file of the database, absolute.
        store: the name of the store in errors.
    """

    def __init__(self, path: str, store: str) -> None:
        self._path = path
        self._store = store
        self._names: tuple[str, ...] = ()
        self._known: tuple[tuple[int, int], ...] = ()
        self._locks: list[tuple[int, int, int]] = []  # descriptor, number of bytes, first byte
        self._why_lost = ""
        self._next_check = 0.0
        self._connections: list[sqlite3.Connection] = []
        self.identity: Identity | None = None

    def connected(self, db: sqlite3.Connection) -> None:
        """
        Note that *db* has just opened the database.

        Raises:
            StoreUnavailableError: another store of this process has it open, and has lost its files.
        """
        import ctypes  # now, because a forked child needs it

        del ctypes
        with _registering:
            self.identity = identity(self._path)
            others = [files for files in _open if files.identity == self.identity and files is not self]
            self._connections.append(db)
            _open.add(self)
        for other in others:  # SQLite shares what it knows about the file among all connections of a process
            other.check()

    def remember(self, db: sqlite3.Connection) -> None:
        """
        Note which files belong together, once *db* has all of them open.

        Raises:
            StoreUnavailableError: they are not there any more.
        """
        db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()  # the first read opens the log
        real = os.path.realpath(self._path)  # as SQLite names the files beside it
        names = self._path, real + "-wal", real + "-shm"
        try:
            known = [os.stat(name) for name in names]
        except OSError as cause:
            raise self._lost("was deleted while it was opened") from cause
        self._known = tuple((found.st_dev, found.st_ino) for found in known)
        self._names = names
        if sys.platform != "win32":
            owned = descriptors_of(self._known)
            for (length, count), file in ((_SHARED, self._known[0]), (_SHM, self._known[2])):
                if owned.get(file):
                    self._locks.append((owned[file][-1], count, length))

    def closing(self, db: sqlite3.Connection) -> None:
        """Prepare the closing of *db*: if the files are others now, it must neither write to them nor delete them."""
        if not self._why_lost:
            return
        if sys.version_info >= (3, 12):
            db.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)
        elif sys.platform == "linux" and self._locks:
            # SQLite closes the log with an exclusive lock. A lock of the descriptor, not of the process, is in its way.
            descriptor, count, first = self._locks[0]
            lock = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, first, count, 0)
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, lock)

    def closed(self, db: sqlite3.Connection) -> None:
        """Note that *db* has been closed."""
        with _registering:
            self._connections = [each for each in self._connections if each is not db]
            if not self._connections:
                _open.discard(self)

    @property
    def is_open(self) -> bool:
        """Whether a connection has the database open: then its files were looked at."""
        return bool(self._connections)

    def check(self) -> None:
        """
        Take SQLite's lasting locks again, and compare the files at the path with those that are open.

        Another process deletes the log only while it holds the database exclusively. So after a check that follows a
        commit it is known that what was committed is in the log that others read.

        Raises:
            StoreUnavailableError: another process uses the database exclusively, or the files are others.
        """
        if self._why_lost:
            raise self._error()
        for descriptor, count, first in self._locks:
            try:
                _lock(descriptor, count, first)
            except OSError as cause:
                raise StoreUnavailableError(
                    "the locks of the database were lost (some code in this process has opened and closed one of its "
                    "files), and another process uses it exclusively: use backup() to copy it",
                    store=self._store,
                ) from cause
        stat = os.stat
        for name, known in zip(self._names, self._known, strict=True):
            try:
                found = stat(name)
            except OSError as cause:
                raise self._lost(f"was deleted or moved ({name})") from cause
            if found.st_ino != known[1] or found.st_dev != known[0]:
                raise self._lost(f"was replaced ({name})")

    def check_sometimes(self) -> None:
        """Check, if the last such check was more than `READS_CHECK_AFTER` seconds ago."""
        if self._why_lost or time.monotonic() >= self._next_check:
            self.check()
            self._next_check = time.monotonic() + READS_CHECK_AFTER

    def _lost(self, what: str) -> StoreUnavailableError:
        self._why_lost = what
        return self._error()

    def _error(self) -> StoreUnavailableError:
        return StoreUnavailableError(
            f"a file of the database {self._why_lost} while it was open: {_REOPEN}", store=self._store
        )


def refuse_inherited(path: str, store: str) -> None:
    """
    Raise if this process must not open a database, because one that it was forked from had it open at the fork.

    Raises:
        StoreClosedError: it was open.
    """
    if _inherited and identity(path) in _inherited:
        raise StoreClosedError(
            "the database was open in the parent when this process was forked, and would lose data here: SQLite's "
            "locks do not survive a fork. Fork before the parent opens it, or start the process with 'spawn'",
            store=store,
        )


def descriptors_of(files: tuple[tuple[int, int], ...]) -> dict[tuple[int, int], list[int]]:
    """Return the descriptors that this process has of these files, each given as (device, inode)."""
    found: dict[tuple[int, int], list[int]] = {}
    for descriptor in _descriptors():
        try:
            status = os.fstat(descriptor)
        except OSError:
            continue
        file = status.st_dev, status.st_ino
        if file in files:
            found.setdefault(file, []).append(descriptor)
    return found


def _descriptors() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/dev/fd")]
    except (OSError, ValueError):
        return []


def _lock(descriptor: int, count: int, first: int) -> None:
    """Take a shared POSIX lock of some bytes, without waiting; nothing happens where this process has it."""
    if sys.platform != "win32":
        fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB, count, first)


_registering = Mutex()
_open: set[DatabaseFiles] = set()
_inherited: set[Identity | None] = set()


def _after_fork_in_child() -> None:
    """Remember what the parent has open, and never close it: closing may delete the log of others."""
    for files in _open:
        _inherited.add(files.identity)
        for db in files._connections:
            _keep_for_ever(db)
    _open.clear()


def _keep_for_ever(thing: Any) -> None:
    """Let *thing* not be collected, not even when the interpreter ends."""
    import ctypes

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
