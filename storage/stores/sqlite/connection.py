"""One SQLite connection on a thread of its own."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from storage._concurrency.mutex import Mutex
from storage._concurrency.offload import settled
from storage._concurrency.stepping import THREAD
from storage.errors import StorageError, StoreClosedError
from storage.stores.sqlite.database_files import DatabaseFiles, refuse_inherited
from storage.stores.sqlite.errors import error_of, is_busy, is_interrupt, is_undecodable
from storage.stores.sqlite.fork_guard import ForkGuard
from storage.stores.sqlite.header import refuse_foreign
from storage.stores.sqlite.rows import decoded_text
from storage.stores.sqlite.schema import APPLICATION

if TYPE_CHECKING:
    import aiosqlite

__all__ = ["BUSY_STEP", "PATIENCE", "Connection", "Interrupted", "uncancelled"]

P = ParamSpec("P")
T = TypeVar("T")

#: Compiled statements that a connection caches: about 30 of the store, and one for each of about 40 key counts.
STATEMENTS = 256

#: Seconds for which a cancelled call lets its statement go on, which is then interrupted. A write that has begun takes
#: a fraction of that, and is not undone; what takes longer waits for a lock, or for a damaged or hostile database.
PATIENCE = 1.0

#: Seconds for which SQLite itself waits for a lock at a time; between two times a call can be interrupted.
BUSY_STEP = 0.2


class Interrupted(Exception):  # noqa: N818 - it is no error: it becomes the cancellation of the call
    """A statement was interrupted, because a call that waited for it was cancelled."""


class Connection:
    """
    An aiosqlite connection that runs whole functions on its thread: `run` is one hop to the thread for all statements.

    Args:
        path: the file of the database, absolute, or ``":memory:"``.
        store: the name of the store in errors.
        busy_timeout: seconds to wait for a lock that another connection holds.
        files: the files of the database, which are checked now and then; None in memory.
    """

    def __init__(self, path: str, store: str, busy_timeout: float, files: DatabaseFiles | None = None) -> None:
        self._path = path
        self._store = store
        self._busy_timeout = busy_timeout
        self._files = files
        self._aio: aiosqlite.Connection | None = None
        self._guard = ForkGuard(self.interrupt)
        self._interrupted = False
        self._given_up = False

    async def open(
        self, prepare: Callable[Concatenate[sqlite3.Connection, P], None], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Connect, and run *prepare* on the new connection; it must not be cancelled half way (see `uncancelled`)."""
        try:
            import aiosqlite
        except ImportError as cause:
            raise ImportError("SqliteStore needs aiosqlite: pip install 'stackstore[sqlite]'") from cause
        timeout = min(self._busy_timeout, BUSY_STEP)
        connecting = aiosqlite.connect(self._path, timeout=timeout, isolation_level=None, cached_statements=STATEMENTS)
        connector = connecting._connector
        connecting._connector = lambda: self._guard.run(self._connect, connector)
        thread = _thread_of(connecting)
        thread.daemon = True  # a connection that is left open must not keep the interpreter from exiting
        vars(thread)["connection"] = connecting  # nor warn at exit: the running thread keeps its connection alive
        try:
            self._aio = await connecting
        except (sqlite3.Error, StorageError) as cause:
            _thread_of(connecting).join()  # the thread is about to end, and would warn if the event loop ended first
            if isinstance(cause, StorageError):
                raise
            raise self.mapped(cause) from cause
        try:
            await self.run(prepare, *args, **kwargs)
        except BaseException:
            await self.close()
            raise

    def _connect(self, connector: Callable[[], sqlite3.Connection]) -> sqlite3.Connection:
        """Open the database on its thread, and note that it is open before another thread can fork."""
        THREAD.mode.is_awaited = True
        if self._files is None:
            return connector()
        with _connecting:
            refuse_inherited(self._path, self._store)
            if not self._files.is_open:  # else links that others made meanwhile do no harm
                refuse_foreign(self._path, APPLICATION, self._store)
            db = connector()
        try:
            self._files.connected(db)
        except BaseException:
            self._close(db)
            raise
        return db

    async def run(self, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """
        Run ``work(db, *args)`` on the connection's thread and return its result.

        It is run again while another connection holds a lock that it needs, for `busy_timeout` seconds. A cancellation
        is held back until the work is done, and then raised; after `PATIENCE` seconds the work is interrupted.

        Raises:
            StorageError: SQLite raised an error, or the connection is closed.
        """
        while True:
            try:
                return await self.attempt(work, *args, **kwargs)
            except Interrupted:
                if self._given_up:
                    raise StoreClosedError("the opening of the store was cancelled", store=self._store) from None
                # else the interrupt was meant for another call, or for a fork

    async def attempt(
        self, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """
        Do the same as `run`, but only once.

        Raises:
            StorageError: SQLite raised an error, or the connection is closed.
            Interrupted: another call has interrupted this work.
        """
        aio = self._aio
        if aio is None:
            raise StoreClosedError("the store is closed: use it inside 'async with store:'", store=self._store)
        # Each public method of aiosqlite is one hop to the thread for one statement, and a transaction has several.
        # They are built on `_execute`, which runs any function on the thread; it has no types.
        try:
            result: T = await aio._execute(self._guard.run, self._work, work, aio._conn, *args, **kwargs)  # type: ignore[no-untyped-call]
        except asyncio.CancelledError:
            # The thread works in order of arrival: when this no-op is done, the work before it is done, too.
            await self.settle(asyncio.ensure_future(aio._execute(_nothing)))  # type: ignore[no-untyped-call]
            raise
        except sqlite3.Error as cause:
            raise self.mapped(cause) from cause
        return result

    def _work(
        self,
        work: Callable[Concatenate[sqlite3.Connection, P], T],
        db: sqlite3.Connection,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run *work*, on the connection's thread."""
        if self._files is not None:
            self._files.check_sometimes()
        self._interrupted = self._given_up
        deadline = time.monotonic() + self._busy_timeout
        while True:
            try:
                return work(db, *args, **kwargs)
            except sqlite3.OperationalError as error:
                if self._interrupted or is_interrupt(error):
                    raise Interrupted from error
                if is_undecodable(error) and db.text_factory is str:
                    return self._work_on_damaged_text(work, db, *args, **kwargs)
                if not is_busy(error) or time.monotonic() >= deadline:
                    raise
                time.sleep(0.005)  # SQLite itself does not wait when two connections switch to the log

    def _work_on_damaged_text(
        self,
        work: Callable[Concatenate[sqlite3.Connection, P], T],
        db: sqlite3.Connection,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run *work* again, and decode each TEXT in Python, which takes ten times as long, and whatever it has."""
        db.text_factory = decoded_text
        try:
            return self._work(work, db, *args, **kwargs)
        finally:
            db.text_factory = str

    async def settle(self, future: asyncio.Future[Any]) -> None:
        """Wait for *future*, which is done when some work of this connection is; interrupt that after `PATIENCE`."""
        timer = asyncio.get_running_loop().call_later(PATIENCE, self.interrupt)
        try:
            await settled(future)
        finally:
            timer.cancel()

    def pause(self) -> None:
        """
        Let a fork that waits go on, in the middle of long work on the connection's thread, and look at the files.

        Raises:
            StoreUnavailableError: the files are others.
        """
        self._guard.pause()
        if self._files is not None:
            self._files.check_sometimes()

    def interrupt(self) -> None:
        """Let the statement that is running fail."""
        aio = self._aio
        if aio is not None:
            self._interrupted = True
            with suppress(ValueError, sqlite3.ProgrammingError):  # it is being closed
                aio._conn.interrupt()

    def give_up(self) -> None:
        """Do the same, and run nothing again: the store is no longer wanted."""
        self._given_up = True
        self.interrupt()

    async def close(self) -> None:
        """Close the connection after the work that has begun; it may be called again."""
        closing, self._aio = self._aio, None
        if closing is None:
            return
        if _thread_of(closing).is_alive():
            await closing._execute(self._guard.run, self._close, closing._conn)  # type: ignore[no-untyped-call]
            await closing.close()
        else:  # a forked child has the connection of its parent, but not its thread
            closing._connection = None

    def _close(self, db: sqlite3.Connection) -> None:
        """Close the database, on the connection's thread."""
        if self._files is None:
            db.close()
            return
        self._files.closing(db)
        db.close()
        self._files.closed(db)

    def mapped(self, error: BaseException) -> BaseException:
        """Return our error for an error of SQLite, and any other error as it is: see `errors.error_of`."""
        return error_of(error, self._path, self._busy_timeout, self._store)


#: One thread at a time looks at the files and connects: closing a file that another thread has just opened would drop
#: its locks.
_connecting = Mutex()


def _thread_of(connection: aiosqlite.Connection) -> threading.Thread:
    """Return the thread of a connection; up to aiosqlite 0.21 the connection itself is the thread."""
    carrier: Any = connection
    thread: threading.Thread = getattr(carrier, "_thread", carrier)
    return thread


def _nothing() -> None:
    """Do nothing, on the connection's thread."""


async def uncancelled(work: Coroutine[Any, Any, T], give_up: Callable[[], object] | None = None) -> T:
    """
    Run *work* to its end and return its result; a cancellation is held back until then, and then raised.

    Args:
        work: what is run.
        give_up: called `PATIENCE` seconds after a cancellation, to let the work fail.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        timer = asyncio.get_running_loop().call_later(PATIENCE, give_up) if give_up is not None else None
        try:
            await settled(task)
        finally:
            if timer is not None:
                timer.cancel()
        raise
