"""
`step`: runs a coroutine that never suspends to its end, without an event loop.

`step` sets a thread-local flag, which `is_stepping` reads. Whether an event loop runs in the thread does not matter: in
a notebook one always does.
"""

from __future__ import annotations

import os
import threading
import types
from collections.abc import Coroutine, Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from storage._concurrency.jobs import Job, ResultQueue

__all__ = ["THREAD", "Mode", "is_stepping", "step"]

T = TypeVar("T")


class _Waiting(Protocol):
    """What `Workers` is here, whose module uses this one."""

    def waiting(self) -> AbstractContextManager[None]: ...


class Mode:
    """
    What a thread is doing.

    Attributes:
        stepping: whether it is stepping a coroutine.
        result_queue: the queue for the results of the jobs of its event loop.
        workers: the worker threads that it is one of.
        job: the job that it is running, as one of these.
        is_awaited: whether calls of a store wait for it all the time, as for the thread of a database. It runs no code
            of the user but finalizers, which the garbage collector may run in any thread.
    """

    __slots__ = ("is_awaited", "job", "result_queue", "stepping", "workers")

    def __init__(self) -> None:
        self.stepping = False
        self.result_queue: ResultQueue | None = None
        self.workers: _Waiting | None = None
        self.job: Job[Any] | None = None
        self.is_awaited = False


class _Thread(threading.local):
    """
    What is known of each thread.

    Attributes:
        mode: what the thread is doing. It is an object, which is looked up once: each use of a thread-local costs time.
        locks: the locks of `storage._concurrency.mutex` that it has, and some that it had; the first is None.
    """

    def __init__(self) -> None:
        self.mode = Mode()
        self.locks: list[Any] = [None]


#: The calling thread: ``THREAD.mode``, ``THREAD.locks``.
THREAD = _Thread()


def is_stepping() -> bool:
    """Return whether the calling coroutine is stepped: then it must not suspend, and it should block."""
    return THREAD.mode.stepping


def step(coroutine: Coroutine[Any, Any, T], source: object = None) -> T:
    """
    Run a coroutine that never suspends to its end in this thread, without an event loop, and return its result.

    Args:
        coroutine: the coroutine.
        source: its async generator, which the error names where the coroutine has no name of its own.

    Raises:
        RuntimeError: it suspended; the store declares that it is steppable, but it is not.
    """
    mode = THREAD.mode
    outer = mode.stepping
    result: list[T] = []
    driven: Any = _driven(coroutine, result)  # a generator, though its type says that it is awaited
    try:
        mode.stepping = True  # within: Ctrl-C must not leave it so
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
        f"{name} suspended, but its store declares that it is steppable: set steppable=False in its capabilities"
    )


@types.coroutine
def _driven(coroutine: Coroutine[Any, Any, T], result: list[T]) -> Generator[Any, Any, None]:
    """Run a coroutine as a generator: a ``for`` loop ends it without StopIteration, which costs as much as the rest."""
    result.append((yield from coroutine))


def _after_fork() -> None:
    """
    Forget what the parent was doing in threads and event loops: a forked child has neither.

    What the thread was stepping when it forked, it goes on stepping.
    """
    THREAD.mode.result_queue = None
    THREAD.mode.workers = THREAD.mode.job = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
