"""Group commit, and its twin for reads: what arrives while the connection is at work is done together next."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable
from copy import copy
from typing import Any, Generic, TypeAlias, TypeVar

from storage.errors import StorageError
from storage.offload import settled
from storage.stores.sqlite_connection import Connection
from storage.stores.sqlite_rows import find

__all__ = ["Batches", "Job", "Work", "Writer", "commit", "finder"]

Q = TypeVar("Q")
R = TypeVar("R")

#: Jobs in one batch: enough that a commit's cost is shared, few enough that SQLite takes a batch's keys as parameters.
JOBS = 256

#: Bytes after which a batch takes no more jobs: how long a transaction keeps other writers out (some 50 ms).
WEIGHT = 8 << 20


class Job(Generic[Q, R]):
    """A request on its way through a batch: the thread leaves a result or an error, the loop hands it over."""

    __slots__ = ("error", "future", "request", "result", "running", "weight", "withdrawn")

    def __init__(self, request: Q, weight: int, future: asyncio.Future[R]) -> None:
        self.request: Q = request
        self.weight: int = weight
        self.future: asyncio.Future[R] = future
        self.running: bool = False
        self.withdrawn: bool = False
        self.result: R | None = None
        self.error: BaseException | None = None


class Batches(Generic[Q, R]):
    """
    Runs requests through ``execute(db, jobs)`` on the connection's thread, one batch at a time.

    A request never joins a batch that is running. One that is cancelled while it waits is withdrawn; one that is being
    executed is waited for before the cancellation is raised.
    """

    def __init__(self, connection: Connection, execute: Callable[[sqlite3.Connection, list[Job[Q, R]]], None]) -> None:
        self._connection = connection
        self._execute = execute
        self._waiting: deque[Job[Q, R]] = deque()
        self._draining: asyncio.Task[None] | None = None

    async def run(self, request: Q, weight: int = 0) -> R:
        """
        Return what *request* gives.

        Args:
            request: what `execute` understands.
            weight: bytes that it writes.
        """
        job: Job[Q, R] = Job(request, weight, asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        if self._draining is None or self._draining.done():
            self._draining = asyncio.create_task(self._drain())
        try:
            return await job.future
        except asyncio.CancelledError:
            job.withdrawn = True
            if job.running:
                job.future = asyncio.get_running_loop().create_future()
                await settled(job.future)
            raise

    async def drained(self) -> None:
        """Return when nothing waits any more."""
        if self._draining is not None:
            await settled(self._draining)

    async def _drain(self) -> None:
        while batch := self._take():
            failure: BaseException | None = None
            try:
                await self._connection.run(self._execute, batch)
            except asyncio.CancelledError:
                pass  # asyncio.run is ending: the thread is done all the same, and its callers are told so
            except Exception as error:
                failure = error
            for job in batch:
                self._hand_over(job, failure)

    def _take(self) -> list[Job[Q, R]]:
        batch: list[Job[Q, R]] = []
        weight = 0
        while self._waiting and len(batch) < JOBS and weight < WEIGHT:
            job = self._waiting.popleft()
            if not job.withdrawn:
                job.running = True
                weight += job.weight
                batch.append(job)
        return batch

    def _hand_over(self, job: Job[Q, R], failure: BaseException | None) -> None:
        job.running = False
        if job.future.done():
            return  # cancelled in this very turn of the loop
        if failure is not None:  # of the whole batch, but each caller may say in it which key is meant
            error = copy(failure)
            error.__cause__ = failure.__cause__
            job.future.set_exception(error)
        elif job.error is not None:
            job.future.set_exception(self._connection.mapped(job.error))
        else:
            job.future.set_result(job.result)  # type: ignore[arg-type]  # a job without an error has its result


Work: TypeAlias = Callable[[sqlite3.Connection], Any]
"""What a writer is asked to do inside a transaction."""

Writer: TypeAlias = Batches[Work, Any]


def commit(db: sqlite3.Connection, jobs: list[Job[Work, Any]]) -> None:
    """
    Run every request in one transaction, in order.

    A request refuses (a condition that does not hold) by a `StorageError`, before it has written anything. Any other
    error undoes the whole transaction; then each is run in one of its own, so that the innocent succeed.
    """
    try:
        db.execute("BEGIN IMMEDIATE")
    except sqlite3.Error as error:
        for job in jobs:
            job.error = error
        return
    try:
        for job in jobs:
            job.error = None
            try:
                job.result = job.request(db)
            except StorageError as refusal:
                job.error = refusal
        db.execute("COMMIT")
    except Exception as error:
        if db.in_transaction:
            db.execute("ROLLBACK")
        if len(jobs) == 1:
            jobs[0].error = error
        else:
            for job in jobs:
                commit(db, [job])


def finder(columns: str) -> Callable[[sqlite3.Connection, list[Job[bytes, tuple[Any, ...] | None]]], None]:
    """Return what answers requests for keys in one query; each job's result is its row of *columns*, or None."""

    def answer(db: sqlite3.Connection, jobs: list[Job[bytes, tuple[Any, ...] | None]]) -> None:
        found = find(db, columns, {job.request for job in jobs})
        for job in jobs:
            job.result = found.get(job.request)

    return answer
