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
from functools import partial

from storage._concurrency.forks import PROCESS, refuse_in_child
from storage._core.conditions import UNCONDITIONAL, WriteConditions
from storage._core.descriptors import Descriptor
from storage._core.directory_sync import fsync_directory
from storage._core.file_sync import fsync_file
from storage._core.writing import write_all
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
from storage.stores.files.root import READ, Root

__all__ = ["ATTEMPTS", "Draft", "target_directory"]

#: How often a directory that is deleted during a write is made again before the write fails.
ATTEMPTS = 100

#: Bytes that are read and written at once where the kernel does not copy.
_PIECE = 1 << 20

_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)

_NONE = Descriptor.none()


def target_directory(root: Root, path: str, *, sync: bool, store: object) -> Descriptor:
    """
    Open the directory of a key's file, and create it where it is missing.

    Raises:
        KeyConflictError: a directory in the path is an object's file or another program's symlink.
    """
    try:
        try:
            return root.open_directory(path)
        except FileNotFoundError:
            return root.make_directory(path, sync=sync)
    except OSError as cause:
        if cause.errno in (errno.ENOTDIR, errno.ELOOP):
            root.check(cause)
            raise KeyConflictError("a directory in the key's path is a file or a symlink", store=store) from cause
        if path:
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

    __slots__ = (
        "_draft",
        "_etags",
        "_most",
        "_name",
        "_opened_directory",
        "_opened_file",
        "_parent",
        "_path",
        "_process",
        "_raw_name",
        "_replaced",
        "_root",
        "_store",
        "_sync",
    )

    def __init__(self, root: Root, path: str, etags: Etags, *, sync: bool, store: object) -> None:
        self._root = root
        self._path = path
        self._parent, _, self._name = path.rpartition("/")
        self._raw_name = encoded(self._name)
        self._etags = etags
        self._sync = sync
        self._store = store
        self._opened_directory = self._opened_file = _NONE
        self._draft = b""
        self._process = PROCESS.number
        self._replaced: os.stat_result | None = None
        self._most: int | None = None

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
                if self._create(copied):
                    return
                self.close()
            except BlockingIOError:  # somebody was faster to lock it
                self.close()
            except FileExistsError:  # the name is taken: that file is not ours to remove
                self._draft = b""
                self.close()
            except FileNotFoundError:  # a delete left the directory empty and removed it
                self.close()
                if attempt == ATTEMPTS - 1:
                    raise
            except BaseException:
                self.close()
                raise
        raise StoreUnavailableError("the file for the object is removed as often as it is created", store=self._store)

    def _create(self, copied: os.stat_result | None) -> bool:
        """
        Create and lock the file; return False if that has to be done again.

        It was reclaimed after it was created and before it was locked; or it can be read by another group.
        """
        opened = self._opened_directory = target_directory(self._root, self._parent, sync=self._sync, store=self._store)
        directory, name = opened[0], self._raw_name
        replaced = status_of(directory, name, self._root.has_replaced)
        self._root.has_replaced = replaced is not None
        if replaced is not None and not stat.S_ISREG(replaced.st_mode):
            replaced = None
        self._replaced = replaced
        most = self._most
        new = 0o600 if replaced is not None else 0o666 if most is None else most
        self._process = PROCESS.number
        draft = self._draft = new_draft_name().encode()
        created = self._opened_file = Descriptor(
            map(partial(os.open, dir_fd=directory), (draft,), (_CREATE,), (new,))  # `open`, and one call less
        )
        file = created[0]
        locks = lock(file)
        status = os.fstat(file)
        if not status.st_nlink and locks and not self._is_there(directory, status):
            return False
        if most is not None and copied is not None and status.st_gid != copied.st_gid:
            self._most = most = without_group(most)
        if replaced is None:
            return most is None or most == new
        keep_permissions(file, status, replaced, directory, name, most)
        return True

    def _is_there(self, directory: int, status: os.stat_result) -> bool:
        """Return whether the open file has its name, which some file systems deny by a link count of 0."""
        there = file_status(directory, self._draft)
        return there is not None and (there.st_dev, there.st_ino) == (status.st_dev, status.st_ino)

    def write(self, data: bytes | memoryview) -> None:
        """
        Append *data*.

        Raises:
            StoreClosedError: the process was forked since `begin`: the file is the parent's.
        """
        refuse_in_child(self._process, self._store)
        file = self._opened_file[0]
        written = os.write(file, data)
        if written < len(data):
            write_all(file, memoryview(data)[written:])

    def copy_from(self, source: int, status: os.stat_result, key: str) -> None:
        """
        Append the open file *source* of *key*, which has this status; the kernel copies it where it can.

        Raises:
            StoreUnavailableError: another program has made the source shorter meanwhile.
            CorruptObjectError: the source has fewer bytes than its status says.
        """
        size = status.st_size
        offset = _copied_by_kernel(source, self._opened_file.fileno(), size)
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
        before_publish: Callable[[int, str, bool], None] | None = None,
    ) -> str:
        """
        Rename the file to its target and return its etag.

        *before_publish* is called just before, under the directory's lock, with the directory, the file's name, and
        whether it replaces a file.
        """
        refuse_in_child(self._process, self._store)
        directory, file, etags = self._opened_directory[0], self._opened_file[0], self._etags
        etag, status, is_local = etags.stamp(file)
        if attributes:  # after the mark of the version, for which there must be room
            write_attributes(file, attributes, key, self._store)
        if self._sync:
            fsync_file(file)
        if not is_local:  # network file systems write what is left, which may fail, and take long
            next(map(os.close, map(os.dup, (file,))))
        exact = self._root.exact
        with locked(directory, self._store, conditions != UNCONDITIONAL):
            written = None if is_local else status
            if exact.known(self._path, status.st_dev):
                etag = self._replace(directory, key, conditions, before_publish, etag, written)
            else:
                with exact.kept(self._root, self._path, directory, undo=self._unpublish, store=self._store):
                    etag = self._replace(directory, key, conditions, before_publish, etag, written)
        self._draft = b""
        if self._sync:
            fsync_directory(directory)
        return etag

    def _replace(
        self,
        directory: int,
        key: str,
        conditions: WriteConditions,
        before_publish: Callable[[int, str, bool], None] | None,
        etag: str,
        written: os.stat_result | None,
    ) -> str:
        """
        Close the file and give it the target's name, in the locked directory; return its etag.

        That is *etag*, unless closing the file changed it, which had the status *written*; None for a local one.
        """
        replaced = None
        if self._replaced is not None or before_publish is not None or conditions != UNCONDITIONAL:
            replaced = self._to_replace(directory, key, conditions)
        if before_publish is not None:
            before_publish(directory, self._name, replaced is not None)
        refuse_in_child(self._process, self._store)
        # Under the directory's lock: nobody takes the file, whose own lock ends here, for a killed writer's.
        self._opened_file.close()
        if written is not None:
            etag = self._etag_after_close(directory, written, etag)
        for _ in range(ATTEMPTS):
            try:
                move(directory, self._draft, directory, self._raw_name, replaced, self._path, self._store)
            except FileExistsError:  # made there since the look before the file was written, or the one above
                self._opened_file = Descriptor.open(self._draft, READ | getattr(os, "O_NOFOLLOW", 0), dir_fd=directory)
                replaced = self._to_replace(directory, key, conditions)
                self._opened_file.close()
            else:
                return etag
        raise StoreUnavailableError("another program makes and removes the file all the time", store=self._store)

    def _to_replace(self, directory: int, key: str, conditions: WriteConditions) -> os.stat_result | None:
        """Return the status of what has the target's name now, if it may be replaced, and give the file its mode."""
        before = self._replaced
        replaced = status_of(directory, self._raw_name, before is not None)
        is_file = replaced is not None and stat.S_ISREG(replaced.st_mode)
        if replaced is not None and not is_file:
            check_replaceable(replaced, self._store)
        if conditions != UNCONDITIONAL:
            current = self._etags.of_entry(directory, self._name, replaced) if replaced and is_file else None
            conditions.enforce(key, current, self._store)
        if replaced is not None and is_file and (before is None or _is_another(replaced, before)):
            file = self._opened_file.fileno()
            keep_permissions(file, os.fstat(file), replaced, directory, self._raw_name, self._most)
        return replaced

    def _unpublish(self) -> None:
        """Make the file a draft again."""
        directory = self._opened_directory.fileno()
        os.rename(self._raw_name, self._draft, src_dir_fd=directory, dst_dir_fd=directory)

    def _etag_after_close(self, directory: int, status: os.stat_result, etag: str) -> str:
        """Return the etag that the file has now: on some file systems its time is that of the end of the writing."""
        now = file_status(directory, self._draft)
        if now is None or now.st_mtime_ns == status.st_mtime_ns:
            return etag
        self._etags.changed(status)
        return self._etags.of_entry(directory, self._draft.decode(), now) or etag

    def close(self) -> None:
        """
        Remove the file, and the directories made for it, unless it is published. May be called again.

        A process that was forked since `begin` removes nothing: the file is the parent's, which goes on with it.
        """
        if self._draft and self._process == PROCESS.number:
            try:
                os.unlink(self._draft, dir_fd=self._opened_directory.fileno())
            except OSError:
                pass  # gone with its directory, or reclaimed later
            self._draft = b""
            self._root.prune(self._parent)
        if self._opened_file:
            self._opened_file.close()
        if self._opened_directory:
            self._opened_directory.close()


def _is_another(replaced: os.stat_result, before: os.stat_result) -> bool:
    """Return whether a file is not the one of before, or has another mode, owner or ACL since."""
    # ACLs change the time only; a change in the same tick of the kernel's clock does not, but for these
    return (replaced.st_ino, replaced.st_ctime_ns, replaced.st_mode, replaced.st_uid, replaced.st_gid) != (
        before.st_ino,
        before.st_ctime_ns,
        before.st_mode,
        before.st_uid,
        before.st_gid,
    )


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
