"""What holds for all tests."""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterator
from itertools import count
from typing import Any

import marks
import pytest
from hypothesis import settings
from servers.registry import MISSING, NAMES, TOOK_PART
from servers.s3 import Servers
from servers.tls import Certificate, make_certificate
from stack_choice import CHOICES, DEFAULT

#: An example may take its time: a machine that is busy is no fault of the code.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


#: Counts the tests of this process.
_begun = count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that chooses the stacks of the suite."""
    parser.addoption("--stacks", choices=CHOICES, default=DEFAULT, help="the stacks that the suite runs on")


def pytest_configure() -> None:
    """Begin to note what tests use."""
    marks.watch()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Set the marks that follow from what a test is and uses."""
    marks.mark(items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, object, object]:
    """Forget what the test before has used; now and then leave what pytest keeps of those before to no later look."""
    marks.forget()
    if next(_begun) % 500 == 0:
        gc.collect()
        gc.freeze()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Let a test fail that lacks a mark."""
    return (yield from marks.watched(item))


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


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Give what servers on loopback show to those who want TLS; also where the tests' bucket is a host."""
    return make_certificate(tmp_path_factory.mktemp("certificate"), "bucket.localhost")


@pytest.fixture(scope="session")
def uses_server() -> None:
    """Mark tests: whatever fixture starts a server asks for this one."""


@pytest.fixture(scope="session")
def servers(certificate: Certificate, uses_server: None) -> Iterator[Servers]:
    """Give the S3 servers that are installed; each is started when it is first asked for, once in a process."""
    found = Servers(certificate)
    yield found
    found.close()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let a worker of pytest-xdist say which servers it used."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["servers"] = (TOOK_PART, sorted(MISSING))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Hear from a worker which servers it used."""
    took_part, missing = getattr(node, "workeroutput", {}).get("servers", ({}, ()))
    TOOK_PART.update(took_part)
    MISSING.update(missing)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the servers that took part, with their versions, and those that did not."""
    if not TOOK_PART and not MISSING:
        return
    groups = {
        "took part": [f"{name} {TOOK_PART[name]}" for name in NAMES if name in TOOK_PART],
        "not installed (make servers)": [name for name in NAMES if name in MISSING],
        "asked for by no test": [name for name in NAMES if name not in TOOK_PART and name not in MISSING],
    }
    said = "; ".join(f"{what}: {', '.join(names)}" for what, names in groups.items() if names)
    terminalreporter.write_line(f"servers: {said}")
