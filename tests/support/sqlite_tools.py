"""Helpers of the tests of `SqliteStore`."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from storage.stores.sqlite.schema import CHUNK

__all__ = ["LARGE", "locked", "run", "sql", "until"]

#: An object of this many bytes has three chunks, and one more in a stream is written in two transactions.
LARGE = 2 * CHUNK + 5


def sql(path: Path, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
    """Run a statement as another program would, and return its rows."""
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement, parameters).fetchall()


def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a program with all warnings shown: anything left open is reported on stderr."""
    program = "import asyncio, os, sys\nfrom storage import SqliteStore\n" + textwrap.dedent(code)
    command = [sys.executable, "-W", "default", "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the write lock, like a slow writer in another process."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


async def until(condition: Callable[[], object]) -> None:
    """Wait until a condition is true, which takes about a second."""
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
