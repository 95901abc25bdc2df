"""
`step`: runs a coroutine that never suspends to its end, without an event loop.

A thread-local flag that `step` sets says whether the calling coroutine is stepped (`is_stepping`). Asking "is a loop
running?" would be wrong in a notebook, where one always is.
"""

from __future__ import annotations

import os
import threading
import types
from collections.abc import Coroutine, Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from storage._concurrency.threads import ResultQueue

__all__ = ["THREAD", "Mode", "is_stepping", "step"]

T = TypeVar("T")


class Mode:
    """Is the coroutine that runs in this thread right now being stepped? If not, how does it get back to its loop?"""

    __slots__ = ("result_queue", "stepping")

    def __init__(self) -> None:
        self.stepping = False
        self.result_queue: ResultQueue | None = None


class _Thread(threading.local):
    """Each thread's mode, in an object of its own that is found once: a thread-local costs at each use."""

    def __init__(self) -> None:
        self.mode = Mode()


#: The calling thread, in `mode`.
THREAD = _Thread()


def is_stepping() -> bool:
    """Return whether the calling coroutine is stepped: it must not suspend, and blocking is what its caller wants."""
    return THREAD.mode.stepping


def step(coroutine: Coroutine[Any, Any, T], source: object = None) -> T:
    """
    Run a coroutine that never suspends to its end in this thread, without an event loop, and return its result.

    *source* is what the error names where the coroutine has no name of its own: the async generator it belongs to.

    Raises:
        RuntimeError: it suspended; the store declares itself steppable and is not.
    """
    mode = THREAD.mode
    outer = mode.stepping
    mode.stepping = True
    result: list[T] = []
    driven: Any = _driven(coroutine, result)  # a generator, though its type says that it is to be awaited
    try:
        for _ in driven:
            break
        else:
            return result[0]
        import asyncio

        with suppress(BaseException):  # a cancellation also unwinds an async generator, which close() leaves running
            driven.throw(asyncio.CancelledError())
    finally:
        mode.stepping = outer
    name = getattr(source or coroutine, "__qualname__", repr(coroutine))
    raise RuntimeError(
        f"{name} suspended, but its store says it is steppable; declare steppable=False in its capabilities"
    )


@types.coroutine
def _driven(coroutine: Coroutine[Any, Any, T], result: list[T]) -> Generator[Any, Any, None]:
    """Run a coroutine as a generator. A loop sees its end without a StopIteration, which costs as much as the rest."""
    result.append((yield from coroutine))


def _after_fork() -> None:
    """A forked child has none of its parent's threads, and no event loop to get back to."""
    THREAD.mode.stepping = False
    THREAD.mode.result_queue = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
