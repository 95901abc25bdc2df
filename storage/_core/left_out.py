"""`LeftOut`: the damaged objects that a listing leaves out, and the error at its end (`stored_descriptions`)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Self, TypeVar

from storage.errors import CorruptObjectError, IncompleteListingError, KeyNotFoundError, StorageError

__all__ = ["LeftOut"]

T = TypeVar("T")


class LeftOut:
    """
    Collects what a listing finds damaged; at its end it raises one `IncompleteListingError`, or nothing.

    A listing that reads another one takes over what that one left out:

        with LeftOut(self) as left_out:
            async for below in self.base.scan(prefix):
                try:
                    info = self._decoded(below)
                except CorruptObjectError as error:
                    left_out.add(below.key, error)
                else:
                    yield info

    Args:
        store: the store that the error names.
        renamed: returns the caller's key for a key of the listing below; None or ``""`` if it is none of the caller's,
            and is not reported then.
    """

    __slots__ = ("_count", "_errors", "_renamed", "_store", "_unnamed")

    def __init__(self, store: object, renamed: Callable[[str], str | None] | None = None) -> None:
        self._store = store
        self._renamed = renamed
        self._errors: dict[str, CorruptObjectError] = {}
        self._unnamed: list[CorruptObjectError] = []
        self._count = 0

    def add(self, key: str, error: CorruptObjectError) -> None:
        """Note that the object of this key, which is the caller's, was left out because of *error*."""
        if key in self._errors:
            return
        self._count += 1
        if len(self._errors) < IncompleteListingError.MOST_ERRORS:
            self._errors[key] = error

    def add_unnamed(self, error: CorruptObjectError) -> None:
        """Note that an object was left out because of *error*, which says where it is: its key cannot be read."""
        self._count += 1
        if len(self._unnamed) < IncompleteListingError.MOST_ERRORS:
            self._unnamed.append(error)

    def raise_if_any(self) -> None:
        """
        Raise what the listing left out; for its end.

        Raises:
            IncompleteListingError: something was left out.
        """
        if self._count:
            raise self._error()

    def take_over(self, error: IncompleteListingError) -> None:
        """Note what the listing below left out."""
        self._count += error.count - len(error.errors)  # whose keys are not known: they may be the caller's
        self._unnamed += error.unnamed[: IncompleteListingError.MOST_ERRORS - len(self._unnamed)]
        for key, each in error.errors.items():
            if mine := key if self._renamed is None else self._renamed(key):
                self.add(mine, each if mine == key else each.with_key(mine))

    async def reading(self, listing: AsyncIterator[T]) -> AsyncIterator[T]:
        """Yield the items of a listing, for a caller that collects them before it yields any."""
        try:
            async for item in listing:
                yield item
        except IncompleteListingError as error:
            self.take_over(error)

    def take_over_failed(self, error: StorageError) -> None:
        """Note what a listing had left out when it failed with *error*, if it goes on after its last item."""
        left_out = getattr(error, "_left_out", None)
        if isinstance(left_out, IncompleteListingError):
            self.take_over(left_out)

    async def recheck(self, head: Callable[[str], Awaitable[object]]) -> None:
        """Forget the objects that *head* describes, or does not find: another copy was listed, or they are deleted."""
        for key in list(self._errors):
            try:
                await head(key)
            except CorruptObjectError as error:
                self._errors[key] = error
                continue
            except KeyNotFoundError:
                pass
            except StorageError:
                continue
            del self._errors[key]
            self._count -= 1

    def _error(self) -> IncompleteListingError:
        return IncompleteListingError(self._errors, self._count, store=self._store, unnamed=self._unnamed)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if isinstance(error, IncompleteListingError):
            self.take_over(error)
        elif error is not None:
            if isinstance(error, StorageError) and self._count:
                error.__dict__["_left_out"] = self._error()
            return False
        if self._count:
            raise self._error() from None
        return True
