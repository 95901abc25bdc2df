"""The demonstration finds the files it should, and would notice a wrong byte."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

from storage import DictStore

pytest.importorskip("rich")
from benchmarks import demo


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small tree with what the demonstration leaves out, and a file too large to be handled whole."""
    tree = tmp_path / "tree"
    for name in ["a.py", "package/b.py", "package/__pycache__/b.pyc", "site-packages/c.py"]:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(name.encode() * 100)
    (tree / "large").write_bytes(bytes(3 << 20))
    (tree / "empty").touch()
    (tree / "link").symlink_to("a.py")
    return tree


@pytest.mark.process
def test_demo_runs_plainly_and_removes_what_it_made(tree: Path, tmp_path: Path) -> None:
    """Without a terminal there are no bars and no escape codes."""
    work = tmp_path / "work"
    work.mkdir()

    command = [sys.executable, "-m", "benchmarks.demo", str(tree)]
    result = subprocess.run(
        command, cwd=ROOT, env={"PATH": "", "TMPDIR": str(work)}, capture_output=True, text=True, check=False
    )

    assert (0, "") == (result.returncode, result.stderr)
    assert result.stdout.startswith(f"4 files of {tree}\n")
    assert result.stdout.endswith("every object came back byte for byte (SHA-256)\n")
    assert "\x1b" not in result.stdout
    assert [] == list(work.iterdir())


async def test_wrong_missing_and_additional_objects_are_differences(tree: Path) -> None:
    """Each is named once, with the copy that it is wrong in."""
    expected = demo.originals(tree)
    store = DictStore()
    for key in expected:
        await store.put(key, (tree / key).read_bytes())
    await store.put("a.py", b"wrong")
    await store.delete("empty")
    await store.put("more", b"")

    report = demo.Report(len(expected))
    with report.stage("read back") as stage:
        found = await demo.checksums(store, stage)

    assert ["copy: a.py", "copy: empty", "copy: more"] == demo.differences("copy", expected, found)
