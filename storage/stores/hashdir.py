"""`HashdirStore`: files for any keys, spread evenly over directories by the hash of the key."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial

from storage._core.keys import check_key
from storage._core.left_out import LeftOut
from storage.base import ObjectStore
from storage.errors import CorruptObjectError, InvalidKeyError
from storage.stores.files.draft_names import is_draft
from storage.stores.files.durability import Durability
from storage.stores.files.entries import file_status
from storage.stores.files.errors import is_of_file
from storage.stores.files.file_store import FileStore
from storage.stores.files.hash_layout import KEY_SUFFIX, HashLayout
from storage.stores.files.key_files import MAX_KEY, ensure_key_file, read_key_file, remove_key_file
from storage.stores.files.locks import locked
from storage.stores.files.os_names import encoded, joined
from storage.stores.files.root import names_in
from storage.stores.files.walk import SortedWalk
from storage.types import Capabilities

__all__ = ["HashdirStore"]

#: Seconds after which a key's file without an object is left by a killed writer. A restore may write the object later.
ORPHAN_AGE = 3600.0


class HashdirStore(FileStore):
    """
    An object is the file ``aa/bb/cc/rest``, named by the SHA-256 of its key in hex, with exactly the object's bytes.

    Any key is valid, and no directory grows large. The text of the key is in ``rest.key`` next to the file. The name
    determines it, so it is written once, before the object first appears and under the same lock, and stays right for
    every later version. Unlike an extended attribute it can have any length, and tools that copy only bytes copy it
    too. Hashes have no order: `keys` reads all of these files and sorts; an object without a valid one is left out, and
    the listing says so at its end (`IncompleteListingError`). Whatever else is below the root is left alone: files and
    directories whose names no key has, and keys' files whose content has another hash.

    Args:
        root: the directory; the first put creates it when it is missing.
        width: hex digits in the name of a directory.
        depth: levels of directories.
        durability: as for every `FileStore`.
    """

    _steppable = True
    _has_unique_names = True

    def __init__(
        self, root: str | os.PathLike[str], width: int = 2, depth: int = 3, *, durability: Durability = "atomic"
    ) -> None:
        self._layout = HashLayout(width, depth)
        super().__init__(root, durability=durability)
        self.width = width
        self.depth = depth

    def _path(self, key: str) -> str:
        text = check_key(key, self).encode()
        if len(text) > MAX_KEY:
            raise InvalidKeyError(
                f"the key has {len(text):,} bytes, and this store takes {MAX_KEY:,}: choose a shorter one",
                key=key,
                store=self,
            )
        return self._layout.path(text)

    def _before_publish(self, key: str) -> Callable[[int, str, bool], None]:
        def before_publish(directory: int, name: str, replaces: bool) -> None:
            ensure_key_file(directory, name, key.encode(), expected=replaces, sync=self._sync, store=self)

        return before_publish

    def _after_delete(self, directory: int, name: str) -> None:
        remove_key_file(directory, name)

    def _walk(self, prefix: str, start_after: str, delimiter: str | None = None) -> Iterator[str]:
        left_out = LeftOut(self)
        return SortedWalk(partial(self._keys_in, left_out), prefix, start_after, left_out)

    def _keys_in(self, left_out: LeftOut, path: str) -> tuple[list[str], list[str]]:
        """Return the keys in the directory *path*, and the paths of the directories in it."""
        found: list[str | None] = []
        with self._root.existing_directory(path) as directory:
            entries = [] if directory is None else names_in(directory)
            names = [name for name, is_directory in entries if not is_directory]
            if directory is not None and (objects := self._layout.objects(path, names)):
                with_keys = set(self._layout.key_files(path, names))
                there = [name if name + KEY_SUFFIX in with_keys else None for name in objects]
                found = [name and self._read_key(directory, name + KEY_SUFFIX, path) for name in there]
                unknown = [name for name, key in zip(objects, found, strict=True) if key is None]
                found += self._keys_again(directory, unknown, path, left_out) if unknown else []
        below = [name for name, is_directory in entries if is_directory and self._is_own_directory(path, name)]
        return [key for key in found if key is not None], [joined(path, name) for name in below]

    def _keys_again(self, directory: int, objects: list[str], path: str, left_out: LeftOut) -> list[str | None]:
        """
        Return the keys of *objects*, of which the listing has found none: they may have been put or deleted meanwhile.

        No writer is between an object's file and its key's while the directory is locked, so what is still missing then
        is damage. Where there are no locks, the object is looked for before and after: its key's file is there longer.
        """
        keys, damaged = [], []
        with locked(directory, self, shared=True):
            for name in objects:
                if file_status(directory, encoded(name)) is None:
                    continue
                keys.append(self._read_key(directory, name + KEY_SUFFIX, path))
                if keys[-1] is None and file_status(directory, encoded(name)) is not None:
                    damaged.append(name)
        for name in damaged:
            where = joined(path, name)
            left_out.add_unnamed(
                CorruptObjectError(
                    f"{where!r} has no {KEY_SUFFIX} file beside it that is valid and can be read, so its key is not "
                    "known: put or delete the key, or move the file away",
                    store=self,
                )
            )
        return keys

    def _read_key(self, directory: int, name: str, path: str) -> str | None:
        """
        Return the key in a key's file in the directory *path*.

        None when it is gone, cannot be read, or has another key's name.
        """
        try:
            text = read_key_file(directory, name)
        except OSError as cause:
            if not is_of_file(cause):
                raise
            return None
        if not text or not self._is_named_by(text, path, name):
            return None
        try:
            return text.decode()
        except UnicodeDecodeError:
            return None

    def _is_named_by(self, text: bytes, path: str, name: str) -> bool:
        """Return whether the key's file *name* in the directory *path* has the name that the store gives to *text*."""
        return self._layout.path(text) + KEY_SUFFIX == joined(path, name)

    def _is_own_directory(self, parent: str, name: str) -> bool:
        return self._layout.is_directory(parent, name)

    def _possible_leftovers(self, path: str, names: list[str]) -> Iterable[str]:
        """Return drafts, and keys' files without an object, whose writers were killed in between."""
        objects = set(self._layout.objects(path, names))
        orphans = [name for name in self._layout.key_files(path, names) if name.removesuffix(KEY_SUFFIX) not in objects]
        return [*super()._possible_leftovers(path, names), *orphans]

    def _remove_leftover(self, directory: int, path: str, name: str) -> None:
        if is_draft(name):
            super()._remove_leftover(directory, path, name)
        elif file_status(directory, encoded(name.removesuffix(KEY_SUFFIX))) is None:
            text = read_key_file(directory, name)  # which proves that the file is the store's
            if text and self._is_named_by(text, path, name) and _is_old(directory, name):
                remove_key_file(directory, name.removesuffix(KEY_SUFFIX))

    def children(self, prefix: str = "", delimiter: str = "/") -> AsyncIterator[str]:
        return ObjectStore.children(self, prefix, delimiter)

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, bounded_listing=False)


def _is_old(directory: int, name: str) -> bool:
    """Return whether a file has been as it is for `ORPHAN_AGE`; its ctime is no time that a restore could set."""
    status = file_status(directory, encoded(name))
    return status is not None and time.time() - max(status.st_mtime, status.st_ctime) > ORPHAN_AGE
