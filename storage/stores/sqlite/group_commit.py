"""Group commit, and its twin for reads: what arrives while the connection is at work is done together next."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Generic, TypeAlias, TypeVar

from storage._concurrency.offload import settled
from storage.errors import StorageError
from storage.stores.sqlite import statements as rows
from storage.stores.sqlite.connection import Connection
from storage.stores.sqlite.errors import copied

__all__ = ["JOBS", "WEIGHT", "Batches", "Work", "Writer", "commit", "finder"]

Q = TypeVar("Q")
R = TypeVar("R")

#: Requests in one batch: enough that a commit's cost is shared, few enough that SQLite takes a batch's keys as
#: parameters.
JOBS = 256

#: Bytes after which a batch takes no more requests: how long a transaction keeps other writers out (some 50 ms).
WEIGHT = 8 << 20


class Batches(Generic[Q, R]):
    """
    Runs requests through ``execute(db, requests)`` on the connection's thread, one batch at a time.

    A request never joins a batch that is running. One that is cancelled while it waits is withdrawn; one that is being
    executed is waited for before the cancellation is raised.

    Args:
        connection: where they run.
        execute: gives for each request its result, or the exception that is its error.
        over: called on the event loop when a batch is over.
    """

    def __init__(
        self,
        connection: Connection,
        execute: Callable[[sqlite3.Connection, list[Q]], Sequence[R | BaseException]],
        over: Callable[[], object] = lambda: None,
    ) -> None:
        self._connection = connection
        self._execute = execute
        self._over = over
        self._waiting: deque[tuple[asyncio.Future[R], Q, int]] = deque()
        self._running: list[asyncio.Future[R]] = []
        self._held: list[asyncio.Future[None]] = []  # of callers that were cancelled during the batch that is running
        self._busy = False
        self._alone = False  # the last batch was of one
        self._draining: asyncio.Task[None] | None = None

    async def run(self, request: Q, weight: int = 0) -> R:
        """
        Return what *request* gives.

        Args:
            request: what `execute` understands.
            weight: bytes that it writes.
        """
        if self._alone and not self._busy:
            return await self._run_alone(request)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self._waiting.append((future, request, weight))
        if not self._busy:
            self._drain_soon()
        try:
            return await future
        except asyncio.CancelledError:
            if future in self._running:
                held: asyncio.Future[None] = loop.create_future()
                self._held.append(held)
                await settled(held)
            raise

    async def drained(self) -> None:
        """Return when nothing waits any more."""
        while self._busy:
            await self._connection.run(_nothing)  # one that runs alone was there before
            if self._draining is not None:
                await settled(self._draining)

    async def _run_alone(self, request: Q) -> R:
        """
        Run a request in its caller's own task: who is alone has nothing to share, and waits for no turn of the loop.

        Only when the last batch, too, was of one. Else the first of many that come together would go without them.
        """
        self._busy = True
        try:
            (result,) = await self._connection.run(self._execute, [request])
        finally:
            self._over()
            self._busy = False
            if self._waiting:
                self._drain_soon()
        if isinstance(result, BaseException):
            raise self._connection.mapped(result)
        return result

    def _drain_soon(self) -> None:
        self._busy = True
        self._draining = asyncio.create_task(self._drain())

    async def _drain(self) -> None:
        try:
            while requests := self._take():
                results: list[R | BaseException] = []
                try:
                    await self._connection.run(self._execute_into, requests, results)
                except asyncio.CancelledError:
                    pass  # asyncio.run is ending: the thread is done all the same, and its callers are told so
                except Exception as failure:
                    results = [copied(failure) for _ in requests]
                self._hand_over(results)
                self._over()
        finally:
            self._busy = False

    def _execute_into(self, db: sqlite3.Connection, requests: list[Q], results: list[R | BaseException]) -> None:
        results += self._execute(db, requests)

    def _take(self) -> list[Q]:
        requests: list[Q] = []
        weight = 0
        while self._waiting and len(requests) < JOBS and weight < WEIGHT:
            future, request, heavy = self._waiting.popleft()
            if not future.done():  # else it was cancelled
                self._running.append(future)
                requests.append(request)
                weight += heavy
        if requests:
            self._alone = len(requests) == 1
        return requests

    def _hand_over(self, results: list[R | BaseException]) -> None:
        running, self._running = self._running, []
        held, self._held = self._held, []
        for future, result in zip(running, results, strict=True):
            if future.done():
                continue  # cancelled
            if isinstance(result, BaseException):
                future.set_exception(self._connection.mapped(result))
            else:
                future.set_result(result)
        for caller in held:
            caller.set_result(None)


def _nothing(db: sqlite3.Connection) -> None:
    """Do nothing, on the connection's thread."""


Work: TypeAlias = "partial[Any]"
"""What a writer is asked to do: a function of `statements` or `chunks` and its arguments behind the connection."""

Writer: TypeAlias = Batches[Work, Any]


def commit(db: sqlite3.Connection, works: Sequence[Work]) -> list[Any]:
    """
    Run every work in one transaction, in order, and return for each its result or its error.

    A work refuses (a condition that does not hold) by a `StorageError`, before it has written anything. Any other
    error undoes the whole transaction; then each is run in one of its own, so that the innocent succeed.
    """
    if len(works) == 1 and works[0].func in rows.SINGLE:
        return [_result(works[0], db)]  # one statement is a transaction: half the time of three
    try:
        db.execute("BEGIN IMMEDIATE")
    except sqlite3.Error as error:
        return [error] * len(works)
    try:
        results = [_result(work, db, StorageError) for work in works]
        db.execute("COMMIT")
    except Exception as error:
        if db.in_transaction:
            db.execute("ROLLBACK")
        return [error] if len(works) == 1 else [result for work in works for result in commit(db, [work])]
    return results


def _result(work: Work, db: sqlite3.Connection, caught: type[Exception] = Exception) -> Any:
    """Return what *work* gives, or its error as a value."""
    try:
        return work(db)
    except caught as error:
        return error


def finder(columns: str) -> Callable[[sqlite3.Connection, Sequence[bytes]], list[tuple[Any, ...] | None]]:
    """Return what answers requests for encoded keys in one query: for each key its `rows.find` row, or None."""

    def answer(db: sqlite3.Connection, names: Sequence[bytes]) -> list[tuple[Any, ...] | None]:
        found = rows.find(db, columns, names)
        return [found.get(name) for name in names]

    return answer
