"""`Damaged`: the damaged and unreadable objects that a copy of many passes over, and the error for them at its end."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from storage.errors import (
    BulkError,
    CorruptObjectError,
    IncompleteListingError,
    KeyNotFoundError,
    PermissionDeniedError,
    StorageError,
)

__all__ = ["Damaged", "reading_source"]

T = TypeVar("T")

_log = logging.getLogger("storage")


class Damaged:
    """
    Collects the damaged objects that are found while others are copied: one of them must not stop the copy of all.

    Each is logged when it is found, as another error may end the copy before its end.

    Args:
        store: the store that the error names.
    """

    #: The most errors that are kept: a copy takes bounded memory, however many objects are damaged.
    MOST = 1000

    def __init__(self, store: object) -> None:
        self._store = store
        self._errors: dict[str, StorageError] = {}
        self._listing: IncompleteListingError | None = None

    async def result_of(self, key: str, work: Awaitable[T]) -> T | None:
        """Return what *work* on an object returns, or None if it is damaged or cannot be read, which is noted."""
        try:
            return await work
        except StorageError as error:
            if not isinstance(error, CorruptObjectError) and "_of_source" not in error.__dict__:
                raise
            self._note(key, error)
            return None

    async def listed(self, listing: AsyncIterator[T]) -> AsyncIterator[T]:
        """Yield the items of a listing, and note the objects that it left out."""
        try:
            async for item in listing:
                yield item
        except IncompleteListingError as error:
            self._listing = error
            for key, each in error.errors.items():
                self._note(key, each)

    async def recheck(self, head: Callable[[str], Awaitable[object]]) -> None:
        """Forget the objects that *head* describes: they were left out of the target's listing, and are copied now."""
        for key in list(self._errors):
            try:
                await head(key)
            except KeyNotFoundError:
                pass
            except StorageError:
                continue
            del self._errors[key]

    def check(self) -> None:
        """
        Raise for the damaged objects.

        Raises:
            BulkError: there were some; its ``results`` have their errors, of the first 1,000 of them.
        """
        if self._errors:
            raise BulkError(self._errors, store=self._store) from self._listing

    def _note(self, key: str, error: StorageError) -> None:
        _log.warning("an object that is damaged or cannot be read is passed over: %s", error)
        if len(self._errors) < self.MOST:
            self._errors[key] = error


@contextmanager
def reading_source() -> Iterator[None]:
    """
    Mark the errors of reading one object of the source, as one that is forbidden or that the disk does not return.

    `Damaged.result_of` passes such objects over. The same errors of the target, or of the whole source, end a copy: a
    listing of the source fails by itself.
    """
    try:
        yield
    except StorageError as error:
        if type(error) in (StorageError, PermissionDeniedError) and not error.retryable:
            error.__dict__["_of_source"] = True
        raise
