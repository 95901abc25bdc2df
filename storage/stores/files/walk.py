"""`Walk` and `SortedWalk`: the keys of the files in a tree, in the order of the keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import AnyStr, Generic

from storage._core.left_out import LeftOut
from storage.stores.files.locks import DirectoryLockedError
from storage.stores.files.ordered_names import Ordered
from storage.stores.files.os_names import joined
from storage.stores.files.root import Root

__all__ = ["SortedWalk", "Walk"]


class Walk(Generic[AnyStr]):
    """
    An iterator over the keys below *path* in order; *decode* makes the keys of the names of files and directories.

    A directory is read whole when it is reached, sorted, and closed; a huge one is read several times, for as many of
    its names as fit into memory (`Ordered`). Between two keys only the remaining names of it and of the directories
    above it are held. A directory sorts by its text with the slash at the end, which puts ``a/b`` between ``a.b`` and
    ``a0``. After a `DirectoryLockedError` it goes on with the directory that it could not read.

    Args:
        root: the store's directory.
        decode: takes a name and whether it is a directory's; returns the part of the key that it stands for, or None
            when the name is not the store's.
        encode: takes such a part; returns the name, and whether it is a directory's.
        path: the directory to begin with, relative to the root.
        text: the part of the key that *path* stands for.
        prefix: only keys that start with it.
        start_after: only keys that sort after it.
        delimiter: to list the children of the prefix: a directory whose text has the delimiter after the prefix is
            returned itself, if there is a key below it, instead of the keys below it.
    """

    def __init__(
        self,
        root: Root,
        decode: Callable[[str, bool], AnyStr | None],
        encode: Callable[[AnyStr], tuple[str, bool]],
        path: str,
        text: AnyStr,
        prefix: AnyStr,
        start_after: AnyStr,
        delimiter: AnyStr | None = None,
    ) -> None:
        self._root = root
        self._decode: Callable[[str, bool], AnyStr | None] = decode
        self._encode: Callable[[AnyStr], tuple[str, bool]] = encode
        self._prefix: AnyStr = prefix
        self._start_after: AnyStr = start_after
        self._delimiter: AnyStr | None = delimiter
        self._pending: list[tuple[AnyStr, str, Ordered[AnyStr], Iterator[AnyStr]]] = []
        self._push(text, path)
        self._unseen = path  # a path of the caller's, not yet compared with the names of the directories

    def __iter__(self) -> Iterator[AnyStr]:
        return self

    def __next__(self) -> AnyStr:
        if self._unseen:
            if not self._root.has_exact(self._unseen):
                self._pending.clear()
            self._unseen = ""
        while self._pending:
            text, path, names, parts = self._pending[-1]
            try:
                part = next(parts, None)
            except DirectoryLockedError:
                self._pending[-1] = text, path, names, iter(names)
                raise
            if part is None:
                self._pending.pop()
                continue
            whole: AnyStr = text + part
            name, is_directory = self._encode(part)
            if not is_directory:
                return whole
            below = joined(path, name)
            if self._delimiter is None or self._delimiter not in whole[len(self._prefix) :]:
                self._push(whole, below)
                continue
            try:
                has_keys = self._has_keys(whole, below)
            except DirectoryLockedError:
                self._pending[-1] = text, path, names, chain((part,), parts)
                raise
            if has_keys:
                return whole
        raise StopIteration

    def _has_keys(self, text: AnyStr, path: str) -> bool:
        """Return whether there is a key that is wanted below a directory, whose names are exact."""
        below = Walk(self._root, self._decode, self._encode, path, text, text, self._start_after)
        below._unseen = ""
        return any(True for _ in below)

    def _push(self, text: AnyStr, path: str) -> None:
        """Go on with the directory *path*."""
        names = Ordered(partial(self._wanted, text, path))
        self._pending.append((text, path, names, iter(names)))

    def _wanted(self, text: AnyStr, path: str) -> Iterator[AnyStr]:
        all_match = not self._start_after and _begins(text, self._prefix)
        for name, is_directory in self._root.each_entry(path):
            part = self._decode(name, is_directory)
            if part is None:
                continue
            if all_match:
                yield part
                continue
            whole: AnyStr = text + part
            if is_directory:
                matches = _begins(whole, self._prefix) or _begins(self._prefix, whole)
                matches = matches and (whole > self._start_after or _begins(self._start_after, whole))
            else:
                matches = _begins(whole, self._prefix) and whole > self._start_after
            if matches:
                yield part


def _begins(text: AnyStr, start: AnyStr) -> bool:
    return text[: len(start)] == start


class SortedWalk:
    """
    An iterator over the keys in order where the directories have none: all are read, and kept, before the first key.

    After an error it goes on with the directory that it could not read.

    Args:
        read: takes the path of a directory, ``""`` for the root; returns the keys in it, and the paths of the
            directories in it.
        prefix: only keys that start with it.
        start_after: only keys that sort after it.
        left_out: what *read* finds damaged; it is raised after the last key.
    """

    def __init__(
        self, read: Callable[[str], tuple[list[str], list[str]]], prefix: str, start_after: str, left_out: LeftOut
    ) -> None:
        self._read = read
        self._left_out = left_out
        self._prefix = prefix
        self._start_after = start_after
        self._pending = [""]
        self._found: list[str] = []
        self._sorted: Iterator[str] | None = None

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        while self._pending:
            keys, below = self._read(self._pending[-1])
            self._pending[-1:] = below
            self._found += [key for key in keys if key.startswith(self._prefix) and key > self._start_after]
        if self._sorted is None:
            self._found.sort()
            self._sorted = iter(self._found)
        for key in self._sorted:
            return key
        self._left_out.raise_if_any()
        raise StopIteration
