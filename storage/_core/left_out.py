"""`LeftOut`: the damaged objects that a listing leaves out, and the error at its end (`stored_descriptions`)."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from storage.errors import CorruptObjectError, IncompleteListingError

__all__ = ["LeftOut"]


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

    __slots__ = ("_count", "_errors", "_renamed", "_store")

    def __init__(self, store: object, renamed: Callable[[str], str | None] | None = None) -> None:
        self._store = store
        self._renamed = renamed
        self._errors: dict[str, CorruptObjectError] = {}
        self._count = 0

    def add(self, key: str, error: CorruptObjectError) -> None:
        """Note that the object of this key, which is the caller's, was left out because of *error*."""
        self._count += 1
        if len(self._errors) < IncompleteListingError.MOST_ERRORS:
            self._errors.setdefault(key, error)

    def take_over(self, error: IncompleteListingError) -> None:
        """Note what the listing below left out."""
        self._count += error.count - len(error.errors)  # whose keys are not known: they may be the caller's
        for key, each in error.errors.items():
            if mine := key if self._renamed is None else self._renamed(key):
                self.add(mine, each if mine == key else each.with_key(mine))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if error is not None and not isinstance(error, IncompleteListingError):
            return False
        if error is not None:
            self.take_over(error)
        if self._count:
            raise IncompleteListingError(self._errors, self._count, store=self._store) from None
        return True
