"""A deep stack that is used for a long time holds no more resources at the end than at the beginning."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from paths import SUPPORT

pytestmark = pytest.mark.process

#: Seconds that it is used; STORAGE_SOAK=1800 makes it half an hour.
SECONDS = float(os.environ.get("STORAGE_SOAK", "60"))

#: Bytes that the memory may differ by between two times: what the allocator keeps, and objects that are on their way.
SLACK = 16 << 20

#: Descriptors and tasks likewise: those of the operations that are under way when they are counted.
UNDER_WAY = 60


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="what a process holds is read from Linux's /proc")
@pytest.mark.timeout(SECONDS + 120)
def test_nothing_grows(tmp_path: Path) -> None:
    """Memory, descriptors, threads and tasks do not grow, nothing fails, and closing releases everything."""
    program = [
        sys.executable,
        "-W",
        "error",
        str(SUPPORT / "processes" / "soak_program.py"),
        str(SECONDS),
        str(tmp_path),
    ]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    before, *samples, closed = json.loads(done.stdout)
    quarter = len(samples) // 4
    early, late = samples[quarter : 2 * quarter], samples[-quarter:]

    def of(part: list[dict[str, int]], what: str) -> float:
        return statistics.median(sample[what] for sample in part)

    assert 0 == closed["failures"], done.stderr
    assert of(late, "memory") <= 1.1 * of(early, "memory") + SLACK
    assert of(late, "descriptors") <= of(early, "descriptors") + UNDER_WAY
    assert of(late, "threads") <= max(sample["threads"] for sample in early)
    assert of(late, "tasks") <= of(early, "tasks") + UNDER_WAY
    assert before["tasks"] == closed["tasks"]
    assert before["descriptors"] == closed["descriptors"]
    print(f"{closed['operations']} operations in {SECONDS:g} s")
