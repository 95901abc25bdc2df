"""
`IndexCheck`: whether the index of keys, which listings read, has all objects.

SQLite finds a page that is no page. It does not find one that was overwritten by the copy of another page of the same
kind, as a disk that lost or misplaced a write leaves it: the listing of 20,001 objects then had 306, without an error.
So the index is compared with the table: how many rows each has, and a sum of their numbers, in one statement. It takes
0.4 us for a row, and reads the pages of the table, but not large objects. It is done for the first listing, and for
later ones a minute after it at the earliest.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress

from storage._core.left_out import LeftOut
from storage.errors import CorruptObjectError, StorageError
from storage.stores.sqlite.connection import Connection

__all__ = ["IndexCheck", "compare_index"]

#: Seconds for which a comparison is good, and how many times its own duration at least.
GOOD_FOR, TIMES = 60.0, 100

#: Seconds that the first key of a listing waits for the comparison; the end of a whole listing waits longer.
LONGEST_WAIT = 1.0

#: Pages of the database (64 MiB) up to which the comparison is so short that it is done on the reader's connection.
FEW_PAGES = 4096

_COMPARE = """
SELECT t.n, t.s, i.n, i.s FROM
    (SELECT count(*) n, sum(id % 1000003) s FROM objects NOT INDEXED) t,
    (SELECT count(*) n, sum(id % 1000003) s FROM objects INDEXED BY sqlite_autoindex_objects_1) i
"""


#: Keys that are no BLOBs: they sort before all that are, so that no listing of a range of keys has them.
_STRAYS = """
SELECT key FROM objects INDEXED BY sqlite_autoindex_objects_1 WHERE key < x'' OR key IS NULL LIMIT 100
"""


def compare_index(db: sqlite3.Connection, store: str) -> list[str]:
    """
    Compare the index of keys with the table of objects, and return the first 100 keys that no listing has.

    Raises:
        CorruptObjectError: they do not have the same rows.
    """
    there, their_sum, listed, listed_sum = db.execute(_COMPARE).fetchone()
    if (there, their_sum) != (listed, listed_sum):
        raise CorruptObjectError(
            f"the index of keys is damaged: it has {listed:,} entries for {there:,} objects, so a listing would be "
            "wrong. Restore a backup, or see check()",
            store=store,
        )
    return [f"{row[0]!r:.100}" for row in db.execute(_STRAYS)]


class IndexCheck:
    """
    Compares the index for the listings of one open store.

    Args:
        reader: the connection that listings use.
        another: makes another connection, for a comparison that takes long.
        store: the name of the store in errors.
    """

    def __init__(
        self, reader: Connection, another: Callable[[], AbstractAsyncContextManager[Connection]], store: str
    ) -> None:
        self._reader = reader
        self._another = another
        self._store = store
        self._running: asyncio.Task[None] | None = None
        self._next = 0.0
        self._strays: list[str] = []

    async def begin(self) -> None:
        """
        Compare, if it is time to, for no longer than `LONGEST_WAIT` seconds.

        Raises:
            CorruptObjectError: the index lacks objects.
        """
        if self._running is None and time.monotonic() >= self._next:
            if await self._reader.run(_count_pages) <= FEW_PAGES:
                begun = time.monotonic()
                self._strays = await self._reader.run(compare_index, self._store)
                self._done(begun)
                return
            if self._running is None:
                self._running = asyncio.create_task(self._compare())
        if self._running is not None:
            await asyncio.wait([self._running], timeout=LONGEST_WAIT)
        self.look()

    def look(self) -> None:
        """
        Take the result of a comparison that has ended.

        Raises:
            CorruptObjectError: the index lacks objects.
        """
        if self._running is not None and self._running.done():
            ended, self._running = self._running, None
            ended.result()

    async def end(self) -> None:
        """
        Wait for the comparison: called before a whole listing ends.

        Raises:
            CorruptObjectError: the index lacks objects.
        """
        running = self._running
        if running is not None:
            await asyncio.wait([running])
            self.look()

    def leave_out(self, left_out: LeftOut) -> None:
        """Note the objects whose keys are no BLOBs, at the end of a listing of all keys."""
        for key in self._strays:
            left_out.add(key, CorruptObjectError("the key in the row is no BLOB", key=key, store=self._store))

    async def stop(self) -> None:
        """Give up a comparison that is running."""
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            await asyncio.wait([running])
            with suppress(asyncio.CancelledError, StorageError):
                running.result()

    async def _compare(self) -> None:
        begun = time.monotonic()
        async with self._another() as connection:
            self._strays = await connection.run(compare_index, self._store)
        self._done(begun)

    def _done(self, begun: float) -> None:
        now = time.monotonic()
        self._next = now + max(GOOD_FOR, TIMES * (now - begun))


def _count_pages(db: sqlite3.Connection) -> int:
    pages: int = db.execute("PRAGMA page_count").fetchone()[0]
    return pages
