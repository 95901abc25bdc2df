"""`HashdirStore`: files for any keys, spread evenly over directories by the hash of the key."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Callable, Container, Iterator
from dataclasses import replace

from storage._core.keys import check_key
from storage.base import ObjectStore
from storage.stores.files.draft import DRAFT
from storage.stores.files.durability import Durability
from storage.stores.files.etags import current_etag
from storage.stores.files.file_store import FileStore
from storage.stores.files.root import READ, names_in
from storage.types import Capabilities

__all__ = ["HashdirStore"]

#: The extension of the file, next to an object's file, that contains its key.
KEY = ".key"


class HashdirStore(FileStore):
    """
    An object is the file ``aa/bb/cc/rest``, named by the SHA-256 of its key in hex, with exactly the object's bytes.

    Any key is valid, and no directory grows large. The text of the key is in ``rest.key`` next to the file. The name
    determines it, so it is written once, before the object first appears and under the same lock, and stays right for
    every later version. Unlike an extended attribute it can have any length, and tools that copy only bytes copy it
    too. Hashes have no order: `keys` reads all of these files and sorts.

    Args:
        root: the directory; the first put creates it when it is missing.
        width: hex digits in the name of a directory.
        depth: levels of directories.
        durability: as for every `FileStore`.
    """

    _steppable = True

    def __init__(
        self, root: str | os.PathLike[str], width: int = 2, depth: int = 3, *, durability: Durability = "atomic"
    ) -> None:
        if width < 1 or depth < 0 or width * depth >= 64:
            raise ValueError(
                f"width={width}, depth={depth}: width must be at least 1, depth at least 0, width * depth less than 64"
            )
        super().__init__(root, durability=durability)
        self.width = width
        self.depth = depth

    def _path(self, key: str) -> str:
        digest = hashlib.sha256(check_key(key, self).encode()).hexdigest()
        cut = self.width * self.depth
        return "/".join([*(digest[i : i + self.width] for i in range(0, cut, self.width)), digest[cut:]])

    def _before_publish(self, key: str) -> Callable[[int, str], None]:
        def before_publish(directory: int, name: str) -> None:
            try:
                size = os.stat(name + KEY, dir_fd=directory, follow_symlinks=False).st_size
            except FileNotFoundError:
                size = 0
            if size != len(key.encode()):  # it is missing, or truncated by a loss of power
                self._write_key(directory, name, key)

        return before_publish

    def _write_key(self, directory: int, name: str, key: str) -> None:
        """Write the key's file, whole or not at all; with ``"fsync"`` it is on the disk before the object's name."""
        draft = f"{DRAFT}{name}"  # the directory's lock is held: there is no other writer
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o666, dir_fd=directory)
        try:
            text = memoryview(key.encode())
            while text:
                text = text[os.write(file, text) :]
            if self._sync:
                os.fsync(file)
            os.rename(draft, name + KEY, src_dir_fd=directory, dst_dir_fd=directory)
            if self._sync:
                os.fsync(directory)
        except BaseException:
            _unlink(directory, draft)
            raise
        finally:
            os.close(file)

    def _after_delete(self, directory: int, name: str) -> None:
        _unlink(directory, name + KEY)

    def _walk(self, prefix: str, start_after: str, delimiter: str | None = None) -> Iterator[str]:
        yield from sorted(key for key in self._found() if key.startswith(prefix) and key > start_after)

    def _found(self) -> Iterator[str]:
        """Yield all keys, in no order."""
        pending = [""]
        while pending:
            path = pending.pop()
            with self._root.existing_directory(path) as directory:
                names = {} if directory is None else dict(names_in(directory))
                found = [
                    self._read_key(directory, name, f"{path}/{name}" if path else name)
                    for name in names
                    if directory is not None
                    and not names[name]
                    and name.endswith(KEY)
                    and name.removesuffix(KEY) in names
                ]
            pending += [f"{path}/{name}" if path else name for name in names if names[name]]
            yield from (key for key in found if key is not None)

    def _read_key(self, directory: int, name: str, path: str) -> str | None:
        """Return the key in a key's file; None when the file is gone or is another program's."""
        try:
            file = os.open(name, READ | os.O_NOFOLLOW, dir_fd=directory)
        except FileNotFoundError:
            return None
        try:
            text = b""
            while piece := os.read(file, 1 << 16):
                text += piece
            key = text.decode()
        except UnicodeDecodeError:
            return None
        finally:
            os.close(file)
        return key if key and self._path(key) == path.removesuffix(KEY) else None

    def _is_leftover(self, name: str, names: Container[str]) -> bool:
        orphan = name.endswith(KEY) and name.removesuffix(KEY) not in names  # the writer was killed in between
        return orphan or super()._is_leftover(name, names)

    def _remove_leftover(self, directory: int, name: str) -> None:
        if not name.endswith(KEY):
            super()._remove_leftover(directory, name)
        elif current_etag(directory, name.removesuffix(KEY)) is None:
            _unlink(directory, name)

    def children(self, prefix: str = "", delimiter: str = "/") -> AsyncIterator[str]:
        return ObjectStore.children(self, prefix, delimiter)

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, bounded_listing=False)


def _unlink(directory: int, name: str) -> None:
    """Remove a file, if it is there."""
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        pass
