"""Group commit, also for reads: requests that arrive while a batch is running make up the next batch."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Generic, TypeAlias, TypeVar

from storage._concurrency.offload import settled
from storage.errors import StorageError
from storage.stores.sqlite import statements
from storage.stores.sqlite.connection import Connection, Interrupted
from storage.stores.sqlite.database_files import DatabaseFiles
from storage.stores.sqlite.errors import copy_error, is_busy, is_interrupt

__all__ = [
    "MAX_BYTES",
    "MAX_REQUESTS",
    "GroupCommit",
    "Lookup",
    "Work",
    "Writer",
    "commit",
    "commit_checked",
]

Q = TypeVar("Q")
R = TypeVar("R")

#: Requests in one batch: enough to share the cost of a commit, and few enough for SQLite to take their keys as
#: parameters.
MAX_REQUESTS = 256

#: Bytes after which a batch takes no more requests: so a transaction blocks other writers for about 50 ms.
MAX_BYTES = 8 << 20


class GroupCommit(Generic[Q, R]):
    """
    Runs requests with ``execute(db, requests)`` on the connection's thread, one batch at a time.

    A request never joins a batch that is running. A request that is cancelled while it waits is withdrawn; one that is
    running is finished before the cancellation is raised, or interrupted if it takes long (`Connection.settle`). Then
    the others of its batch run one by one.

    Args:
        connection: the connection on whose thread they run.
        execute: returns for each request its result, or its error as an exception object.
        after_batch: called on the event loop after each batch.
    """

    def __init__(
        self,
        connection: Connection,
        execute: Callable[[sqlite3.Connection, list[Q]], Sequence[R | BaseException]],
        after_batch: Callable[[], object] = lambda: None,
    ) -> None:
        self._connection = connection
        self._execute = execute
        self._after_batch = after_batch
        self._waiting: deque[tuple[asyncio.Future[R], Q, int]] = deque()
        self._running: list[asyncio.Future[R]] = []
        self._cancelled_callers: list[asyncio.Future[None]] = []  # they wait for the end of the batch
        self._busy = False
        self._one_by_one = 0  # so many of those that wait were in a batch that was interrupted
        self._last_was_single = False  # whether the last batch had one request
        self._drain_task: asyncio.Task[None] | None = None

    async def run(self, request: Q, size: int = 0) -> R:
        """
        Return the result of *request*.

        Args:
            request: one that `execute` takes.
            size: the bytes that it writes.
        """
        if self._last_was_single and not self._busy:
            return await self._run_alone(request)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self._waiting.append((future, request, size))
        if not self._busy:
            self._start_draining()
        try:
            return await future
        except asyncio.CancelledError:
            if future in self._running:
                batch_over: asyncio.Future[None] = loop.create_future()
                self._cancelled_callers.append(batch_over)
                await self._connection.settle(batch_over)
            raise

    async def wait_idle(self) -> None:
        """Wait until no request is running or waiting."""
        while self._busy:
            await self._connection.run(_nothing)  # a request that runs alone was there before
            if self._drain_task is not None:
                await settled(self._drain_task)

    async def _run_alone(self, request: Q) -> R:
        """
        Run a request in its caller's own task, which saves a turn of the event loop.

        This is done only if the last batch had one request. Else the first of many concurrent requests would run alone.
        """
        self._busy = True
        try:
            (result,) = await self._connection.run(self._execute, [request])
        finally:
            self._after_batch()
            self._busy = False
            if self._waiting:
                self._start_draining()
        if isinstance(result, BaseException):
            raise self._connection.mapped(result)
        return result

    def _start_draining(self) -> None:
        self._busy = True
        self._drain_task = asyncio.create_task(self._drain())

    async def _drain(self) -> None:
        try:
            while requests := self._next_batch():
                results: list[R | BaseException] = []
                try:
                    await self._connection.attempt(self._execute_into, requests, results)
                except Interrupted:
                    self._put_back(requests)
                    continue
                except asyncio.CancelledError:
                    pass  # asyncio.run is ending: the thread has finished, and the callers get their results
                except Exception as failure:
                    results = [copy_error(failure) for _ in requests]
                self._deliver(results)
                self._after_batch()
        finally:
            self._busy = False

    def _put_back(self, requests: list[Q]) -> None:
        """Let the requests of a batch that was interrupted wait again, but for those that were cancelled."""
        running, self._running = self._running, []
        again = [(future, request, 0) for future, request in zip(running, requests, strict=True) if not future.done()]
        self._waiting.extendleft(reversed(again))
        self._one_by_one = len(again)
        self._release_cancelled()

    def _execute_into(self, db: sqlite3.Connection, requests: list[Q], results: list[R | BaseException]) -> None:
        results += self._execute(db, requests)

    def _next_batch(self) -> list[Q]:
        requests: list[Q] = []
        size = 0
        most = MAX_REQUESTS
        if self._one_by_one:
            self._one_by_one -= 1
            most = 1
        while self._waiting and len(requests) < most and size < MAX_BYTES:
            future, request, request_size = self._waiting.popleft()
            if not future.done():  # else it was cancelled
                self._running.append(future)
                requests.append(request)
                size += request_size
        if requests:
            self._last_was_single = len(requests) == 1
        return requests

    def _deliver(self, results: list[R | BaseException]) -> None:
        running, self._running = self._running, []
        for future, result in zip(running, results, strict=True):
            if future.done():
                continue  # cancelled
            if isinstance(result, BaseException):
                future.set_exception(self._connection.mapped(result))
            else:
                future.set_result(result)
        self._release_cancelled()

    def _release_cancelled(self) -> None:
        cancelled, self._cancelled_callers = self._cancelled_callers, []
        for caller in cancelled:
            caller.set_result(None)


def _nothing(db: sqlite3.Connection) -> None:
    """Do nothing, on the connection's thread."""


Work: TypeAlias = "partial[Any]"
"""A request to a writer: a function of `statements` or `chunks` with all its arguments but the connection."""

Writer: TypeAlias = GroupCommit[Work, Any]

#: Looks up rows by their encoded keys; None for a key that has no row.
Lookup: TypeAlias = GroupCommit[bytes, tuple[Any, ...] | None]


def commit(db: sqlite3.Connection, works: Sequence[Work]) -> list[Any]:
    """
    Run all requests in one transaction, in order, and return for each its result or its error.

    If its condition does not hold, a request raises a `StorageError` before it has written anything. Any other error
    rolls the whole transaction back; then each request runs in its own transaction, so that only the faulty one fails.

    Raises:
        sqlite3.OperationalError: the database is locked, or the statement was interrupted; nothing was written.
    """
    if len(works) == 1 and works[0].func in statements.SINGLE_STATEMENTS:
        try:
            return [works[0](db)]  # a single statement is a transaction: it takes half the time of three
        except sqlite3.OperationalError as error:
            if is_busy(error) or is_interrupt(error):
                raise
            return [error]
        except Exception as error:
            return [error]
    db.execute("BEGIN IMMEDIATE")
    try:
        results = [_result(work, db) for work in works]
        db.execute("COMMIT")
    except Exception as error:
        if db.in_transaction:
            db.execute("ROLLBACK")
        if is_interrupt(error):
            raise
        return [error] if len(works) == 1 else [result for work in works for result in commit(db, [work])]
    return results


def commit_checked(files: DatabaseFiles, db: sqlite3.Connection, works: Sequence[Work]) -> list[Any]:
    """
    Do the same as `commit`, if SQLite's files are those at the path before and after it.

    Raises:
        StoreUnavailableError: they are not. Nothing was written, or nobody knows whether it will be found again.
        sqlite3.OperationalError: as for `commit`.
    """
    files.check()
    results = commit(db, works)
    files.check()
    return results


def _result(work: Work, db: sqlite3.Connection) -> Any:
    """Return the result of *work*, or its `StorageError` as a value."""
    try:
        return work(db)
    except StorageError as error:
        return error
