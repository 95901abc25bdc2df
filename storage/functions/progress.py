"""`Progress`: how far a long call has come, and `Track`, with which `copy_store` and `sync_stores` count it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["Progress", "Track", "check_concurrency"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Progress:
    """
    How far a `copy_store` or `sync_stores` has come.

    Attributes:
        objects: the number of copied objects.
        bytes: the bytes of these objects, as they are read from the source.
        skipped: the number of skipped objects: they existed in the target, or were deleted from the source meanwhile.
        key: all objects up to this key are done; pass it as ``start_after=`` to continue from here.
        deleted: the number of objects deleted from the target.
    """

    objects: int = 0
    bytes: int = 0
    skipped: int = 0
    key: str = ""
    deleted: int = 0


class Track:
    """Counts the objects that are done while others are in progress."""

    def __init__(self, start_after: str, report: Callable[[Progress], object] | None) -> None:
        self._report = report
        self._objects = self._bytes = self._skipped = self._deleted = 0
        self._listed = start_after
        self._before: dict[str, str] = {}  # of each object in progress, in order: the key that was listed before it

    async def follow(self, items: AsyncIterator[T], key: Callable[[T], str]) -> AsyncIterator[T]:
        """Yield *items*, which come in the order of their keys."""
        async for item in items:
            name = key(item)
            self._before[name], self._listed = self._listed, name
            yield item

    def done(self, key: str, *, copied: int | None = None, deleted: bool = False) -> None:
        """Count one object: *copied*, with so many bytes, or *deleted*, or else skipped."""
        del self._before[key]
        if copied is not None:
            self._objects += 1
            self._bytes += copied
        elif deleted:
            self._deleted += 1
        else:
            self._skipped += 1
        if self._report is not None:
            self._report(self.reached)

    @property
    def reached(self) -> Progress:
        """The progress so far. Its key never goes back, because all objects up to it are done."""
        reached = next(iter(self._before.values()), self._listed)
        return Progress(self._objects, self._bytes, self._skipped, reached, self._deleted)


def check_concurrency(concurrency: int) -> None:
    """Raise `ValueError` if nothing could ever run."""
    if concurrency < 1:
        raise ValueError(f"concurrency must be at least 1, not {concurrency}")
