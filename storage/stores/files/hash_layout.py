"""`HashLayout`: which paths below a `HashdirStore`'s root are its own, and of which key."""

from __future__ import annotations

import hashlib
import re

__all__ = ["KEY_SUFFIX", "HashLayout"]

#: The extension of the file, next to an object's file, that contains its key.
KEY_SUFFIX = ".key"

#: Hex digits of a SHA-256.
_DIGITS = 64


class HashLayout:
    """
    The paths of the files of keys: the hex digits of the key's SHA-256, the first of them as names of directories.

    Args:
        width: digits in the name of a directory.
        depth: levels of directories.

    Raises:
        ValueError: there are too few digits for this, or the values are none.
    """

    def __init__(self, width: int, depth: int) -> None:
        if width < 1 or depth < 0 or width * depth >= _DIGITS:
            raise ValueError(
                f"width={width}, depth={depth}: width must be at least 1, depth at least 0, width * depth less than 64"
            )
        self.width = width
        self.depth = depth
        self._directory = re.compile(rf"[0-9a-f]{{{width}}}")
        self._file = re.compile(rf"[0-9a-f]{{{_DIGITS - width * depth}}}")

    def path(self, key: bytes) -> str:
        """Return the path of the file for *key*, which is its text in UTF-8."""
        digest = hashlib.sha256(key).hexdigest()
        cut = self.width * self.depth
        return "/".join([*(digest[i : i + self.width] for i in range(0, cut, self.width)), digest[cut:]])

    def is_directory(self, parent: str, name: str) -> bool:
        """Return whether the directory *name* in *parent* may be one of the layout; *parent* is one, or ``""``."""
        return _level(parent) < self.depth and self._directory.fullmatch(name) is not None

    def objects(self, path: str, names: list[str]) -> list[str]:
        """Return those of *names*, of files in the directory *path*, that are names of objects' files."""
        return [name for name in names if self._file.fullmatch(name)] if _level(path) == self.depth else []

    def key_files(self, path: str, names: list[str]) -> list[str]:
        """Return those of *names*, of files in the directory *path*, that are names of keys' files."""
        if _level(path) != self.depth:
            return []
        return [name for name in names if name.endswith(KEY_SUFFIX) and self._file.fullmatch(name[: -len(KEY_SUFFIX)])]


def _level(path: str) -> int:
    return path.count("/") + 1 if path else 0
