"""`Outcome`: the result of work in another thread."""

from __future__ import annotations

from typing import Generic, TypeVar

__all__ = ["Outcome"]

T = TypeVar("T")


class Outcome(Generic[T]):
    """What finished work returned or raised; an error is raised once and then dropped."""

    __slots__ = ("_error", "_result")

    _error: BaseException | None
    _result: T

    def result(self) -> T:
        """Return what the work returned, or raise what it raised."""
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None  # or the traceback and this object keep each other alive
        return self._result
