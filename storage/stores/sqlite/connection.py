"""One SQLite connection on a thread of its own."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from storage._concurrency.offload import settled
from storage.errors import StoreClosedError
from storage.stores.sqlite.errors import error_of

if TYPE_CHECKING:
    import aiosqlite

__all__ = ["Connection", "uncancelled"]

P = ParamSpec("P")
T = TypeVar("T")

#: Compiled statements that a connection keeps: the store's 30 or so, and those of some 40 numbers of keys in a query.
STATEMENTS = 256


class Connection:
    """
    An aiosqlite connection that runs whole functions on its thread: `run` is one hop, however many statements it takes.

    Args:
        path: the database's file, or ``":memory:"``.
        store: what errors say they come from.
        busy_timeout: seconds to wait for a lock that another connection holds.
    """

    def __init__(self, path: str, store: str, busy_timeout: float) -> None:
        self._path = path
        self._store = store
        self._busy_timeout = busy_timeout
        self._aio: aiosqlite.Connection | None = None

    async def open(
        self, prepare: Callable[Concatenate[sqlite3.Connection, P], None], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Connect, and run *prepare* on the new connection; not to be cancelled half way (`uncancelled`)."""
        try:
            import aiosqlite
        except ImportError as cause:
            raise ImportError("SqliteStore needs aiosqlite: pip install 'stackstore[sqlite]'") from cause
        connecting = aiosqlite.connect(
            self._path, timeout=self._busy_timeout, isolation_level=None, cached_statements=STATEMENTS
        )
        thread = _thread_of(connecting)
        thread.daemon = True  # a connection left open must not keep the interpreter from ending
        vars(thread)["connection"] = connecting  # nor complain then: who runs lives, and so does what it works for
        try:
            self._aio = await connecting
        except sqlite3.Error as cause:
            _thread_of(connecting).join()  # it is about to end, and would complain if the event loop ended before it
            raise self.mapped(cause) from cause
        try:
            await self.run(prepare, *args, **kwargs)
        except BaseException:
            await self.close()
            raise

    async def run(self, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """
        Return what ``work(db, *args)`` gives, run on the connection's thread.

        A cancellation meanwhile is held until the work is done, then raised.

        Raises:
            StorageError: SQLite raised an error, or the connection is closed.
        """
        aio = self._aio
        if aio is None:
            raise StoreClosedError("the store is closed: use it inside 'async with store:'", store=self._store)
        # aiosqlite's public methods are one hop to the thread and back per statement, and a transaction has several.
        # `_execute` is what they are made of, and runs any function there; it has no types.
        try:
            result: T = await aio._execute(work, aio._conn, *args, **kwargs)  # type: ignore[no-untyped-call]
        except asyncio.CancelledError:
            # The thread works in the order of arrival: when it has done nothing, it has done what came before, too.
            await settled(asyncio.ensure_future(aio._execute(_nothing)))  # type: ignore[no-untyped-call]
            raise
        except sqlite3.Error as cause:
            raise self.mapped(cause) from cause
        return result

    async def close(self) -> None:
        """Close the connection, after the work that was begun; may be repeated."""
        closing, self._aio = self._aio, None
        if closing is None:
            return
        if _thread_of(closing).is_alive():
            await closing.close()
        else:  # a forked child has its parent's connection, but not the thread
            closing._connection = None

    def mapped(self, error: BaseException) -> BaseException:
        """Return our error for one of SQLite's, every other as it is: `errors.error_of`."""
        return error_of(error, self._path, self._busy_timeout, self._store)


def _thread_of(connection: aiosqlite.Connection) -> threading.Thread:
    """Return the thread of a connection; up to aiosqlite 0.21 the connection is one."""
    carrier: Any = connection
    thread: threading.Thread = getattr(carrier, "_thread", carrier)
    return thread


def _nothing() -> None:
    """Do nothing, on the connection's thread."""


async def uncancelled(work: Coroutine[Any, Any, T]) -> T:
    """Run *work* to its end and return its result; a cancellation meanwhile is held until then, and then raised."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await settled(task)
        raise
