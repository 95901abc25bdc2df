"""`Renaming`: an object's file gets another name, in one step under the locks of both directories."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext

from storage._core.directory_sync import fsync_directory
from storage.errors import KeyExistsError, KeyNotFoundError
from storage.stores.files.draft import ATTEMPTS, target_directory
from storage.stores.files.entries import check_replaceable, file_status, move, status_of
from storage.stores.files.etags import Etags
from storage.stores.files.locks import all_locked, locked
from storage.stores.files.os_names import encoded
from storage.stores.files.root import Root

__all__ = ["Renaming"]


class Renaming:
    """
    The renaming of a file.

    Args:
        root: the store's directory.
        old: the path of the file, relative to it.
        new: the path that it gets.
        etags: the etags of the store's files.
        sync: whether `publish` waits until both names are on the disk.
        store: for error messages.
    """

    def __init__(self, root: Root, old: str, new: str, etags: Etags, *, sync: bool, store: object) -> None:
        self._root = root
        self._old = old
        self._new = new
        self._etags = etags
        self._sync = sync
        self._store = store

    def publish(
        self,
        source: str,
        target: str,
        if_absent: bool,
        *,
        before_publish: Callable[[int, str, bool], None] | None,
        after_delete: Callable[[int, str], None],
    ) -> str:
        """
        Rename the file of the key *source* to that of *target*, and return its etag.

        *before_publish* is called just before the new name appears, with the directory, the name, and whether it
        replaces a file; and *after_delete* with the directory and the name of the old one when it is gone.

        Raises:
            KeyNotFoundError: the file is no longer there.
            KeyExistsError: *if_absent*, and the target exists.
            KeyConflictError: what has the target's path is no object.
        """
        attempts = ATTEMPTS
        while True:
            attempts -= 1
            try:
                return self._publish(source, target, if_absent, before_publish, after_delete)
            except KeyExistsError:  # which is a FileExistsError too
                raise
            except (FileNotFoundError, FileExistsError):
                # A delete removed the target's empty directory; or another program made something at the target.
                if not attempts:
                    raise

    def _publish(
        self,
        source: str,
        target: str,
        if_absent: bool,
        before_publish: Callable[[int, str, bool], None] | None,
        after_delete: Callable[[int, str], None],
    ) -> str:
        (parent, _, old), (target_parent, _, new) = self._old.rpartition("/"), self._new.rpartition("/")
        with ExitStack() as held:
            held.callback(self._root.prune, parent)
            here = there = self._opened(held, parent)
            if parent == target_parent:
                held.enter_context(locked(here, self._store, needed=if_absent))
            else:
                held.push(self._prune_target)
                there = self._opened(held, target_parent)
                held.enter_context(all_locked((here, there), self._store, needed=if_absent))
            raw_old, raw_new = encoded(old), encoded(new)
            moved, replaced = file_status(here, raw_old), status_of(there, raw_new, False)
            etag = None if moved is None else self._etags.of_entry(here, old, moved)
            if moved is None or etag is None:
                raise KeyNotFoundError(source, store=self._store)
            check_replaceable(replaced, self._store)
            if source == target and not if_absent:
                return etag

            def undo() -> None:
                os.rename(raw_new, raw_old, src_dir_fd=there, dst_dir_fd=here)

            exact = self._root.exact
            keeping: AbstractContextManager[None] = nullcontext()
            if not exact.known(self._new, os.fstat(there).st_dev):
                keeping = exact.kept(self._root, self._new, there, undo=undo, store=self._store)
            with keeping:
                if if_absent and replaced is not None and stat.S_ISREG(replaced.st_mode):
                    raise KeyExistsError(target, store=self._store)
                if before_publish is not None:
                    before_publish(there, new, replaced is not None)
                move(here, raw_old, there, raw_new, replaced, self._new, self._store)
            if replaced is not None and os.path.samestat(moved, replaced) and moved.st_nlink > 1:
                os.unlink(raw_old, dir_fd=here)  # rename(2) leaves both names of one file as they are
            after_delete(here, old)
            if self._sync:
                for directory in dict.fromkeys((there, here)):
                    fsync_directory(directory)
        return etag

    def _prune_target(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Remove the target's directory, if it is empty because nothing was renamed; a look at it takes 7 us."""
        if kind is not None:
            self._root.prune(self._new.rpartition("/")[0])

    def _opened(self, held: ExitStack, path: str) -> int:
        """Return a descriptor of a directory, made where it is missing, which is closed in the end."""
        return held.enter_context(target_directory(self._root, path, sync=self._sync, store=self._store))
