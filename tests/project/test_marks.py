"""The marks of the tests: a test that lacks one fails, so that `make quick` stays quick and needs no servers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import marks
import pytest
from processes.forking import context
from servers.registry import need


def _fork() -> None:
    if (child := os.fork()) == 0:
        os._exit(0)
    os.waitpid(child, 0)


def _spawn() -> None:
    child = context().Process(target=print)
    child.start()
    child.join()


@pytest.mark.parametrize(
    ("use", "wanted"),
    [
        pytest.param(lambda: subprocess.run([sys.executable, "-c", ""], check=True), "'process' or 'server'", id="run"),
        pytest.param(_fork, "'process' or 'server'", id="fork"),
        pytest.param(_spawn, "'process' or 'server'", id="spawn"),
        pytest.param(lambda: need("Redis", True, lambda: "0"), "'server'", id="server"),
        pytest.param(lambda: sum(range(10_000)), "'slow'", id="slow"),
    ],
)
def test_test_without_its_mark_fails(
    use: Callable[[], object],
    wanted: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The failure names the mark."""
    monkeypatch.setattr("servers.registry.TOOK_PART", {})
    monkeypatch.setattr(marks, "SLOW", 0 if wanted == "'slow'" else marks.SLOW)
    running = marks.watched(request.node)
    next(running)
    try:
        use()
        with pytest.raises(pytest.fail.Exception, match=f"mark it {wanted}"):
            running.send(None)
    finally:
        monkeypatch.undo()
        marks.forget()


def test_test_that_uses_nothing_needs_no_mark(request: pytest.FixtureRequest) -> None:
    """A test of the package alone passes without any."""
    running = marks.watched(request.node)
    next(running)

    with pytest.raises(StopIteration):
        running.send(None)
