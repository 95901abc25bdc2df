"""The one place where errors of an archive's file are mapped to ours and get their store and key."""

from __future__ import annotations

from storage.errors import StorageError
from storage.stores.files.errors import from_os_error

__all__ = ["error_of"]


def error_of(error: OSError | StorageError, key: str | None, store: object) -> StorageError:
    """Return *error* as a `StorageError` with its store and key."""
    if not isinstance(error, StorageError):
        ours = from_os_error(error, key, store)
        ours.__cause__ = error
        return ours
    error.store = error.store or repr(store)
    return error if key is None or error.key is not None else error.with_key(key)
