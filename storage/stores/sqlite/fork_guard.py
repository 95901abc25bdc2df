"""
`ForkGuard`: no fork while a thread is in SQLite.

SQLite has locks of its own. A child that is forked while another thread holds one inherits it locked, and hangs when it
opens a database: that happened after 1 to 2 of 100 forks right after a put, on a busy machine. So a fork waits until
the threads of all connections are out of SQLite, but no longer than `LONGEST_WAIT`.

Plain locks do: only the threads of connections take a guard's, where no signal handler runs and a finalizer's calls are
refused (`Mode.is_awaited`), and a thread that forks. A handler that forks may interrupt that thread between any two
instructions, also of the functions here. So a lock is taken and noted in one step in C, the inner fork takes only what
its thread does not have, and every wait for a fork has a bound.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import compress
from operator import methodcaller
from typing import ParamSpec, Protocol, TypeVar
from weakref import WeakSet

__all__ = ["ForkGuard"]

P = ParamSpec("P")
T = TypeVar("T")

#: Seconds that a fork waits for all connections together. Then it goes on, and the child may hang if it uses SQLite.
LONGEST_WAIT = 5.0

#: Seconds after which a fork interrupts the statement that is running; its connection runs it again after the fork.
PATIENCE = 0.5


class _Lock(Protocol):
    def acquire(self, blocking: bool = ..., timeout: float = ...) -> bool: ...
    def release(self) -> None: ...


class ForkGuard:
    """
    Runs the work of one connection, on whose end a fork waits. It adds 0.25 us to each.

    Args:
        interrupt: ends a statement that takes long; called by the thread that forks.
    """

    def __init__(self, interrupt: Callable[[], object]) -> None:
        self._in_sqlite = threading.Lock()
        self._interrupt = interrupt
        _guards.add(self)

    def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what *work* returns; it runs in this thread."""
        with self._in_sqlite:
            return work(*args, **kwargs)

    def pause(self) -> None:
        """Let a fork that waits go on; for a thread that is out of SQLite in the middle of long work."""
        end = time.monotonic() + LONGEST_WAIT
        while _is_forking() and time.monotonic() < end:
            self._in_sqlite.release()
            time.sleep(0.001)
            self._in_sqlite.acquire()


class _Thread(threading.local):
    """What a thread has taken for each of its forks that are under way; the last is the innermost one."""

    def __init__(self) -> None:
        self.forks: list[list[_Lock]] = []


_guards: WeakSet[ForkGuard] = WeakSet()
_forking = threading.RLock()  # one thread at a time takes the guards for a fork
_thread = _Thread()
_release = methodcaller("release")


def _is_forking() -> bool:
    """Return whether another thread is forking."""
    if _forking.acquire(blocking=False):
        _forking.release()
        return False
    return True


def _take(lock: _Lock, end: float, held: list[_Lock], longest: float = LONGEST_WAIT) -> bool:
    """Take a lock and note it, in one step in C, or return False after *longest* seconds or at the time *end*."""
    timeout = max(0.0, min(longest, end - time.monotonic()))
    held += compress((lock,), map(lock.acquire, (True,), (timeout,)))
    return lock in held


def _before_fork() -> None:
    held: list[_Lock] = []
    _thread.forks.append(held)
    end = time.monotonic() + LONGEST_WAIT
    _take(_forking, end, held)  # without it, two forks may have some of the guards each, and go on without the others
    for guard in list(_guards):
        lock = guard._in_sqlite
        if any(lock in each for each in _thread.forks):
            continue
        if not _take(lock, end, held, PATIENCE):
            guard._interrupt()
            _take(lock, end, held)


def _after_fork_in_parent() -> None:
    forks = _thread.forks
    if forks:
        deque(map(_release, forks[-1]), maxlen=0)  # in one step, like the taking
        forks.pop()


def _after_fork_in_child() -> None:
    global _forking
    _forking = threading.RLock()
    for guard in list(_guards):  # their threads are the parent's
        guard._in_sqlite = threading.Lock()
    for held in _thread.forks:  # the locks are others now; the forks that this one interrupted go on in the child
        held.clear()
    if _thread.forks:
        _thread.forks.pop()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
