"""
`backup`: a copy of a database that is in use.

SQLite copies one state of the database, page by page, into a draft beside the target; writers go on meanwhile. The
draft is synced, and only then gets its name. What stands there before is replaced only if it is a database of a store
that nobody uses. The next backup to the same target removes the draft of one that was killed.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import struct
import sys
import threading
from contextlib import closing, suppress

from storage._core.descriptors import Descriptor
from storage._core.directory_sync import sync_directory
from storage._core.file_sync import fsync_file
from storage.errors import StorageError, StoreUnavailableError
from storage.stores.sqlite.backup_drafts import create_draft, remove_leftovers, uri_of_draft
from storage.stores.sqlite.connection import Connection
from storage.stores.sqlite.database_files import descriptors_of
from storage.stores.sqlite.errors import from_os_error
from storage.stores.sqlite.header import is_database
from storage.stores.sqlite.schema import APPLICATION
from storage.stores.sqlite.side_files import SIDE_FILES
from storage.stores.sqlite.statements import one_state

if sys.platform != "win32":
    import fcntl

__all__ = ["Cancelled", "copy_database"]

#: Pages that are copied in one step, between two looks at a cancellation: 1 MiB, some milliseconds.
PAGES = 64


#: First byte and number of the bytes that SQLite locks, of https://sqlite.org/fileformat2.html ("the lock-byte page").
_LOCKED = 0x40000000, 512


class Cancelled(Exception):  # noqa: N818 - it becomes the cancellation of the call
    """The backup was given up."""


def copy_database(
    db: sqlite3.Connection, target: str, source: str, store: str, connection: Connection, stop: threading.Event
) -> None:
    """
    Copy the database of *db* to a file; on the thread of *connection*.

    Args:
        db: the connection, of its own: it keeps a read transaction open.
        target: the file to write, absolute.
        source: the file of the database, absolute, or ``":memory:"``.
        store: the name of the store in errors.
        connection: where *db* comes from.
        stop: when it is set, the copy is given up.

    Raises:
        StorageError: something else stands at *target*, or it cannot be written.
        Cancelled: *stop* was set.
    """
    try:
        older = _refuse_others(target, store)
        mode = 0o666 if source == ":memory:" else stat.S_IMODE(os.stat(source).st_mode) & 0o666
        remove_leftovers(target)
        draft, opened = create_draft(target, mode, store)
        try:
            _copy(db, draft, connection, stop)
            if older is not None:
                _keep_owner_and_mode(draft, older)
            _sync_file(draft)
            opened.close()  # once it is the target, SQLite may have it open here, and would lose its locks by this
            _publish(draft, target, store)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(draft)
            opened.close()
        if sys.platform != "win32":
            sync_directory(os.path.dirname(target))
    except OSError as cause:
        raise from_os_error(cause, store) from cause


def _copy(db: sqlite3.Connection, draft: str, connection: Connection, stop: threading.Event) -> None:
    def go_on(status: int, remaining: int, total: int) -> None:
        if stop.is_set():
            raise Cancelled
        connection.pause()

    with closing(sqlite3.connect(uri_of_draft(draft), uri=True, isolation_level=None)) as copy:
        copy.execute("PRAGMA journal_mode = OFF")  # nobody sees the draft before it is whole
        copy.execute("PRAGMA synchronous = OFF")
        copy.execute(f"PRAGMA page_size = {db.execute('PRAGMA page_size').fetchone()[0]}")
        copy.execute(f"PRAGMA application_id = {APPLICATION}")  # writes the header, which the copy itself writes last
        with one_state(db):
            db.execute("SELECT 1 FROM objects LIMIT 1").fetchone()  # from here on it reads this state
            db.backup(copy, pages=PAGES, progress=go_on)


def _refuse_others(target: str, store: str) -> os.stat_result | None:
    """
    Return what stands at the target, or None if it may be created.

    Raises:
        StorageError: it is no database of a store, or one that is in use.
    """
    advice = "name another file for the backup, or remove this one"
    for end in SIDE_FILES:
        if os.path.lexists(target + end):
            raise StorageError(
                f"{target} is in use, or was not closed ({target + end} is there): {advice}", store=store
            )
    try:
        found = os.lstat(target)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        raise StorageError(f"{target} is no regular file: {advice}", store=store)
    if descriptors_of(((found.st_dev, found.st_ino),)):
        raise StorageError(f"{target} is open in this process: {advice}", store=store)
    if found.st_size:
        with open(target, "rb", buffering=0) as opened:
            if not is_database(opened.read(100), APPLICATION):
                raise StorageError(f"{target} is not the database of a store: {advice}", store=store)
            if _is_locked(opened.fileno()):
                raise StorageError(f"{target} is in use by another process: {advice}", store=store)
    return found


def _is_locked(descriptor: int) -> bool:
    """Return whether another process has a lock of SQLite on a file, which this process must not have open."""
    if sys.platform != "linux":
        return False
    asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, *_LOCKED, 0)
    answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, asked)
    return bool(struct.unpack("hhqqi4x", answer)[0] != fcntl.F_UNLCK)


def _publish(draft: str, target: str, store: str) -> None:
    """Give the draft its name: a new one only if nobody has taken it, an old one from a database that nobody uses."""
    if _refuse_others(target, store) is None:
        try:
            os.link(draft, target)
            return
        except FileExistsError as cause:
            raise StorageError(
                f"{target} was created while the backup was made: name another file", store=store
            ) from cause
        except OSError:
            pass  # a file system without hard links
        if os.path.lexists(target):
            raise StorageError(f"{target} was created while the backup was made: name another file", store=store)
    try:
        os.replace(draft, target)
    except FileNotFoundError as cause:  # in the moment in which it has neither a lock nor its name
        raise StoreUnavailableError(
            f"the draft of {target} was removed: make one backup to a file at a time", store=store
        ) from cause


def _keep_owner_and_mode(draft: str, older: os.stat_result) -> None:
    """Give the draft who may read it from the backup that it replaces."""
    if sys.platform != "win32":
        try:
            os.chown(draft, older.st_uid, older.st_gid)
        except PermissionError:  # the backup is another user's: that one's permissions would be ours
            os.chmod(draft, stat.S_IMODE(older.st_mode) & 0o700)
            return
    os.chmod(draft, stat.S_IMODE(older.st_mode) & 0o777)


def _sync_file(path: str) -> None:
    with Descriptor.open(path, os.O_RDWR) as descriptor:
        fsync_file(descriptor, "make the backup on another one, and copy it from there")
