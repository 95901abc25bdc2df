"""The command line of the tools that write generated files."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = ["run"]


def run(arguments: Sequence[str], texts: Callable[[], dict[Path, str]]) -> int:
    """
    Write the generated files; with ``--check`` only print the names of those that are stale, and return 1.

    Args:
        arguments: the arguments of the command line.
        texts: returns the path of each file, and the text that it should have.
    """
    stale = {
        path: text for path, text in texts().items() if not path.exists() or path.read_text(encoding="utf-8") != text
    }
    if "--check" not in arguments:
        for path, text in stale.items():
            path.write_text(text, encoding="utf-8")
        return 0
    for path in stale:
        print(f"{os.path.relpath(path)} is stale: run `make generated` and commit what it writes", file=sys.stderr)
    return int(bool(stale))
