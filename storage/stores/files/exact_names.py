"""
`ExactNames`: whether the name under which a file is found is the name that its directory gives it.

Some file systems take different names for the same: exFAT, NTFS and those of macOS ignore case, some compare names in
a normal form of Unicode, and single directories of ext4 do both. There ``REPORT`` opens the file ``Report``, and two
keys would be one. So what was found is compared with the directory's own listing, which takes time, but only there:
whether a file system is one of these is found out once, from the names that are there. Those that are not local file
systems of Linux may change names in other ways too: see `kept_names`.
"""

from __future__ import annotations

import os
import string
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from storage._core.descriptors import Descriptor
from storage.errors import InvalidKeyError
from storage.stores.files.entries import status_of
from storage.stores.files.file_systems import folds_names, is_local, may_fold_per_directory
from storage.stores.files.kept_names import KeptNames, other_forms
from storage.stores.files.locks import locked
from storage.stores.files.os_names import encoded, from_listing, joined

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Directories", "ExactNames"]

#: How long it holds, in seconds, that a directory does not ignore case, where each directory may or may not.
_RECENT = 10.0

#: Directories of which that is kept.
_DIRECTORIES = 10_000

#: Names of a directory that are tried to find out whether its file system ignores case.
_TRIED = 100

_SWAPPED = str.maketrans(
    string.ascii_lowercase + string.ascii_uppercase, string.ascii_uppercase + string.ascii_lowercase
)


class Directories(Protocol):
    """What opens the directories below a store's root: a `Root`."""

    def open_directory(self, path: str) -> Descriptor:
        """Open the directory *path*, relative to the root."""
        ...

    def open_below(self, directory: int, name: str) -> Descriptor:
        """Open the directory *name* in an open directory."""
        ...


class ExactNames:
    """
    What is known of the file systems below a store's root.

    Args:
        trusted: whether nothing has to be looked at, because no two of the store's names can be taken for the same.
    """

    __slots__ = ("_cased", "_directories", "_folding", "_formed", "_kept", "_trusted")

    def __init__(self, *, trusted: bool = False) -> None:
        self._trusted = trusted
        self._cased: set[int] = set()  # devices on which names that differ in case are different
        self._formed: set[int] = set()  # devices on which names that differ in their Unicode form are different
        self._folding: set[int] = set()  # devices on which they are not
        self._kept: dict[int, KeptNames] = {}  # what is kept on devices that may also change names
        self._directories: dict[str, float] = {}  # directories that do not fold names, and until when that holds

    def known(self, path: str, device: int) -> bool:
        """Return whether it is known that all names on this device are exact, and those of *path* need no look."""
        if device in self._cased:
            formed = device in self._formed
            if self._kept and (kept := self._kept.get(device)):
                return all(kept.covers(name, formed) for name in path.split("/"))
            return formed or path.isascii()
        return self._trusted or (bool(self._directories) and self._recent(path))

    def has(self, root: Directories, path: str, *, lock: bool = True) -> bool:
        """
        Return whether each name in *path*, a file or directory that was found below *root*, is exact.

        With *lock*, a shared lock of the last directory is held while its names are read.

        Raises:
            OSError: a directory on the way cannot be read, or *path* is gone (`FileNotFoundError`).
        """
        here = root.open_directory("")
        parent = ""
        for name in path.split("/"):
            last = len(parent) + len(name) + bool(parent) == len(path)
            with here as directory:
                with locked(directory, shared=True) if lock and last else nullcontext():
                    if not self._has_name(directory, name, parent):
                        return False
                if not last:
                    here = root.open_below(directory, name)
                    parent = joined(parent, name)
        return True

    @contextmanager
    def kept(
        self, root: Directories, path: str, directory: int, *, undo: Callable[[], None], store: object
    ) -> Iterator[None]:
        """
        Return a context in which the name *path* is given to a file where it is not `known` to be kept as it is.

        Its open *directory* is locked.

        Raises:
            InvalidKeyError: the file system takes it for the name of another file or directory, or gives the file
                another name; *undo* was called then.
        """
        parent, _, name = path.rpartition("/")
        there = status_of(directory, encoded(name), False) is not None
        exact = not there or self._has_name(directory, name, parent)
        if not exact or (parent and not self.has(root, parent, lock=False)):
            raise InvalidKeyError(
                "the file system takes the key's path for another one that is there already: it ignores case or the "
                "Unicode form of names, or cuts, trims or replaces some; choose a short key of plain characters",
                store=store,
            )
        yield
        if not there and not self._has_name(directory, name, parent):
            undo()
            raise InvalidKeyError(
                "the file system does not keep this name as it is: choose a shorter key, in lower case, of plain and "
                "composed characters, and without dots and spaces at the ends of names",
                store=store,
            )

    def _recent(self, path: str) -> bool:
        until = self._directories.get(path.rpartition("/")[0])
        return until is not None and until > time.monotonic()

    def _has_name(self, directory: int, name: str, path: str) -> bool:
        """Return whether *name*, which is found in the open directory *path*, is exact."""
        if self._trusted:
            return True
        device = os.fstat(directory).st_dev
        if device not in self._folding and not self.known(joined(path, name), device):
            if may_fold_per_directory(directory):
                folds = folds_names(directory)
                if folds is False:
                    if len(self._directories) >= _DIRECTORIES:
                        self._directories.clear()
                    self._directories[path] = time.monotonic() + _RECENT
                return folds is False or _listed(directory, name)
            self._learn(directory, name, device)
        if device in self._folding:
            return _listed(directory, name)
        cased = device in self._cased or (name.isascii() and name.translate(_SWAPPED) == name)
        kept = self._kept.get(device)
        if kept is None:
            formed = name.isascii() or device in self._formed or not other_forms(name)
            return (cased and formed) or _listed(directory, name)
        if cased and kept.covers(name, device in self._formed):
            return True
        found = _listed(directory, name)
        if found:
            kept.learn(name)
        return found

    def _learn(self, directory: int, name: str, device: int) -> None:
        """Find out whether names on the device of an open directory are exact; *name* is one in it."""
        if device not in self._kept and not is_local(directory):
            self._kept[device] = KeptNames()
        with os.scandir(directory) as entries:
            names = [name, *(from_listing(entry.name) for entry in islice(entries, _TRIED))]
        if device not in self._cased:
            for each in names:
                if (swapped := each.translate(_SWAPPED)) == each or (same := _same(directory, each, swapped)) is None:
                    continue
                (self._folding if same else self._cased).add(device)
                break
        if not name.isascii() and (forms := other_forms(name)):
            same_forms = [_same(directory, name, form) for form in forms]
            if any(same_forms):
                self._folding.add(device)
            elif None not in same_forms:
                self._formed.add(device)


def _same(directory: int, name: str, other: str) -> bool | None:
    """Return whether *other* is only another name for *name*, which is in the directory; None when that is unclear."""
    try:
        if status_of(directory, encoded(other)) is None:
            return None if status_of(directory, encoded(name)) is None else False
        both = _listed(directory, name) and _listed(directory, other)
        gone = None in (status_of(directory, encoded(name)), status_of(directory, encoded(other)))
        return None if gone else not both
    except (OSError, InvalidKeyError):
        return None


def _listed(directory: int, name: str) -> bool:
    # Opened anew: some FUSE file systems keep for each open directory what was in it when it was opened.
    with Descriptor.open(".", os.O_RDONLY, dir_fd=directory) as fresh, os.scandir(fresh) as entries:
        return any(from_listing(entry.name) == name for entry in entries)
