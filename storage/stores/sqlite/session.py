"""`Session`: the connections of an open `SqliteStore`."""

from __future__ import annotations

from storage._core.opened import OpenState
from storage.stores.sqlite import statements
from storage.stores.sqlite.connection import Connection
from storage.stores.sqlite.group_commit import GroupCommit, Lookup, Writer, commit, find_by_key
from storage.stores.sqlite.large_objects import Leases
from storage.stores.sqlite.schema import prepare, prepare_reader

__all__ = ["MEMORY", "Session"]

#: The path that stands for a database in memory.
MEMORY = ":memory:"


class Session:
    """The connections of an open store: one to write, one to read (in memory the same), and their batches."""

    def __init__(self, path: str, store: str, busy_timeout: float) -> None:
        self.store = store
        self.state: OpenState = OpenState()
        self._path = path
        self._busy_timeout = busy_timeout
        self._connection = Connection(path, store, busy_timeout)
        self.reader: Connection = self._connection if path == MEMORY else Connection(path, store, busy_timeout)
        self.writer: Writer = GroupCommit(self._connection, commit, after_batch=lambda: self.leases.start_later())
        self.leases: Leases = Leases(self.reader, self.writer)
        self.contents: Lookup = GroupCommit(self.reader, find_by_key("data"))
        self.infos: Lookup = GroupCommit(self.reader, find_by_key(statements.INFO_COLUMNS))

    async def open(self) -> None:
        """Connect, prepare the database, and start to reclaim what killed processes left."""
        await self._connection.open(prepare, self._path, self._busy_timeout)
        if self.reader is not self._connection:
            await self.reader.open(prepare_reader)
        self.leases.start()

    async def close(self) -> None:
        """Finish what has begun, if this is still the same loop and process, and close the connections."""
        if self.state.in_this_process and self.state.under_this_loop:
            await self.leases.stop()
            for batches in (self.contents, self.infos, self.writer):
                await batches.wait_idle()
        await self.reader.close()
        await self._connection.close()
