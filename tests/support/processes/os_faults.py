"""Objects and checks of the tests in which the operating system fails a store."""

from __future__ import annotations

import random
from pathlib import Path

from processes.victims import Victim

__all__ = ["LARGE", "NEW", "OLD", "at_work", "files"]

OLD, NEW = b"old" * 3000, b"new" * 4000

#: More than SQLite keeps in a row, and than fits where there is little room; it cannot be compressed.
LARGE = random.Random(1).randbytes(2_000_000)


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file() and path.suffix not in (".db-wal", ".db-shm"))


def at_work(process: Victim, root: Path) -> None:
    """Assert that the store works as if nothing had been."""
    assert isinstance(process.call("put", "d/k", NEW, attributes={"a": "c"}), str)
    assert NEW == process.call("get", "d/k")
    assert isinstance(process.call("put", "d/l", NEW), str)
    assert ["d/k", "d/l"] == process.call("keys")
    assert process.call("delete", "d/l") is None
