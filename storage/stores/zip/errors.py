"""The one place where errors of an archive's file become ours, and say which store and key they are about."""

from __future__ import annotations

from storage.errors import StorageError
from storage.stores.files.errors import from_os_error

__all__ = ["error_of"]


def error_of(error: OSError | StorageError, key: str | None, store: object) -> StorageError:
    """Return an error as one of our tree that says what it is about."""
    if not isinstance(error, StorageError):
        ours = from_os_error(error, key, store)
        ours.__cause__ = error
        return ours
    error.store = error.store or repr(store)
    return error if key is None or error.key is not None else error.with_key(key)
