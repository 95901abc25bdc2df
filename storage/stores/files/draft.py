"""
How a file of a store comes to be: written as a draft beside its place, then put there in one step under a lock.

A **draft** is a file of a reserved name in the directory of its target. It holds a lock on itself while it is
written, so that those of killed writers can be told from those of busy ones (`leftovers.reclaim`).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from storage._core.conditions import UNCONDITIONAL, WriteConditions
from storage.errors import KeyConflictError
from storage.stores.files.attributes import write_attributes
from storage.stores.files.etags import current_etag, etag_of_file, new_mtime
from storage.stores.files.locks import lock, locked
from storage.stores.files.root import Root

__all__ = ["ATTEMPTS", "DRAFT", "Draft", "move", "target_directory"]

#: How the names of drafts begin; no key has a segment that begins so.
DRAFT = ".~storage-"

#: How often a directory that is deleted under the writer is made again before the write fails.
ATTEMPTS = 100


def target_directory(root: Root, path: str, *, sync: bool, store: object) -> int:
    """
    Open the directory of a key's file, making what is missing of it, and return the descriptor.

    Raises:
        KeyConflictError: a part of the path is an object, or a link of another program.
    """
    try:
        return root.make_directory(path, sync=sync)
    except OSError as cause:
        if cause.errno in (errno.ENOTDIR, errno.ELOOP):
            raise KeyConflictError("a directory in the key's path is a file or a symlink", store=store) from cause
        raise


def move(source: int, old: str, target: int, new: str, *, store: object) -> None:
    """
    Rename a file from one open directory to its place in another; an empty directory there, which a crash can leave,
    makes way.

    Raises:
        KeyConflictError: it is not empty.
    """

    def rename() -> None:
        os.rename(old, new, src_dir_fd=source, dst_dir_fd=target)

    try:
        rename()
    except IsADirectoryError:
        try:
            os.rmdir(new, dir_fd=target)
            rename()
        except OSError as cause:
            raise KeyConflictError("the path is a directory that is not empty", store=store) from cause


class Draft:
    """
    A file that is being written and not yet seen by anyone.

    Args:
        root: the store's directory.
        path: the target, relative to it.
        sync: whether the file and its names are to be on the disk when `publish` returns.
        store: for error messages.
    """

    def __init__(self, root: Root, path: str, *, sync: bool, store: object) -> None:
        self._root = root
        self._parent, _, self._name = path.rpartition("/")
        self._sync = sync
        self._store = store
        self._directory = -1
        self._file = -1
        self._draft = ""

    def begin(self) -> None:
        """Make the empty file, and its directories where they are missing."""
        for attempt in range(ATTEMPTS):
            try:
                self._directory = target_directory(self._root, self._parent, sync=self._sync, store=self._store)
                self._draft = f"{DRAFT}{os.urandom(8).hex()}"
                self._file = os.open(
                    self._draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666, dir_fd=self._directory
                )
                lock(self._file)
                if os.fstat(self._file).st_nlink:
                    return
                self.close()  # reclaimed between its making and its lock
            except FileNotFoundError:  # the directory was left empty by a delete, and so removed
                self.close()
                if attempt == ATTEMPTS - 1:
                    raise
            except BaseException:
                self.close()
                raise

    def write(self, data: bytes | memoryview) -> None:
        """Append *data*."""
        written = os.write(self._file, data)
        while written < len(data):
            data = memoryview(data)[written:]
            written = os.write(self._file, data)

    def copy_from(self, source: int, size: int) -> None:
        """Append *size* bytes of the open file *source*, in the kernel where it can."""
        offset = 0
        while offset < size:
            try:
                copied = os.copy_file_range(source, self._file, size - offset, offset)
            except (AttributeError, OSError):
                piece = os.pread(source, 1 << 20, offset)
                self.write(piece)
                copied = len(piece)
            if not copied:
                break
            offset += copied

    def publish(
        self,
        key: str,
        attributes: dict[str, str],
        conditions: WriteConditions = UNCONDITIONAL,
        *,
        before_publish: Callable[[int, str], None] | None = None,
    ) -> str:
        """
        Put the file in its place and return its etag.

        *before_publish* is called with the directory and the file's name just before, under the directory's lock.
        """
        if attributes:
            write_attributes(self._file, attributes, key, self._store)
        now = new_mtime()
        os.utime(self._file, ns=(now, now))
        if self._sync:
            os.fsync(self._file)
        etag = etag_of_file(os.fstat(self._file))
        with locked(self._directory, self._store, needed=bool(conditions)):
            if conditions:
                conditions.enforce(key, current_etag(self._directory, self._name), self._store)
            if before_publish is not None:
                before_publish(self._directory, self._name)
            move(self._directory, self._draft, self._directory, self._name, store=self._store)
        self._draft = ""
        if self._sync:
            os.fsync(self._directory)
        return etag

    def close(self) -> None:
        """Give the file up unless it is published, and with it the directories made for it. May be repeated."""
        if self._draft:
            try:
                os.unlink(self._draft, dir_fd=self._directory)
            except OSError:
                pass  # gone with its directory, or left to be reclaimed
            self._draft = ""
            self._root.prune(self._parent)
        for descriptor in (self._file, self._directory):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._directory = -1
