"""What holds for all tests."""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from hypothesis import settings
from servers import NAMES, Servers

#: An example may take its time: a machine that is busy is no fault of the code.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """
    Keep the garbage collector from looking through the tests themselves, and often through what pytest keeps of each.

    They are a million objects, all of which stay; one look takes half a second, and came every few seconds.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        young, middle, _ = gc.get_threshold()
        gc.set_threshold(young, middle, 1000)
        gc.enable()


_TOOK_PART: set[str] = set()
_MISSING: set[str] = set()


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest) -> Iterator[Servers]:
    """Give the servers that are installed; each is started when it is first asked for, once in a process."""
    found = Servers()
    yield found
    found.close()
    _TOOK_PART.update(found.took_part)
    _MISSING.update(found.missing)
    if (output := getattr(request.config, "workeroutput", None)) is not None:  # of a worker of pytest-xdist
        output["servers"] = (sorted(found.took_part), sorted(found.missing))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Hear from a worker of pytest-xdist which servers it used."""
    took_part, missing = getattr(node, "workeroutput", {}).get("servers", ((), ()))
    _TOOK_PART.update(took_part)
    _MISSING.update(missing)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the servers that took part, and those that should have."""
    if _TOOK_PART or _MISSING:
        there = ", ".join(name for name in NAMES if name in _TOOK_PART) or "none"
        without = ", ".join(name for name in NAMES if name in _MISSING)
        missing = f"; not installed (make servers): {without}" if without else ""
        terminalreporter.write_line(f"servers that took part: {there}{missing}")
