"""
The README and the pages of docs/ are true: every ``python`` block runs, and prints what the block behind it says.

The blocks of a page are run in order, in one namespace and an empty directory, with ``await`` at the top level as in
``python -m asyncio``. A block marked ``output`` is what the one before it prints. One marked ``yaml``, whose
first line is a comment with a file's name, is that file.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import gc
import inspect
import io
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from paths import ROOT
from servers.redis import redis_server

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
INDEXES = [page for page in PAGES[1:] if page.name == "README.md"]

_BLOCK = re.compile(
    r"^```python\n(?P<code>.*?)^```\n(?:\n*^```output\n(?P<output>.*?)^```\n)?", re.MULTILINE | re.DOTALL
)
_FILE = re.compile(r"^```ya?ml\n(?P<text># (?P<name>\S+\.yaml)\n.*?)^```\n", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#]*)(?:#([^)]*))?\)")
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)

#: Files and folders of the project that a page names, and pages that the code names.
_PATH = re.compile(r"`((?:storage|tests|benchmarks|docs)/[\w/.-]+)`")
_PAGE = re.compile(r"\bdocs/[\w/-]+\.md\b")


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


class Block(NamedTuple):
    """One example: its first line's number in the page, its text, and what it prints where the page says so."""

    line: int
    code: str
    output: str | None


def blocks(page: Path) -> Iterator[Block]:
    """Yield the examples of a page."""
    text = page.read_text()
    for match in _BLOCK.finditer(text):
        yield Block(text.count("\n", 0, match.start("code")), match["code"], match["output"])


def run(page: Path, block: Block, runner: asyncio.Runner, namespace: dict[str, Any]) -> str:
    """Run one example and return what it printed; a traceback shows the page's own lines."""
    tree = ast.increment_lineno(ast.parse(block.code, str(page)), block.line)
    code = compile(tree, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        if code.co_flags & inspect.CO_COROUTINE:
            runner.run(_awaited(code, namespace))
        else:
            exec(code, namespace)
    return printed.getvalue()


async def _awaited(code: Any, namespace: dict[str, Any]) -> None:
    await eval(code, namespace)


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=pytest.mark.server if page.name in ("redis.md", "s3.md") else (), id=_name(page))
        for page in PAGES
    ],
)
def test_examples_of_a_page_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Warnings are errors, also those of what is left open."""
    if page.name == "s3.md":
        monkeypatch.setenv("S3_URL", request.getfixturevalue("servers").get("ministack").url)
    with contextlib.ExitStack() as servers:
        if page.name == "redis.md":
            monkeypatch.setenv("REDIS_URL", servers.enter_context(redis_server()).url)
        _run_page(page, tmp_path, monkeypatch)


def _run_page(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for file in _FILE.finditer(page.read_text()):
        (tmp_path / file["name"]).write_text(file["text"])

    with asyncio.Runner() as runner:
        for block in blocks(page):
            printed = run(page, block, runner, namespace)

            if block.output is not None:
                assert block.output == printed, f"{_name(page)}:{block.line}"

    namespace.clear()
    gc.collect()


@pytest.mark.process
def test_the_suite_judges_a_store_as_the_page_on_extending_says(tmp_path: Path) -> None:
    """The page's store and the page's test class are saved as a file and handed to pytest."""
    examples = [block.code for block in blocks(ROOT / "docs" / "extending.md")]
    saved = [code for code in examples if re.search("^class (Test)?ShelfStore", code, re.MULTILINE)]
    (tmp_path / "test_shelf.py").write_text("\n\n".join(saved))

    command = [sys.executable, "-m", "pytest", "-q", "-o", "asyncio_mode=auto", "test_shelf.py"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert 2 == len(saved)
    assert 0 == result.returncode, result.stdout


def test_proofs_of_the_guarantees_are_there() -> None:
    """Every test that the page names is one."""
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "guarantees.md").read_text()))
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))

    assert named
    assert set() == {name for name in named if f"def {name}(" not in tests}


@pytest.mark.parametrize("index", INDEXES, ids=_name)
def test_every_page_has_an_entry_in_the_index_of_its_folder(index: Path) -> None:
    """A page that nothing leads to is not read."""
    pages = {*index.parent.glob("*.md"), *index.parent.glob("*/README.md")} - {index}
    linked = {(index.parent / link).resolve() for link, _ in _LINK.findall(index.read_text())}

    assert set() == pages - linked


def test_every_folder_has_an_index() -> None:
    """The test above looks at indexes only."""
    assert {page.parent for page in PAGES} - {ROOT} == {index.parent for index in INDEXES}


def anchors(page: Path) -> set[str]:
    """Return the names by which links reach the headings of a page."""
    headings = _HEADING.findall(_FENCED.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, *(page for page in ROOT.glob("*.md") if page not in PAGES)], ids=_name)
def test_links_within_the_project_lead_somewhere(page: Path) -> None:
    """Pages, headings, files and folders that a page names are there."""
    text = page.read_text()
    for link, anchor in _LINK.findall(_FENCED.sub("", text)):
        target = page.parent / link if link else page

        assert target.exists(), link
        assert not anchor or anchor in anchors(target), f"{link}#{anchor}"

    assert [] == [path for path in _PATH.findall(text) if not (ROOT / path).exists()]


def test_pages_that_the_code_names_are_there() -> None:
    """A reader of the code finds what it refers to."""
    named = {
        (path.relative_to(ROOT).as_posix(), page)
        for folder in ("storage", "tests", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        for page in _PAGE.findall(path.read_text())
    }

    assert named
    assert set() == {(path, page) for path, page in named if not (ROOT / page).exists()}
