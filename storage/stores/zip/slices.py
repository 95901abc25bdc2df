"""Long work in slices: an iterator that works on with each step, so that a cancellation can end it between two."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Generator, Iterable
from typing import Any, TypeVar

__all__ = ["collected", "finished", "in_slices"]

T = TypeVar("T")

#: Seconds of one slice: what a cancellation waits for at most, and a thousand times what handing it to a thread takes.
_SLICE = 0.05


def finished(work: Generator[object, None, T]) -> T:
    """Do all the work at once and return its result."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # a StopIteration does not know its type


def collected(work: Iterable[bytes]) -> Generator[None, None, bytes]:
    """Return the work that joins what *work* yields."""
    pieces = []
    for piece in work:
        pieces.append(piece)
        yield
    return b"".join(pieces)


async def in_slices(do: Callable[..., Awaitable[Any]], key: str | None, work: Generator[object, None, T]) -> T:
    """
    Do the work by ``await do(key, call, *args)``, which runs blocking calls, and return its result.

    A cancellation ends it after the current slice, and closes the generator.
    """
    try:
        while True:
            results: list[T] = await do(key, _slice, work)
            if results:
                return results[0]
    finally:
        work.close()


def _slice(work: Generator[object, None, T]) -> list[T]:
    """Work until a slice is over; the result of the work in a list, when it has ended, else an empty one."""
    until = time.monotonic() + _SLICE
    while time.monotonic() < until:
        try:
            next(work)
        except StopIteration as end:
            return [end.value]
    return []
