"""Processes that are at work after milliseconds: a server forks them, with everything imported already."""

from __future__ import annotations

import functools
import multiprocessing
import os
import sys
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext

__all__ = ["context"]

#: What the server imports: the stacks with all their stores, and what these import when they are first used.
PRELOADED = [
    "processes.workers",
    "aiosqlite",
    "anyio",
    "storage.stores.sqlite.store",
    "storage.stores.zip.store",
    "storage.functions.update",
]


@functools.cache
def context() -> ForkServerContext:
    """Return what makes such processes; the server starts with the first call."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(PRELOADED)
    # The server knows this process's modules by its environment only, and is silent about those that it cannot find.
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    try:
        forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
    return made
