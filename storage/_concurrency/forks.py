"""
`renew_after_fork`: objects that a forked child makes anew, because the parent's other threads do not exist in it; and
`PROCESS`, by which a call knows that it goes on in a child, and leaves alone what its parent made.

A child has a copy of its parent's memory at the moment of the fork, but only the thread that forked. So it may have
locks that no thread will release, tasks that never go on, and data that another thread had changed by half. Every
object of the package with a lock or with tasks of its own is registered here, and says what it is in a child.

There is no hook *before* a fork that waits for all locks. It would have to take the locks of many objects, whose order
it does not know, so that two threads could wait for each other; and in a signal handler it would wait for its own
thread. Instead, what the locks guard is such that it can be renewed without them.

The thread that forks may do so in the middle of a call: in an iterable that it puts, or in a signal handler. The call
goes on in both processes, and ends in both, often by the ``SystemExit`` of the child. Files, locks and uploads that the
call made before belong to the parent: whoever would remove them notes ``PROCESS.number`` first, and compares.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import ref

__all__ = ["PROCESS", "Renewable", "locks", "refuse_in_child", "renew_after_fork"]


class _Process:
    """
    This process.

    Attributes:
        number: how often a process was forked between the first one and this one: another number in a child than in its
            parent. To read it takes 10 ns, and ``os.getpid()`` 60 ns.
    """

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = 0


PROCESS = _Process()


def refuse_in_child(number: int, store: object = None) -> None:
    """
    Raise if this process was forked since ``PROCESS.number`` was *number*.

    Raises:
        StoreClosedError: it was: the call under way goes on in the parent only.
    """
    if number != PROCESS.number:
        from storage.errors import StoreClosedError

        raise StoreClosedError("the process was forked during this call, which goes on in the parent only", store=store)


class Renewable(Protocol):
    """An object that a forked child makes anew."""

    def _renew(self) -> None:
        """
        Be as new, in a child that was just forked: its only thread calls this, and no lock is needed.

        The thread may have forked inside a section of this object, in a signal handler, and then goes on in it.
        """
        ...


#: Weak references, which take themselves out. Every change and every copy is one step in C: while one thread looks at
#: the set, others add to it, and iterating it (or a ``WeakSet``, which does so in Python) would raise.
_locks: set[ref[Renewable]] = set()
_others: set[ref[Renewable]] = set()


def renew_after_fork(renewable: Renewable, *, lock: bool = False) -> None:
    """
    Call ``renewable._renew()`` in every child that is forked from now on, as long as the object lives.

    Locks come first, so that the others may use them.
    """
    registered = _locks if lock else _others
    registered.add(ref(renewable, registered.discard))


def locks() -> list[Renewable]:
    """Return all locks."""
    return _alive(_locks)


def _alive(registered: set[ref[Renewable]]) -> list[Renewable]:
    return [renewable for each in registered.copy() if (renewable := each()) is not None]


def _after_fork() -> None:
    PROCESS.number += 1
    for renewable in [*_alive(_locks), *_alive(_others)]:
        renewable._renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
