"""
`Draft`: a temporary file that is written next to its target, then renamed to it in one step under a lock.

A **draft** is a file with a reserved name in the directory of its target. Its writer holds a lock on it, so that the
drafts of killed writers can be told from those of running ones (`leftovers.reclaim`).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from storage._core.conditions import UNCONDITIONAL, WriteConditions
from storage._core.descriptors import Descriptor
from storage.errors import KeyConflictError, StorageError, StoreUnavailableError
from storage.stores.files.attributes import write_attributes
from storage.stores.files.draft_names import new_draft_name
from storage.stores.files.entries import check_replaceable, file_status, move, status_of
from storage.stores.files.etags import Etags
from storage.stores.files.locks import lock, locked
from storage.stores.files.os_names import encoded
from storage.stores.files.permissions import keep_permissions, mode_of_source, without_group
from storage.stores.files.reader import read_exactly
from storage.stores.files.refused_names import raise_if_refused
from storage.stores.files.root import Root

__all__ = ["ATTEMPTS", "Draft", "target_directory"]

#: How often a directory that is deleted during a write is made again before the write fails.
ATTEMPTS = 100

#: Bytes that are read and written at once where the kernel does not copy.
_PIECE = 1 << 20


def target_directory(root: Root, path: str, *, sync: bool, store: object) -> Descriptor:
    """
    Open the directory of a key's file, and create it where it is missing.

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


class Draft:
    """
    A file that is being written and is not visible yet.

    Args:
        root: the store's directory.
        path: the target, relative to it.
        etags: the etags of the store's files.
        sync: whether `publish` waits until the file and its name are on the disk.
        store: for error messages.
    """

    def __init__(self, root: Root, path: str, etags: Etags, *, sync: bool, store: object) -> None:
        self._root = root
        self._path = path
        self._parent, _, self._name = path.rpartition("/")
        self._etags = etags
        self._sync = sync
        self._store = store
        self._opened_directory = self._opened_file = Descriptor.none()
        self._draft = ""
        self._replaced: os.stat_result | None = None
        self._most: int | None = None

    @property
    def _directory(self) -> int:
        return self._opened_directory.fileno()

    @property
    def _file(self) -> int:
        return self._opened_file.fileno()

    def begin(self, source: int | None = None, copied: os.stat_result | None = None) -> None:
        """
        Create the empty file, and its directories where they are missing.

        It has the permissions of the file that it will replace, as far as they can be kept, else those of any new file.
        If it is to be a copy of the open file *source*, which has the status *copied*, nobody may read it who may not
        read the source.
        """
        if source is not None and copied is not None:
            self._most = mode_of_source(source, copied)
        for attempt in range(ATTEMPTS):
            try:
                self._opened_directory = target_directory(self._root, self._parent, sync=self._sync, store=self._store)
                replaced = self._replaced = file_status(self._directory, self._name, expected=False)
                new = 0o666 if self._most is None else self._most
                self._draft = new_draft_name()
                self._opened_file = Descriptor.open(
                    self._draft,
                    os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW,
                    new if replaced is None else 0o600,
                    dir_fd=self._directory,
                )
                locks = lock(self._file)
                status = os.fstat(self._file)
                if self._most is not None and copied is not None and status.st_gid != copied.st_gid:
                    self._most = without_group(self._most)
                if (status.st_nlink or not locks or self._is_there(status)) and (replaced or self._most in (None, new)):
                    if replaced is not None:
                        keep_permissions(self._file, status, replaced, self._directory, self._name, self._most)
                    return
                self.close()  # reclaimed after it was created and before it was locked; or readable by another group
            except BlockingIOError:  # somebody was faster to lock it
                self.close()
            except FileNotFoundError:  # a delete left the directory empty and removed it
                self.close()
                if attempt == ATTEMPTS - 1:
                    raise
            except BaseException:
                self.close()
                raise
        raise StoreUnavailableError("the file for the object is removed as often as it is created", store=self._store)

    def _is_there(self, status: os.stat_result) -> bool:
        """Return whether the open file has its name, which some file systems deny by a link count of 0."""
        there = file_status(self._directory, self._draft)
        return there is not None and (there.st_dev, there.st_ino) == (status.st_dev, status.st_ino)

    def write(self, data: bytes | memoryview) -> None:
        """Append *data*."""
        written = os.write(self._file, data)
        while written < len(data):
            data = memoryview(data)[written:]
            written = os.write(self._file, data)

    def copy_from(self, source: int, status: os.stat_result, key: str) -> None:
        """
        Append the open file *source* of *key*, which has this status; the kernel copies it where it can.

        Raises:
            StoreUnavailableError: another program has made the source shorter meanwhile.
            CorruptObjectError: the source has fewer bytes than its status says.
        """
        size = status.st_size
        offset = _copied_by_kernel(source, self._file, size)
        while offset < size:  # the kernel cannot copy between these files, or says too early that there is no more
            try:
                piece = read_exactly(source, min(_PIECE, size - offset), offset, status)
            except StorageError as error:
                error.with_key(key)
                raise
            self.write(piece)
            offset += len(piece)
        while not size and (piece := os.pread(source, _PIECE, offset)):  # some files do not tell their size
            self.write(piece)
            offset += len(piece)

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
        etag, status = self._etags.stamp(self._file)
        if attributes:  # after the mark of the version, for which there must be room
            write_attributes(self._file, attributes, key, self._store)
        if self._sync:
            os.fsync(self._file)
        is_local = self._etags.is_local(self._file, status)
        if not is_local:
            next(
                map(os.close, map(os.dup, (self._file,)))
            )  # network file systems write what is left, which may fail, and take long
        keeping = self._root.exact.kept(
            self._root, self._path, self._directory, status.st_dev, undo=self._unpublish, store=self._store
        )
        with locked(self._directory, self._store, needed=bool(conditions)), keeping:
            replaced = self._to_replace(key, conditions)
            if before_publish is not None:
                before_publish(self._directory, self._name)
            # Under the directory's lock: nobody takes the file, whose own lock ends here, for a killed writer's.
            self._opened_file.close()
            if not is_local:
                etag = self._etag_after_close(status, etag)
            self._move(replaced, key, conditions)
        self._draft = ""
        if self._sync:
            os.fsync(self._directory)
        return etag

    def _to_replace(self, key: str, conditions: WriteConditions) -> os.stat_result | None:
        """Return the status of what has the target's name now, if it may be replaced, and give the file its mode."""
        replaced = status_of(self._directory, self._name, expected=self._replaced is not None)
        check_replaceable(replaced, self._store)
        is_file = replaced is not None and stat.S_ISREG(replaced.st_mode)
        if conditions:
            current = self._etags.of_entry(self._directory, self._name, replaced) if replaced and is_file else None
            conditions.enforce(key, current, self._store)
        if replaced and is_file and self._opened_file and _is_another(replaced, self._replaced):
            status = os.fstat(self._file)
            keep_permissions(self._file, status, replaced, self._directory, self._name, self._most)
        return replaced

    def _move(self, replaced: os.stat_result | None, key: str, conditions: WriteConditions) -> None:
        here = self._directory
        for _ in range(ATTEMPTS):
            try:
                move(here, self._draft, here, self._name, replaced, path=self._path, store=self._store)
            except FileExistsError:  # another program has made something there in this moment
                replaced = self._to_replace(key, conditions)
            else:
                return
        raise StoreUnavailableError("another program makes and removes the file all the time", store=self._store)

    def _unpublish(self) -> None:
        """Make the file a draft again."""
        os.rename(encoded(self._name), self._draft, src_dir_fd=self._directory, dst_dir_fd=self._directory)

    def _etag_after_close(self, status: os.stat_result, etag: str) -> str:
        """Return the etag that the file has now: on some file systems its time is that of the end of the writing."""
        now = file_status(self._directory, self._draft)
        if now is None or now.st_mtime_ns == status.st_mtime_ns:
            return etag
        self._etags.changed(status)
        return self._etags.of_entry(self._directory, self._draft, now) or etag

    def close(self) -> None:
        """Remove the file, and the directories made for it, unless it is published. May be called again."""
        if self._draft:
            try:
                os.unlink(self._draft, dir_fd=self._directory)
            except OSError:
                pass  # gone with its directory, or reclaimed later
            self._draft = ""
            self._root.prune(self._parent)
        self._opened_file.close()
        self._opened_directory.close()


def _is_another(replaced: os.stat_result, before: os.stat_result | None) -> bool:
    """Return whether a file is not the one of before, or has another mode, owner or ACL since."""
    return before is None or (replaced.st_ino, replaced.st_ctime_ns) != (before.st_ino, before.st_ctime_ns)


def _copied_by_kernel(source: int, target: int, size: int) -> int:
    """Let the kernel copy the first *size* bytes of an open file; return how many it did."""
    offset = 0
    while offset < size:
        try:
            copied = os.copy_file_range(source, target, size - offset, offset)
        except (AttributeError, OSError):
            break
        if not copied:
            break
        offset += copied
    return offset
