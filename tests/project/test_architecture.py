"""The page on architecture is true: the calls that it follows go through the functions that it names."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

PAGE = ROOT / "docs" / "architecture.md"

#: A row of a table that names a function and its module.
_STEP = re.compile(r"^\| `([\w.]+)` \| `(storage/[\w/]+\.py)` \|", re.MULTILINE)


def steps(title: str) -> list[tuple[str, str]]:
    """Return the functions and modules that a section of the page names, in order."""
    section = PAGE.read_text(encoding="utf-8").partition(f"## {title}\n")[2].partition("\n## ")[0]
    return _STEP.findall(section)


#: Makes a call and prints the functions of the package that it runs, with their modules, in order. In a process of its
#: own, because a profiler in one that has run other tests does not see every call (CPython 3.13).
_PROGRAM = """
import json, sys
from pathlib import Path
from storage.sync import FilesystemStore, GzipStore

package, directory, call = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
seen = []

def note(frame, event, argument):
    path = Path(frame.f_code.co_filename)
    if event == "call" and path.is_relative_to(package):
        seen.append((frame.f_code.co_qualname, path.relative_to(package.parent).as_posix()))

store = GzipStore(FilesystemStore(directory))
store.put("old", b"an object")
sys.setprofile(note)
store.put("report", b"month,total\\n") if call == "put" else store.get("old")
sys.setprofile(None)
print(json.dumps(seen))
"""


@pytest.mark.process
@pytest.mark.parametrize("call", ["put", "get"])
def test_life_of_a_call_is_what_the_page_says(call: str, tmp_path: Path) -> None:
    """The functions of the page are called in its order, with others in between."""
    command = [sys.executable, "-c", _PROGRAM, str(ROOT / "storage"), str(tmp_path), call]
    seen = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout)
    named = steps(f"The life of one {call}")
    rest = iter(seen)

    assert named
    assert [] == [step for step in named if list(step) not in rest], seen
