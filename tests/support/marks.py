"""
Marks of tests: set by what a test is and uses, and asked for where one is forgotten.

``conformance`` is the shipped suite, whatever it runs on; ``server`` needs a server that `make servers` installs;
``process`` starts processes; ``slow`` takes more than a second. What follows from a test's class, fixtures or folder is
set here, the rest beside the test; a test that lacks a mark fails.
"""

from __future__ import annotations

import multiprocessing.process
import os
import subprocess
import time
from collections.abc import Callable, Generator, Iterable
from typing import Any

import pytest

from storage.testing import StoreConformance

__all__ = ["SERVER_FIXTURE", "SLOW", "forget", "mark", "note", "watch", "watched"]

#: What a fixture that starts a server asks for; a test that does so itself is marked by hand.
SERVER_FIXTURE = "uses_server"

#: Seconds of processor time after which a test must be marked ``slow``: several times what it takes on a quiet machine.
SLOW = 3.0

#: What the test that runs now has used: the marks of which it needs one, each with the reason.
_used: dict[tuple[str, ...], str] = {}


def mark(items: Iterable[pytest.Item]) -> None:
    """Set the marks that follow from a test's class and its fixtures."""
    for item in items:
        if issubclass(getattr(item, "cls", None) or object, StoreConformance):
            item.add_marker("conformance")
        if SERVER_FIXTURE in getattr(item, "fixturenames", ()):
            item.add_marker("server")
        if item.path.parent.name == "reliability":
            item.add_marker("slow")


def note(reason: str, *marks: str) -> None:
    """Note that the test which runs needs one of these marks."""
    _used[marks] = reason


def watch() -> None:
    """From now on note which processes are started."""
    os.register_at_fork(before=lambda: note("it forks", "process", "server"))
    for kind, method in ((subprocess.Popen, "__init__"), (multiprocessing.process.BaseProcess, "start")):
        setattr(kind, method, _noting(getattr(kind, method)))


def _noting(start: Callable[..., Any]) -> Callable[..., Any]:
    def noted(*args: Any, **options: Any) -> Any:
        note("it starts a process", "process", "server")
        return start(*args, **options)

    return noted


def watched(item: pytest.Item) -> Generator[None, object, object]:
    """Run a test, and let it fail if it lacks a mark."""
    began = time.process_time()
    result = yield
    if time.process_time() - began > SLOW:
        note(f"it computes for more than {SLOW} s", "slow", "server", "process", "conformance")
    for marks, reason in _used.items():
        if not any(item.get_closest_marker(name) for name in marks):
            pytest.fail(f"{reason}: mark it {' or '.join(map(repr, marks))}", pytrace=False)
    return result


def forget() -> None:
    """Forget what the last test has used."""
    _used.clear()
