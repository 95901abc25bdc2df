"""`Walk`: the keys of the files in a tree, in the order of the keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import AnyStr, Generic

from storage.stores.files.ordered_names import ordered
from storage.stores.files.root import Root

__all__ = ["Walk"]


class Walk(Generic[AnyStr]):
    """
    An iterator over the keys below *path* in order; *decode* makes the keys of the names of files and directories.

    A directory is read whole when it is reached, sorted, and closed; a huge one is read several times, for as many of
    its names as fit into memory (`ordered`). Between two keys only the remaining names of it and of the directories
    above it are held. A directory sorts by its text with the slash at the end, which puts ``a/b`` between ``a.b`` and
    ``a0``.

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
        self._pending: list[tuple[AnyStr, str, Iterator[AnyStr]]] = [(text, path, self._parts(text, path))]
        self._unseen = path  # a path of the caller's, not yet compared with the names of the directories

    def __iter__(self) -> Iterator[AnyStr]:
        return self

    def __next__(self) -> AnyStr:
        if self._unseen and not self._root.has_exact(self._unseen):
            self._pending.clear()
        self._unseen = ""
        while self._pending:
            text, path, parts = self._pending[-1]
            for part in parts:
                whole: AnyStr = text + part
                name, is_directory = self._encode(part)
                if not is_directory:
                    return whole
                below = f"{path}/{name}" if path else name
                if self._delimiter is None or self._delimiter not in whole[len(self._prefix) :]:
                    self._pending.append((whole, below, self._parts(whole, below)))
                    break
                if self._has_keys(whole, below):
                    return whole
            else:
                self._pending.pop()
        raise StopIteration

    def _has_keys(self, text: AnyStr, path: str) -> bool:
        """Return whether there is a key that is wanted below a directory, whose names are exact."""
        below = Walk(self._root, self._decode, self._encode, path, text, text, self._start_after)
        below._unseen = ""
        return any(True for _ in below)

    def _parts(self, text: AnyStr, path: str) -> Iterator[AnyStr]:
        return ordered(lambda: self._wanted(text, path))

    def _wanted(self, text: AnyStr, path: str) -> Iterator[AnyStr]:
        for name, is_directory in self._root.each_entry(path):
            part = self._decode(name, is_directory)
            if part is None:
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
