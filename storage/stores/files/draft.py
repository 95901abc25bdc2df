"""
`Draft`: a temporary file that is written next to its target, then renamed to it in one step under a lock.

A **draft** is a file with a reserved name in the directory of its target. Its writer holds a lock on it, so that the
drafts of killed writers can be told from those of running ones (`leftovers.reclaim`).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from storage._core.conditions import UNCONDITIONAL, WriteConditions
from storage.errors import KeyConflictError
from storage.stores.files.attributes import write_attributes
from storage.stores.files.draft_names import new_draft_name
from storage.stores.files.etags import current_etag, etag_of_file, new_mtime
from storage.stores.files.locks import lock, locked
from storage.stores.files.os_names import encoded
from storage.stores.files.refused_names import raise_if_refused
from storage.stores.files.root import Root

__all__ = ["ATTEMPTS", "Draft", "move", "target_directory"]

#: How often a directory that is deleted during a write is made again before the write fails.
ATTEMPTS = 100


def target_directory(root: Root, path: str, *, sync: bool, store: object) -> int:
    """
    Open the directory of a key's file, create it where it is missing, and return the descriptor.

    Raises:
        KeyConflictError: a directory in the path is an object's file or another program's symlink.
    """
    try:
        return root.make_directory(path, sync=sync)
    except OSError as cause:
        if cause.errno in (errno.ENOTDIR, errno.ELOOP):
            raise KeyConflictError("a directory in the key's path is a file or a symlink", store=store) from cause
        raise_if_refused(cause, store)
        raise


def move(source: int, old: str, target: int, new: str, *, store: object) -> None:
    """
    Rename a file from one open directory to another; an empty directory of the new name, which a crash can leave, is
    removed.

    Raises:
        KeyConflictError: the new name is a directory that is not empty.
    """

    def rename() -> None:
        os.rename(encoded(old), encoded(new), src_dir_fd=source, dst_dir_fd=target)

    try:
        rename()
    except IsADirectoryError:
        try:
            os.rmdir(encoded(new), dir_fd=target)
            rename()
        except OSError as cause:
            raise KeyConflictError("the path is a directory that is not empty", store=store) from cause
    except OSError as cause:
        raise_if_refused(cause, store, directory=target, moved=(source, old))
        raise


class Draft:
    """
    A file that is being written and is not visible yet.

    Args:
        root: the store's directory.
        path: the target, relative to it.
        sync: whether `publish` waits until the file and its name are on the disk.
        store: for error messages.
    """

    def __init__(self, root: Root, path: str, *, sync: bool, store: object) -> None:
        self._root = root
        self._path = path
        self._parent, _, self._name = path.rpartition("/")
        self._sync = sync
        self._store = store
        self._directory = -1
        self._file = -1
        self._draft = ""

    def begin(self) -> None:
        """Create the empty file, and its directories where they are missing."""
        for attempt in range(ATTEMPTS):
            try:
                self._directory = target_directory(self._root, self._parent, sync=self._sync, store=self._store)
                self._draft = new_draft_name()
                self._file = os.open(
                    self._draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666, dir_fd=self._directory
                )
                lock(self._file)
                if os.fstat(self._file).st_nlink:
                    return
                self.close()  # reclaimed after it was created and before it was locked
            except FileNotFoundError:  # a delete left the directory empty and removed it
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
        """Append *size* bytes of the open file *source*; the kernel copies them where it can."""
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
        Rename the file to its target and return its etag.

        *before_publish* is called with the directory and the file's name just before, under the directory's lock.
        """
        if attributes:
            write_attributes(self._file, attributes, key, self._store)
        now = new_mtime()
        os.utime(self._file, ns=(now, now))
        if self._sync:
            os.fsync(self._file)
        status = os.fstat(self._file)
        etag = etag_of_file(status)
        keeping = self._root.exact.kept(
            self._root, self._path, self._directory, status.st_dev, undo=self._unpublish, store=self._store
        )
        with locked(self._directory, self._store, needed=bool(conditions)), keeping:
            if conditions:
                conditions.enforce(key, current_etag(self._directory, self._name), self._store)
            if before_publish is not None:
                before_publish(self._directory, self._name)
            move(self._directory, self._draft, self._directory, self._name, store=self._store)
        self._draft = ""
        if self._sync:
            os.fsync(self._directory)
        return etag

    def _unpublish(self) -> None:
        """Make the file a draft again."""
        os.rename(encoded(self._name), self._draft, src_dir_fd=self._directory, dst_dir_fd=self._directory)

    def close(self) -> None:
        """Remove the file, and the directories made for it, unless it is published. May be called again."""
        if self._draft:
            try:
                os.unlink(self._draft, dir_fd=self._directory)
            except OSError:
                pass  # gone with its directory, or reclaimed later
            self._draft = ""
            self._root.prune(self._parent)
        for descriptor in (self._file, self._directory):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._directory = -1
