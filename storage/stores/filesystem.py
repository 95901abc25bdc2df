"""`FilesystemStore`: a directory of plain files, which other programs can use too."""

from __future__ import annotations

import re
from collections.abc import Iterator

from storage._core.keys import check_length, check_path, is_key
from storage.errors import InvalidKeyError
from storage.stores.files.draft_names import is_reserved, reserved_name_in
from storage.stores.files.file_store import FileStore
from storage.stores.files.walk import Walk

__all__ = ["FilesystemStore"]

#: Most keys, if they are short: of ASCII, and with no name that begins with a dot. One look at them saves 0.3 us.
_PLAIN = re.compile(r"[\w~+=@,-][\w.~+=@, -]*(?:/[\w~+=@,-][\w.~+=@, -]*)*", re.ASCII)

_SHORT = 63


class FilesystemStore(FileStore):
    """
    Objects are plain files, and keys are their paths below *root*.

    It reads directories of other programs as they are; symlinks in them are neither followed nor listed. A key is a
    plain relative path: ``..``, ``.``, empty segments, NUL and names that are too long raise `InvalidKeyError`. While
    ``a`` is an object, ``a/b`` cannot be one: `KeyConflictError`.
    """

    def _path(self, key: str) -> str:
        if isinstance(key, str) and len(key) <= _SHORT and _PLAIN.fullmatch(key):
            return key
        check_path(key, self)
        if name := reserved_name_in(key):
            raise InvalidKeyError(
                f"the name {name!r} is reserved: names that begin with '.~storage-' for this store's temporary files, "
                "'.nfs' or '.fuse_hidden' with hex digits for files that others still have open; choose another",
                key=key,
                store=self,
            )
        return check_length(key, self._root.path, key, self)

    def _walk(self, prefix: str, start_after: str, delimiter: str | None = None) -> Iterator[str]:
        directory, slash, _ = prefix.rpartition("/")
        try:
            path = self._path(directory) if slash else ""
        except InvalidKeyError:
            return iter(())  # no key has this prefix
        return Walk(self._root, _decode, _encode, path, directory + slash, prefix, start_after, delimiter)

    def _is_own_directory(self, parent: str, name: str) -> bool:
        return _decode(name, True) is not None


def _decode(name: str, is_directory: bool) -> str | None:
    # Most names need none of these calls. Not UTF-8: such bytes are lone surrogates in names.
    if (name[0] == "." and is_reserved(name)) or not (name.isascii() or is_key(name)):
        return None
    return f"{name}/" if is_directory else name


def _encode(part: str) -> tuple[str, bool]:
    return (part[:-1], True) if part.endswith("/") else (part, False)
