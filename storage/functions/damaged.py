"""`Damaged`: the damaged objects that a copy of many passes over, and the error for them at its end."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from storage.errors import BulkError, CorruptObjectError, IncompleteListingError, KeyNotFoundError, StorageError

__all__ = ["Damaged"]

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
        """Return what *work* on an object returns, or None if the object is damaged, which is noted."""
        try:
            return await work
        except CorruptObjectError as error:
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

    def _note(self, key: str, error: CorruptObjectError) -> None:
        _log.warning("a damaged object is passed over: %s", error)
        if len(self._errors) < self.MOST:
            self._errors[key] = error
