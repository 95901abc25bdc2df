"""`FilesystemStore`: a directory of plain files, for other programs too."""

from __future__ import annotations

from collections.abc import Iterator

from storage._core.keys import check_length, check_path, is_key
from storage.errors import InvalidKeyError
from storage.stores.files.draft import DRAFT
from storage.stores.files.file_store import FileStore
from storage.stores.files.walk import Walk

__all__ = ["FilesystemStore"]


class FilesystemStore(FileStore):
    """
    Objects are plain files, and keys their paths below *root*.

    A directory that other programs made is readable as it is; symlinks in it are neither followed nor listed. A key is
    a plain relative path: ``..``, ``.``, empty segments, NUL and over-long names are refused with `InvalidKeyError`.
    Where ``a`` is an object, ``a/b`` cannot be one: `KeyConflictError`.
    """

    def _path(self, key: str) -> str:
        check_path(key, self)
        if DRAFT in key and (key.startswith(DRAFT) or f"/{DRAFT}" in key):
            raise InvalidKeyError(
                f"names that begin with {DRAFT!r} are reserved for this store's temporary files", key=key, store=self
            )
        return check_length(key, self._root.path, key, self)

    def _walk(self, prefix: str, start_after: str, delimiter: str | None = None) -> Iterator[str]:
        directory, slash, _ = prefix.rpartition("/")
        try:
            path = self._path(directory) if slash else ""
        except InvalidKeyError:
            return iter(())  # no key begins so
        return Walk(self._root, _decode, path, directory + slash, prefix, start_after, delimiter)


def _decode(name: str, is_directory: bool) -> str | None:
    if name.startswith(DRAFT) or not is_key(name):  # not UTF-8: names come with lone surrogates for such bytes
        return None
    return f"{name}/" if is_directory else name
