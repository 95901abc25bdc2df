"""`Nodes`: which file each of the kernel's node numbers stands for."""

from __future__ import annotations

import errno
import os

__all__ = ["Node", "Nodes"]


class Node:
    """
    A file or directory that the kernel knows.

    Attributes:
        number: the kernel's name for it.
        path: where it is; None once it is removed.
        handles: the descriptors with which it is open.
    """

    def __init__(self, number: int, path: str) -> None:
        self.number: int = number
        self.path: str | None = path
        self.handles: set[int] = set()

    @property
    def place(self) -> str | int:
        """Its path, or a descriptor of it when it has none any more."""
        if self.path is not None:
            return self.path
        for handle in self.handles:
            return handle
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))


class Nodes:
    """The nodes of a file system whose files are below *back*."""

    def __init__(self, back: str) -> None:
        self._by_number: dict[int, Node] = {}
        self._by_path: dict[str, Node] = {}
        self.at(back)

    def __getitem__(self, number: int) -> Node:
        return self._by_number[number]

    def find(self, path: str) -> Node | None:
        """Return the node of the file at *path* if the kernel knows it."""
        return self._by_path.get(path)

    def at(self, path: str) -> Node:
        """Return the node of the file at *path*; a new one if there is none. The first has the number 1, the root."""
        if path not in self._by_path:
            node = Node(len(self._by_number) + 1, path)
            self._by_number[node.number] = self._by_path[path] = node
        return self._by_path[path]

    def removed(self, path: str) -> None:
        """Note that the file at *path* is no longer there."""
        if (node := self._by_path.pop(path, None)) is not None:
            node.path = None

    def moved(self, old: str, new: str) -> None:
        """Note that the file or directory *old* is *new* now, with all below it."""
        for path in [path for path in self._by_path if path == old or path.startswith(f"{old}/")]:
            node = self._by_path.pop(path)
            node.path = new + path[len(old) :]
            self._by_path[node.path] = node
