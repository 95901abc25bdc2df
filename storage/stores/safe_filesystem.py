"""`SafeFilesystemStore`: files for any keys, with names that are valid on every operating system."""

from __future__ import annotations

from collections.abc import Iterator

from storage._core.keys import check_key, check_length, is_key
from storage.stores.files.file_store import FileStore
from storage.stores.files.safe_names import decode_name, encode_directory, encode_name, encode_path
from storage.stores.files.walk import Walk

__all__ = ["SafeFilesystemStore"]


class SafeFilesystemStore(FileStore):
    """
    Objects are plain files below *root*, with names that are valid everywhere and can be decoded to the keys.

    Slashes stay directories and ``reports/2024-q1.csv`` stays readable. Characters that file systems treat differently,
    upper case included, are escaped (`storage.stores.files.safe_names`). Other files in the directory are skipped. Only
    keys whose escaped path is longer than the operating system's 4,096 bytes raise `InvalidKeyError`.
    """

    def _path(self, key: str) -> str:
        return check_length(encode_path(check_key(key, self)), self._root.path, key, self)

    def _walk(self, prefix: str, start_after: str, delimiter: str | None = None) -> Iterator[str]:
        if prefix and not is_key(prefix):
            return iter(())
        directory, slash, _ = prefix.rpartition("/")
        path = "/".join(encode_directory(directory)) if slash else ""
        text, begins, after = (
            (directory + slash).encode(),
            prefix.encode(),
            start_after.encode("utf-8", "surrogatepass"),
        )
        cut = None if delimiter is None else delimiter.encode()
        walk = Walk(self._root, decode_name, encode_name, path, text, begins, after, cut)
        return filter(None, map(_text, walk))  # no generator: see `FileStore._walk`

    def _is_own_directory(self, parent: str, name: str) -> bool:
        return decode_name(name, True) is not None


def _text(key: bytes) -> str | None:
    """Return the key as text; None if it is not UTF-8, because a file with such a name is another program's."""
    try:
        return key.decode()
    except UnicodeDecodeError:
        return None
