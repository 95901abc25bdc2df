"""The page on architecture is true: the calls that it follows go through the functions that it names."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest
from paths import ROOT

from storage.sync import FilesystemStore, GzipStore

PAGE = ROOT / "docs" / "architecture.md"

#: A row of a table that names a function and its module.
_STEP = re.compile(r"^\| `([\w.]+)` \| `(storage/[\w/]+\.py)` \|", re.MULTILINE)


def steps(title: str) -> list[tuple[str, str]]:
    """Return the functions and modules that a section of the page names, in order."""
    section = PAGE.read_text(encoding="utf-8").partition(f"## {title}\n")[2].partition("\n## ")[0]
    return _STEP.findall(section)


def calls(function: Callable[[], object]) -> list[tuple[str, str]]:
    """Return the functions of the package that a call runs, with their modules, in order."""
    seen: list[tuple[str, str]] = []

    def note(frame: FrameType, event: str, argument: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(ROOT / "storage"):
            seen.append((frame.f_code.co_qualname, path.relative_to(ROOT).as_posix()))

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(before)
    return seen


@pytest.mark.parametrize(
    ("title", "call"),
    [
        ("The life of one put", lambda store: store.put("report", b"month,total\n")),
        ("The life of one get", lambda store: store.get("old")),
    ],
    ids=["put", "get"],
)
def test_life_of_a_call_is_what_the_page_says(title: str, call: Callable[[GzipStore], object], tmp_path: Path) -> None:
    """The functions of the page are called in its order, with others in between."""
    store = GzipStore(FilesystemStore(str(tmp_path)))
    store.put("old", b"an object")
    named, seen = steps(title), calls(lambda: call(store))
    rest = iter(seen)

    assert named
    assert [] == [step for step in named if step not in rest], seen
