"""`Walk`: the keys of the files in a tree, in the order of the keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import AnyStr, Generic

from storage.stores.files.root import Root

__all__ = ["Walk"]


class Walk(Generic[AnyStr]):
    """
    An iterator over the keys below *path* in order; *decode* makes the keys of the names of files and directories.

    A directory is read whole when it is reached, sorted, and closed. Between two keys only the remaining names of it
    and of the directories above it are held. A directory sorts by its text with the slash at the end, which puts
    ``a/b`` between ``a.b`` and ``a0``.

    Args:
        root: the store's directory.
        decode: takes a name and whether it is a directory's; returns the part of the key that it stands for, or None
            when the name is not the store's.
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
        path: str,
        text: AnyStr,
        prefix: AnyStr,
        start_after: AnyStr,
        delimiter: AnyStr | None = None,
    ) -> None:
        self._root = root
        self._decode: Callable[[str, bool], AnyStr | None] = decode
        self._prefix: AnyStr = prefix
        self._start_after: AnyStr = start_after
        self._delimiter: AnyStr | None = delimiter
        self._pending: list[tuple[AnyStr, str, bool]] = [(text, path, True)]
        self._unseen = path  # a path of the caller's, not yet compared with the names of the directories

    def __iter__(self) -> Iterator[AnyStr]:
        return self

    def __next__(self) -> AnyStr:
        if self._unseen and not self._root.has_exact(self._unseen):
            self._pending.clear()
        self._unseen = ""
        while self._pending:
            text, path, is_directory = self._pending.pop()
            if not is_directory:
                return text
            if self._delimiter is None or self._delimiter not in text[len(self._prefix) :]:
                self._pending += sorted(self._wanted(text, path), reverse=True)
            elif any(True for _ in Walk(self._root, self._decode, path, text, text, self._start_after)):
                return text
        raise StopIteration

    def _wanted(self, text: AnyStr, path: str) -> Iterator[tuple[AnyStr, str, bool]]:
        for name, is_directory in self._root.entries(path):
            piece = self._decode(name, is_directory)
            if piece is None:
                continue
            whole: AnyStr = text + piece
            if is_directory:
                matches = _begins(whole, self._prefix) or _begins(self._prefix, whole)
                matches = matches and (whole > self._start_after or _begins(self._start_after, whole))
            else:
                matches = _begins(whole, self._prefix) and whole > self._start_after
            if matches:
                yield whole, f"{path}/{name}" if path else name, is_directory


def _begins(text: AnyStr, start: AnyStr) -> bool:
    return text[: len(start)] == start
