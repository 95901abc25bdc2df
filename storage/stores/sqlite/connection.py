"""One SQLite connection on a thread of its own."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from storage._concurrency.offload import settled
from storage.errors import StoreClosedError
from storage.stores.sqlite.errors import error_of
from storage.stores.sqlite.fork_guard import ForkGuard

if TYPE_CHECKING:
    import aiosqlite

__all__ = ["Connection", "uncancelled"]

P = ParamSpec("P")
T = TypeVar("T")

#: Compiled statements that a connection caches: about 30 of the store, and one for each of about 40 key counts.
STATEMENTS = 256


class Connection:
    """
    An aiosqlite connection that runs whole functions on its thread: `run` is one hop to the thread for all statements.

    Args:
        path: the file of the database, or ``":memory:"``.
        store: the name of the store in errors.
        busy_timeout: seconds to wait for a lock that another connection holds.
    """

    def __init__(self, path: str, store: str, busy_timeout: float) -> None:
        self._path = path
        self._store = store
        self._busy_timeout = busy_timeout
        self._aio: aiosqlite.Connection | None = None
        self._guard = ForkGuard()

    async def open(
        self, prepare: Callable[Concatenate[sqlite3.Connection, P], None], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Connect, and run *prepare* on the new connection; it must not be cancelled half way (see `uncancelled`)."""
        try:
            import aiosqlite
        except ImportError as cause:
            raise ImportError("SqliteStore needs aiosqlite: pip install 'stackstore[sqlite]'") from cause
        connecting = aiosqlite.connect(
            self._path, timeout=self._busy_timeout, isolation_level=None, cached_statements=STATEMENTS
        )
        connecting._connector = partial(self._guard.run, connecting._connector)
        thread = _thread_of(connecting)
        thread.daemon = True  # a connection that is left open must not keep the interpreter from exiting
        vars(thread)["connection"] = connecting  # nor warn at exit: the running thread keeps its connection alive
        try:
            self._aio = await connecting
        except sqlite3.Error as cause:
            _thread_of(connecting).join()  # the thread is about to end, and would warn if the event loop ended first
            raise self.mapped(cause) from cause
        try:
            await self.run(prepare, *args, **kwargs)
        except BaseException:
            await self.close()
            raise

    async def run(self, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """
        Run ``work(db, *args)`` on the connection's thread and return its result.

        A cancellation is held back until the work is done, and then raised.

        Raises:
            StorageError: SQLite raised an error, or the connection is closed.
        """
        aio = self._aio
        if aio is None:
            raise StoreClosedError("the store is closed: use it inside 'async with store:'", store=self._store)
        # Each public method of aiosqlite is one hop to the thread for one statement, and a transaction has several.
        # They are built on `_execute`, which runs any function on the thread; it has no types.
        try:
            result: T = await aio._execute(self._guard.run, work, aio._conn, *args, **kwargs)  # type: ignore[no-untyped-call]
        except asyncio.CancelledError:
            # The thread works in order of arrival: when this no-op is done, the work before it is done, too.
            await settled(asyncio.ensure_future(aio._execute(_nothing)))  # type: ignore[no-untyped-call]
            raise
        except sqlite3.Error as cause:
            raise self.mapped(cause) from cause
        return result

    async def close(self) -> None:
        """Close the connection after the work that has begun; it may be called again."""
        closing, self._aio = self._aio, None
        if closing is None:
            return
        if _thread_of(closing).is_alive():
            await closing._execute(self._guard.run, closing._conn.close)  # type: ignore[no-untyped-call]
            await closing.close()
        else:  # a forked child has the connection of its parent, but not its thread
            closing._connection = None

    def mapped(self, error: BaseException) -> BaseException:
        """Return our error for an error of SQLite, and any other error as it is: see `errors.error_of`."""
        return error_of(error, self._path, self._busy_timeout, self._store)


def _thread_of(connection: aiosqlite.Connection) -> threading.Thread:
    """Return the thread of a connection; up to aiosqlite 0.21 the connection itself is the thread."""
    carrier: Any = connection
    thread: threading.Thread = getattr(carrier, "_thread", carrier)
    return thread


def _nothing() -> None:
    """Do nothing, on the connection's thread."""


async def uncancelled(work: Coroutine[Any, Any, T]) -> T:
    """Run *work* to its end and return its result; a cancellation is held back until then, and then raised."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await settled(task)
        raise
