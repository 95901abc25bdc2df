"""What the tools that write generated files have in common: their command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = ["run"]


def run(arguments: Sequence[str], texts: Callable[[], dict[Path, str]]) -> int:
    """
    Write the generated files, or with ``--check`` return 1 and print their names when they are stale.

    Args:
        arguments: those of the command line.
        texts: returns each file's path, and what the file should be.
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
