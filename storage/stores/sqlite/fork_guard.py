"""
`ForkGuard`: no fork while a thread is in SQLite.

SQLite has locks of its own. A child that is forked while another thread holds one inherits it locked, and hangs when it
opens a database: that happened after 1 to 2 of 100 forks right after a put, on a busy machine. So a fork waits until
the threads of all connections are out of SQLite, but no longer than `LONGEST_WAIT`.

Plain locks do: only the threads of connections take a guard's, where no signal handler runs and a finalizer's calls are
refused (`Mode.is_awaited`), and a thread that forks, which does not wait for itself.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar
from weakref import WeakSet

__all__ = ["ForkGuard"]

P = ParamSpec("P")
T = TypeVar("T")

#: Seconds that a fork waits for all connections together. Then it goes on, and the child may hang if it uses SQLite.
LONGEST_WAIT = 5.0

#: Seconds after which a fork interrupts the statement that is running; its connection runs it again after the fork.
PATIENCE = 0.5


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
        while _forking.locked():
            self._in_sqlite.release()
            time.sleep(0.001)
            self._in_sqlite.acquire()


_guards: WeakSet[ForkGuard] = WeakSet()
_forking = threading.Lock()  # one fork at a time has the guards
_forking_thread = 0  # the number of the thread that has the lock
_nested = 0  # forks in signal handlers that interrupt this one: they go on without the guards that it does not have yet
_held: list[threading.Lock] = []


def _before_fork() -> None:
    global _forking_thread, _nested
    if _forking_thread == threading.get_ident():
        _nested += 1
        return
    _forking.acquire()
    _forking_thread = threading.get_ident()
    end = time.monotonic() + LONGEST_WAIT
    for guard in list(_guards):
        lock = guard._in_sqlite
        if not lock.acquire(timeout=PATIENCE):
            guard._interrupt()
            if not lock.acquire(timeout=max(0.0, end - time.monotonic())):
                continue
        _held.append(lock)


def _after_fork_in_parent() -> None:
    global _forking_thread, _nested
    if _nested:
        _nested -= 1
        return
    while _held:
        _held.pop().release()
    _forking_thread = 0
    if _forking.locked():  # not in the child of a nested fork, which then forks itself
        _forking.release()


def _after_fork_in_child() -> None:
    global _forking, _forking_thread, _nested
    _forking = threading.Lock()
    _forking_thread = _nested = 0
    _held.clear()
    for guard in list(_guards):  # their threads are the parent's
        guard._in_sqlite = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
