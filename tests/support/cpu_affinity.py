"""The processors that the threads of a test run on."""

from __future__ import annotations

import os
from contextlib import suppress

__all__ = ["share_all", "take_turns"]

#: Those that this process was given, by their numbers; empty where that cannot be told, nor changed.
ALL: set[int] = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()

#: The one to take turns on: each worker of pytest-xdist, gw0, gw1, ... has another one.
OWN = {sorted(ALL)[int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % len(ALL)]} if ALL else set[int]()

_now = ALL


def take_turns() -> None:
    """
    Let the threads of this process run on one processor.

    What they mostly do is hand calls on to each other. That takes a third less time when none has to be woken on
    another processor, and to wait there for the interpreter's lock.
    """
    _run_on(OWN)


def share_all() -> None:
    """Let threads run on all processors, in parallel."""
    _run_on(ALL)


def _run_on(processors: set[int]) -> None:
    global _now
    if processors != _now:
        for thread in os.listdir("/proc/self/task"):
            with suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread), processors)
        _now = processors
