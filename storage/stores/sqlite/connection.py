"""One SQLite connection on a thread of its own, and the one place where SQLite's errors become ours."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from copy import copy
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from storage._concurrency.offload import settled
from storage.errors import (
    CorruptObjectError,
    PermissionDeniedError,
    StorageError,
    StoreClosedError,
    StoreFullError,
    StoreUnavailableError,
)

if TYPE_CHECKING:
    import aiosqlite

__all__ = ["Connection", "copied", "each_named", "named", "unbroken"]

P = ParamSpec("P")
T = TypeVar("T")
E = TypeVar("E", bound=Exception)

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
        """Connect, and run *prepare* on the new connection; not to be cancelled half way (`unbroken`)."""
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
        """Return our error for one of SQLite's, which is its cause; every other as it is."""
        if not isinstance(error, sqlite3.Error):
            return error
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # Python's own errors have none
        kind, text = _KINDS.get(code, (StorageError, "SQLite failed"))
        if kind is StoreUnavailableError:
            text += f", also after waiting {self._busy_timeout:g} s (busy_timeout)"
        if code == sqlite3.SQLITE_CANTOPEN and not os.path.isdir(os.path.dirname(os.path.abspath(self._path))):
            kind, text = StorageError, "the directory of the database does not exist: make it first"
        mapped = kind(f"{text} ({error})", store=self._store)
        mapped.__cause__ = error
        return mapped


_KINDS: dict[int, tuple[type[StorageError], str]] = {
    sqlite3.SQLITE_BUSY: (StoreUnavailableError, "another connection holds the database's lock"),
    sqlite3.SQLITE_LOCKED: (StoreUnavailableError, "another connection holds the table's lock"),
    sqlite3.SQLITE_FULL: (StoreFullError, "the disk is full"),
    sqlite3.SQLITE_READONLY: (PermissionDeniedError, "the database may be read only"),
    sqlite3.SQLITE_PERM: (PermissionDeniedError, "the database's file refuses this user"),
    sqlite3.SQLITE_AUTH: (PermissionDeniedError, "the database's file refuses this user"),
    sqlite3.SQLITE_CANTOPEN: (PermissionDeniedError, "the database's file or directory refuses this user"),
    sqlite3.SQLITE_CORRUPT: (CorruptObjectError, "the database is damaged"),
    sqlite3.SQLITE_NOTADB: (CorruptObjectError, "the file is not an SQLite database"),
}


async def named(key: str, work: Awaitable[T]) -> T:
    """Return what *work* gives; its errors say that they are about *key*, unless they name another."""
    try:
        return await work
    except StorageError as error:
        if error.key is None:
            error.with_key(key)
        raise


def copied(error: E) -> E:
    """Return a copy of the error of a whole batch: each caller may say in it which key is meant."""
    another = copy(error)
    another.__cause__ = error.__cause__
    return another


def each_named(keys: Iterable[str], error: StorageError) -> dict[str, Any]:
    """Return the error of a whole batch once for each of its keys, which it names."""
    return {key: copied(error).with_key(key) for key in keys}


def _thread_of(connection: aiosqlite.Connection) -> threading.Thread:
    """Return the thread of a connection; up to aiosqlite 0.21 the connection is one."""
    carrier: Any = connection
    thread: threading.Thread = getattr(carrier, "_thread", carrier)
    return thread


def _nothing() -> None:
    """Do nothing, on the connection's thread."""


async def unbroken(work: Coroutine[Any, Any, T]) -> T:
    """Run *work* to its end and return its result; a cancellation meanwhile is held until then, and then raised."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await settled(task)
        raise
