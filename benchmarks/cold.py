"""Files that are not in the page cache: how long the event loop is blocked while they are read."""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
import time
from collections.abc import Awaitable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from typing import Any

from benchmarks.contenders import CONTENDERS, Contender, Place
from benchmarks.harness import Comparison, Measures, Plan, Workload
from benchmarks.report import size_name
from benchmarks.session import Session
from benchmarks.targets import within

__all__ = ["cold_large_reads", "cold_small_reads"]

TASKS = 16

#: The longest time that the loop may be blocked, in seconds.
BLOCKED = 0.002


class Stillness:
    """
    Measures how long a loop's callbacks take: while one runs, the loop does nothing else.

    The time in which this thread waits for a processor is subtracted, if the kernel reports it.
    """

    def __init__(self) -> None:
        self._longest = 0.0
        try:
            self._waits = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)
        except OSError:
            self._waits = -1

    def close(self) -> None:
        """Close the kernel's statistics."""
        if self._waits >= 0:
            os.close(self._waits)

    async def during(self, work: Awaitable[object]) -> float:
        """Await the work and return the longest time of a callback in seconds."""
        handles: Any = asyncio.Handle
        plain = handles._run

        def run(handle: asyncio.Handle) -> None:
            began = self._now()
            plain(handle)
            self._longest = max(self._longest, self._now() - began)

        handles._run = run
        try:
            await asyncio.sleep(0)  # measure from the next callback on
            self._longest = 0.0
            await work
        finally:
            handles._run = plain
        return self._longest

    def _now(self) -> float:
        """Return the seconds in which this thread ran or waited for anything but a processor."""
        waited = int(os.pread(self._waits, 100, 0).split()[1]) * 1e-9 if self._waits >= 0 else 0.0
        return time.perf_counter() - waited


def _forgotten(paths: list[str]) -> None:
    """Let the kernel drop the files from its page cache."""
    for path in paths:
        file = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(file)


def _workload(contender: Contender, session: Session, opened: ExitStack, root: str, keys: list[str]) -> Workload:
    calls = opened.enter_context(contender.entered(session, "asyncio", Place(root, None, TASKS)))
    still = opened.enter_context(closing(Stillness()))

    async def read(rest: Iterator[str]) -> None:
        for key in rest:
            await calls.get(key)

    async def read_all() -> None:
        rest = iter(keys)
        async with asyncio.TaskGroup() as group:
            for _ in range(TASKS):
                group.create_task(read(rest))

    async def work(count: int) -> Measures:
        began, busy = time.perf_counter(), time.process_time()
        blocked = await still.during(asyncio.create_task(read_all()))
        took = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - busy}
        return {**{name: value / count for name, value in took.items()}, "blocked": blocked, "worst": blocked}

    paths = [f"{root}/{key}" for key in keys]
    return Workload(
        work=work, step=len(keys), before=lambda: _forgotten(paths), less=contender.less, limit=contender.limit
    )


@contextmanager
def _comparison(title: str, size: int, count: int, session: Session) -> Iterator[Comparison]:
    if not hasattr(os, "posix_fadvise"):
        yield Comparison(title=title, contenders={}, ours=frozenset(), missing=("posix_fadvise",))
        return
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as root, ExitStack() as opened:
        keys = [f"{number:03}" for number in range(count)]
        for key in keys:
            with open(f"{root}/{key}", "wb") as file:
                file.write(os.urandom(size))
                os.fsync(file.fileno())  # only data that is on the disk is dropped
        found = [each for each in CONTENDERS if (each.kind, each.face) == ("file", "await")]
        yield Comparison(
            title=title,
            contenders={each.name: _workload(each, session, opened, root, keys) for each in found if not each.missing},
            ours=frozenset(each.name for each in found if each.ours),
            targets=(within(f"cold reads, {size_name(size)}: the loop is never blocked longer", "blocked", BLOCKED),),
            missing=tuple(package for each in found for package in each.missing),
        )


def cold_small_reads(session: Session, plan: Plan) -> AbstractContextManager[Comparison]:
    """Files of 4 KiB, in 16 tasks."""
    return _comparison("file cold get, 4KiB, 16 tasks", 4 << 10, 32 if plan.quick else 400, session)


def cold_large_reads(session: Session, plan: Plan) -> AbstractContextManager[Comparison]:
    """Files of 1 MiB, in 16 tasks."""
    return _comparison("file cold get, 1MiB, 16 tasks", 1 << 20, 16 if plan.quick else 32, session)
