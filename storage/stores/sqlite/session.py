"""`Session`: the connections of an open `SqliteStore`."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from storage._concurrency.offload import settled
from storage._core.opened import OpenState
from storage.stores.sqlite import statements
from storage.stores.sqlite.backup import copy_database
from storage.stores.sqlite.connection import Connection, uncancelled
from storage.stores.sqlite.database_files import DatabaseFiles
from storage.stores.sqlite.group_commit import GroupCommit, Lookup, Work, Writer, commit, commit_checked
from storage.stores.sqlite.index_check import IndexCheck
from storage.stores.sqlite.large_objects import Leases
from storage.stores.sqlite.paths import MEMORY
from storage.stores.sqlite.schema import prepare, prepare_reader

__all__ = ["Session"]


class Session:
    """The connections of an open store: one to write, one to read (in memory the same), and their batches."""

    def __init__(self, path: str, store: str, busy_timeout: float) -> None:
        self.store = store
        self.state: OpenState = OpenState(
            after_fork="open the store only after the fork, or start the process with 'spawn'"
        )
        self._path = path
        self._busy_timeout = busy_timeout
        self._files = None if path == MEMORY else DatabaseFiles(path, store)
        self._connection = Connection(path, store, busy_timeout, self._files)
        self.reader: Connection = self._connection
        execute: Callable[[sqlite3.Connection, list[Work]], list[Any]] = commit
        if self._files is not None:
            self.reader = Connection(path, store, busy_timeout, self._files)
            execute = partial(commit_checked, self._files)
        self.writer: Writer = GroupCommit(self._connection, execute, after_batch=lambda: self.leases.start_later())
        self.leases: Leases = Leases(self.reader, self.writer)
        self.contents: Lookup = GroupCommit(self.reader, statements.find_by_key("size, data"))
        self.infos: Lookup = GroupCommit(self.reader, statements.find_by_key(statements.INFO_COLUMNS))
        self.index_check: IndexCheck = IndexCheck(self.reader, self.another, store)

    def give_up(self) -> None:
        """Let the opening fail that is waiting for a lock."""
        self._connection.give_up()
        self.reader.give_up()

    async def open(self) -> None:
        """Connect, prepare the database, and start to reclaim what killed processes left."""
        await self._connection.open(prepare, self._path, self.store)
        if self.reader is not self._connection:
            await self.reader.open(prepare_reader)
        if self._files is not None:
            await self._connection.run(self._files.remember)
        self.leases.start()

    @asynccontextmanager
    async def another(self) -> AsyncIterator[Connection]:
        """Keep a connection open that only reads, for work that takes long; in memory there is only one."""
        if self._files is None:
            yield self._connection
            return
        connection = Connection(self._path, self.store, self._busy_timeout, self._files)
        await uncancelled(connection.open(prepare_reader))
        try:
            yield connection
        finally:
            await uncancelled(connection.close())

    async def backup(self, target: str) -> None:
        """
        Copy the database to the file *target*, an absolute path.

        Raises:
            StorageError: as for `copy_database`.
        """
        stop = threading.Event()
        async with self.another() as connection:
            work = connection.run(copy_database, target, self._path, self.store, connection, stop)
            running = asyncio.ensure_future(work)
            try:
                await asyncio.shield(running)
            except asyncio.CancelledError:
                stop.set()
                await settled(running)
                raise

    async def close(self) -> None:
        """Finish what has begun, if this is still the same loop and process, and close the connections."""
        if self.state.in_this_process and self.state.under_this_loop:
            await self.leases.stop()
            await self.index_check.stop()
            for batches in (self.contents, self.infos, self.writer):
                await batches.wait_idle()
        await self.reader.close()
        await self._connection.close()
