"""
Every error of every store, in one tree.

    StorageError                          .key  .store  .request_id  .retryable
    ├── KeyNotFoundError                  also a KeyError
    ├── KeyExistsError                    also a FileExistsError
    ├── PreconditionFailedError
    ├── InvalidKeyError                   also a ValueError
    ├── KeyConflictError                  also a ValueError
    ├── RangeNotSatisfiableError          also a ValueError
    ├── CorruptObjectError                also a ValueError
    ├── UnsupportedOperationError         also a NotImplementedError
    ├── PermissionDeniedError             also a PermissionError
    ├── StoreFullError
    ├── StoreClosedError                  also a RuntimeError
    ├── StoreUnavailableError             retryable
    ├── StoreTimeoutError                 retryable, also a TimeoutError
    ├── OutcomeUnknownError
    ├── ConfigError                       also a ValueError
    ├── BulkError                         .results
    └── MirrorError                       .succeeded  .failed

``except StorageError`` catches all of them. A back end's own exception is kept as ``__cause__``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

__all__ = [
    "BulkError",
    "ConfigError",
    "CorruptObjectError",
    "InvalidKeyError",
    "KeyConflictError",
    "KeyExistsError",
    "KeyNotFoundError",
    "MirrorError",
    "OutcomeUnknownError",
    "PermissionDeniedError",
    "PreconditionFailedError",
    "RangeNotSatisfiableError",
    "StorageError",
    "StoreClosedError",
    "StoreFullError",
    "StoreTimeoutError",
    "StoreUnavailableError",
    "UnsupportedOperationError",
]


class StorageError(Exception):
    """
    Something went wrong in a store; catch this to catch all of this package's errors.

    Attributes:
        key: the key the caller used, or None when the error is not about one key.
        store: the store's short description (never with a secret in it), or None.
        request_id: what the server called the request, where there is a server.
        retryable: whether the same call may succeed when it is made again.
    """

    retryable: bool = False

    def __init__(
        self, message: str = "", *, key: str | None = None, store: object = None, request_id: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.key = key
        self.store: str | None = None if store is None else str(store)
        self.request_id = request_id

    def __str__(self) -> str:
        parts = [self.message or self._headline()]
        if self.key is not None:
            parts.append(f"key {self.key!r}")
        if self.store is not None:
            parts.append(f"in {self.store}")
        if self.request_id is not None:
            parts.append(f"request {self.request_id}")
        return ", ".join(parts)

    def _headline(self) -> str:
        return (type(self).__doc__ or type(self).__name__).strip().splitlines()[0].rstrip(".")

    def with_key(self, key: str) -> Self:
        """Say that this error is about *key*, the caller's name for the object, and return the error."""
        self.key = key
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, self.__dict__.copy())


class KeyNotFoundError(StorageError, KeyError):
    """There is no object of this key."""

    def __init__(self, key: str, *, store: object = None, message: str = "") -> None:
        super().__init__(message, key=key, store=store)
        self.args: tuple[Any, ...] = (key,)

    def with_key(self, key: str) -> Self:
        self.args = (key,)
        return super().with_key(key)


class KeyExistsError(StorageError, FileExistsError):
    """There is an object of this key already, and the put was to create it."""

    def __init__(self, key: str, *, store: object = None, message: str = "") -> None:
        super().__init__(message, key=key, store=store)


class PreconditionFailedError(StorageError):
    """The object is not, or no longer, the version that the caller named by its etag."""

    def __init__(self, key: str, *, store: object = None, message: str = "") -> None:
        super().__init__(message, key=key, store=store)


#: What a store answers when all is well with it: the object is not there, or is there, or is another version.
ANSWERS = KeyNotFoundError, KeyExistsError, PreconditionFailedError


class InvalidKeyError(StorageError, ValueError):
    """This store cannot hold an object of this key; the message says which keys it takes."""


class KeyConflictError(StorageError, ValueError):
    """The key is also a directory of another key, and this store cannot hold both."""


class RangeNotSatisfiableError(StorageError, ValueError):
    """The range starts behind the end of the object."""


class CorruptObjectError(StorageError, ValueError):
    """What is stored under the key is damaged, or was not written by this stack of stores."""


class UnsupportedOperationError(StorageError, NotImplementedError):
    """This store cannot do what was asked; the message names the store and the operation."""


class PermissionDeniedError(StorageError, PermissionError):
    """The back end refused the credentials or the user."""


class StoreFullError(StorageError):
    """There is no room left where the store keeps its objects (disk, quota or size limit)."""


class StoreClosedError(StorageError, RuntimeError):
    """The store is not open: use it inside ``async with store:``."""


class StoreUnavailableError(StorageError):
    """The back end cannot be reached or is busy; the same call may succeed later."""

    retryable = True


class StoreTimeoutError(StorageError, TimeoutError):
    """The back end did not answer in time; the same call may succeed later."""

    retryable = True


class OutcomeUnknownError(StorageError):
    """The call may have taken effect or not, and the store cannot tell: look before you make it again."""


class ConfigError(StorageError, ValueError):
    """A store cannot be built as it was asked for; the message says what would be right."""


class BulkError(StorageError):
    """
    Some items of a bulk call failed; all were tried.

    Attributes:
        results: per key what the call gave for it, or its error.
    """

    def __init__(self, results: Mapping[str, object], *, store: object = None) -> None:
        failed = [key for key, result in results.items() if isinstance(result, StorageError)]
        shown = ", ".join(repr(key) for key in failed[:3]) + (", ..." if len(failed) > 3 else "")
        super().__init__(f"{len(failed)} of {len(results)} items failed ({shown}); see .results", store=store)
        self.results = results


class MirrorError(StorageError):
    """
    Fewer children of a mirror did what was asked than it requires; each was tried, or none was changed.

    Attributes:
        succeeded: the children that did it, by their numbers: of a `put`, those that hold the new version.
        failed: what each child raised that did not.
    """

    def __init__(
        self,
        message: str = "",
        *,
        key: str | None = None,
        store: object = None,
        succeeded: Iterable[int] = (),
        failed: Mapping[int, StorageError] | None = None,
    ) -> None:
        super().__init__(message, key=key, store=store)
        self.succeeded: tuple[int, ...] = tuple(succeeded)
        self.failed: dict[int, StorageError] = dict(failed or {})
        self.retryable: bool = bool(self.failed) and all(error.retryable for error in self.failed.values())


def _restore(kind: type[StorageError], args: tuple[Any, ...], state: dict[str, Any]) -> StorageError:
    """Unpickle an error: the constructors' signatures differ, the state does not."""
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error
