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
    │   └── IncompleteListingError        also a ValueError  .errors  .unnamed  .count
    ├── UnsupportedOperationError         also a NotImplementedError
    ├── PermissionDeniedError             also a PermissionError
    ├── StoreFullError
    ├── StoreClosedError                  also a RuntimeError
    ├── ReentrantCallError                also a RuntimeError
    ├── StoreUnavailableError             retryable
    ├── StoreTimeoutError                 retryable, also a TimeoutError
    ├── OutcomeUnknownError
    ├── ConfigError                       also a ValueError
    ├── BulkError                         .results
    └── MirrorError                       .succeeded  .failed

``except StorageError`` catches all of them. A back end's own exception is kept as ``__cause__``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

__all__ = [
    "BulkError",
    "ConfigError",
    "CorruptObjectError",
    "IncompleteListingError",
    "InvalidKeyError",
    "KeyConflictError",
    "KeyExistsError",
    "KeyNotFoundError",
    "MirrorError",
    "OutcomeUnknownError",
    "PermissionDeniedError",
    "PreconditionFailedError",
    "RangeNotSatisfiableError",
    "ReentrantCallError",
    "StorageError",
    "StoreClosedError",
    "StoreFullError",
    "StoreTimeoutError",
    "StoreUnavailableError",
    "UnsupportedOperationError",
]


class StorageError(Exception):
    """
    An operation of a store failed; ``except StorageError`` catches every error of this package.

    Attributes:
        key: the key the caller used, or None when the error is not about one key.
        store: the store's short description (never with a secret in it), or None.
        request_id: the server's identifier for the request, or None.
        retryable: whether the same call may succeed when it is made again.
    """

    retryable: bool = False

    #: The text of an error that has a key and no message of its own.
    _sentence: str = ""

    def __init_subclass__(cls, **options: Any) -> None:
        """Let a subclass that describes itself in a docstring say so in its text, too."""
        super().__init_subclass__(**options)
        if cls.__doc__ and "_sentence" not in vars(cls):
            cls._sentence = ""

    def __init__(
        self, message: str = "", *, key: str | None = None, store: object = None, request_id: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.key = key
        self.store: str | None = None if store is None else str(store)
        self.request_id = request_id

    def __str__(self) -> str:
        if self._sentence and self.key is not None and not self.message:
            sentence = self._sentence.format(key=self.key)
            parts = [sentence if self.store is None else f"{sentence} in {self.store}"]
        else:
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
        """Set the error's key to *key*, the caller's name for the object, and return the error."""
        self.key = key
        return self

    def about(self, key: str) -> Self:
        """Do the same as `with_key`, which was once called so."""
        return self.with_key(key)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, self.__dict__.copy())


class KeyNotFoundError(StorageError, KeyError):
    """There is no object of this key."""

    _sentence = "no object {key!r}"

    def __init__(self, key: str, *, store: object = None, message: str = "") -> None:
        super().__init__(message, key=key, store=store)
        self.args: tuple[Any, ...] = (key,)

    def with_key(self, key: str) -> Self:
        self.args = (key,)
        return super().with_key(key)


class KeyExistsError(StorageError, FileExistsError):
    """An object of this key exists already, and the call must create one."""

    _sentence = "object {key!r} already exists"

    def __init__(self, key: str, *, store: object = None, message: str = "") -> None:
        super().__init__(message, key=key, store=store)


class PreconditionFailedError(StorageError):
    """The object does not exist, or its etag is not the one that the caller gave."""

    _sentence = "object {key!r} is missing or has another etag than required"

    def __init__(self, key: str, *, store: object = None, message: str = "") -> None:
        super().__init__(message, key=key, store=store)


#: Errors of a store that works well: the object is missing, exists already, or is another version.
ANSWERS = KeyNotFoundError, KeyExistsError, PreconditionFailedError


class InvalidKeyError(StorageError, ValueError):
    """This store cannot hold an object of this key; the message says which keys it takes."""


class KeyConflictError(StorageError, ValueError):
    """The key is also a directory of another key, and this store cannot hold both."""


class RangeNotSatisfiableError(StorageError, ValueError):
    """The range starts after the end of the object."""


class CorruptObjectError(StorageError, ValueError):
    """The stored bytes are damaged, or were not written by this stack of stores."""


class IncompleteListingError(CorruptObjectError):
    """
    A listing left out objects that are damaged or cannot be read: all others were yielded before this error.

    Attributes:
        errors: the errors of the first 100 of them, by their keys.
        unnamed: those of the first 100 whose keys cannot be read: each says where the object is.
        count: how many were left out.
    """

    #: The most errors that are kept: a listing takes bounded memory, however many objects are damaged.
    MOST_ERRORS = 100

    def __init__(
        self,
        errors: Mapping[str, CorruptObjectError],
        count: int,
        *,
        store: object = None,
        unnamed: Sequence[CorruptObjectError] = (),
    ) -> None:
        shown = [repr(key[:200]) for key in list(errors)[:3]]
        shown += [error.message[:200] for error in unnamed[: 3 - len(shown)]]
        shown += ["..."] if count > len(shown) else []
        super().__init__(
            f"the listing left out {count} {'object' if count == 1 else 'objects'}, damaged or impossible to read "
            f"({', '.join(shown)}), and is complete otherwise; see .errors{' and .unnamed' if unnamed else ''}, then "
            "put or delete them",
            store=store,
        )
        self.errors: dict[str, CorruptObjectError] = dict(errors)
        self.unnamed: list[CorruptObjectError] = list(unnamed)
        self.count = count


class UnsupportedOperationError(StorageError, NotImplementedError):
    """This store does not support the operation; the message names both."""


class PermissionDeniedError(StorageError, PermissionError):
    """The back end refused the credentials or the user."""


class StoreFullError(StorageError):
    """The store has no room left for the object (disk, quota or size limit)."""


class StoreClosedError(StorageError, RuntimeError):
    """The store is not open: use it inside ``async with store:``."""


class ReentrantCallError(StorageError, RuntimeError):
    """A signal handler or finalizer called a store while its own thread was inside it: make the call later."""


class StoreUnavailableError(StorageError):
    """The back end cannot be reached or is busy; the same call may succeed later."""

    retryable = True


class StoreTimeoutError(StorageError, TimeoutError):
    """The back end did not answer in time; the same call may succeed later."""

    retryable = True


class OutcomeUnknownError(StorageError):
    """The call may or may not have taken effect, and the store cannot find out: check before you repeat it."""


class ConfigError(StorageError, ValueError):
    """A store cannot be built from this configuration; the message says how to correct it."""


class BulkError(StorageError):
    """
    Some items of a bulk call failed; all were tried.

    Attributes:
        results: for each key its result, or its error.
    """

    def __init__(self, results: Mapping[str, object], *, store: object = None) -> None:
        failed = [key for key, result in results.items() if isinstance(result, StorageError)]
        shown = ", ".join(repr(key) for key in failed[:3]) + (", ..." if len(failed) > 3 else "")
        super().__init__(f"{len(failed)} of {len(results)} items failed ({shown}); see .results", store=store)
        self.results = results


class MirrorError(StorageError):
    """
    The operation succeeded on fewer children of a mirror than it requires; all were tried, or none was changed.

    Attributes:
        succeeded: the numbers of the children where it succeeded; after a `put` these hold the new version.
        failed: the error of each other child, by its number.
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
