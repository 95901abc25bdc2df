"""`Progress`: how far a long call has come, and what `copy_store` and `sync_stores` share to keep count of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["Progress", "Track", "check_concurrency"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Progress:
    """
    How far a `copy_store` or a `sync_stores` has come.

    Attributes:
        objects: how many it has copied.
        bytes: how many bytes these have, as they are read from the source.
        skipped: how many it left alone: they were in the target already, or went from the source meanwhile.
        key: all objects up to this key are done. As ``start_after=`` it lets another call go on from here.
        deleted: how many it has deleted from the target.
    """

    objects: int = 0
    bytes: int = 0
    skipped: int = 0
    key: str = ""
    deleted: int = 0


class Track:
    """What has been done of many things that are under way at once."""

    def __init__(self, start_after: str, told: Callable[[Progress], object] | None) -> None:
        self._told = told
        self._objects = self._bytes = self._skipped = self._deleted = 0
        self._listed = start_after
        self._before: dict[str, str] = {}  # of each object under way, in order: the key that was listed before it

    async def follow(self, items: AsyncIterator[T], key: Callable[[T], str]) -> AsyncIterator[T]:
        """Yield *items*, which come in the order of their keys."""
        async for item in items:
            name = key(item)
            self._before[name], self._listed = self._listed, name
            yield item

    def done(self, key: str, *, copied: int | None = None, deleted: bool = False) -> None:
        """Count one object: that it was *copied*, and how many bytes; that it was *deleted*; or that it was skipped."""
        del self._before[key]
        if copied is not None:
            self._objects += 1
            self._bytes += copied
        elif deleted:
            self._deleted += 1
        else:
            self._skipped += 1
        if self._told is not None:
            self._told(self.reached)

    @property
    def reached(self) -> Progress:
        """The sum so far; its key never goes back, for all up to it is done."""
        reached = next(iter(self._before.values()), self._listed)
        return Progress(self._objects, self._bytes, self._skipped, reached, self._deleted)


def check_concurrency(concurrency: int) -> None:
    """Raise `ValueError` where nothing could be under way."""
    if concurrency < 1:
        raise ValueError(f"concurrency must be at least 1, not {concurrency}")
