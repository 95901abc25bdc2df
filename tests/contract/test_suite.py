"""The suite itself: it finds wrong stores, and runs as its page says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from paths import SUPPORT

pytestmark = pytest.mark.process

STORE = """
from collections.abc import AsyncIterator
import {fixtures}
import pytest
import storage.testing
from storage import DictStore

class TestMine(storage.testing.StoreConformance):
    @{fixtures}.fixture
    async def store(self):
        async with DictStore() as store:
            yield store
"""


INI = """
[pytest]
asyncio_mode = {mode}
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""


def run(*arguments: str, directory: Path) -> str:
    """Run pytest in a process of its own and return what it printed."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "-q", *arguments]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False).stdout


def test_every_wrong_store_is_found() -> None:
    """For each store that is wrong in one way, the test that must find it fails."""
    from wrong_stores.suite_must_fail import WRONG

    chosen = [f"suite_must_fail.py::Test{name}::{kind.found_by}" for name, kind in WRONG.items()]
    printed = run("--tb=no", "-rf", *chosen, directory=SUPPORT / "wrong_stores")

    found = set(re.findall(r"^FAILED \S*suite_must_fail\.py::Test(\w+)::", printed, re.MULTILINE))
    assert set(WRONG) == found, printed


@pytest.mark.parametrize(("mode", "fixtures"), [("auto", "pytest"), ("strict", "pytest_asyncio")])
def test_suite_runs_in_a_project_of_its_own(tmp_path: Path, mode: str, fixtures: str) -> None:
    """The suite passes in another project, with warnings as errors, in both modes of pytest-asyncio."""
    (tmp_path / "test_mine.py").write_text(STORE.format(fixtures=fixtures))
    (tmp_path / "pytest.ini").write_text(INI.format(mode=mode))

    last = run("--strict-markers", directory=tmp_path).strip().splitlines()[-1]

    assert re.fullmatch(r"\d{3} passed, \d+ skipped in .*", last), last


def test_failing_assertion_is_explained(tmp_path: Path) -> None:
    """A failing test of the suite shows both sides of its assert, although it is not in the user's files."""
    wrong = STORE.format(fixtures="pytest") + "\n    async def raw(self, store, key): return b'odd'\n"
    (tmp_path / "test_mine.py").write_text(wrong)

    printed = run("-o", "asyncio_mode=auto", "-k", "test_put_stores_the_bytes", directory=tmp_path)

    assert r"== b'odd'" in printed
