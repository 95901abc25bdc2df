"""
`IndexCheck`: whether the index of keys, which listings read, is that of the objects.

SQLite finds a page that is no page. It does not find one that was overwritten by the copy of another page of the same
kind, or by what it was before, as a disk that lost or misplaced a write leaves it: the listing of 20,001 objects then
had 306, and that of 20,000 in which two pages had changed places had 11,332, without an error.

So each object is looked up in the index, and the entries of both are counted, in one statement. If every object is
found where the search for its key leads, and there are no other entries, then the index is whole and in order. That
takes 0.3 us for a row whose neighbours in the table are its neighbours in the index, and 1 us for random keys. (The
order alone takes as long with a window function.) It reads the pages of the table, but not large objects. It is done
for the first listing, and for later ones a minute after it at the earliest.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from itertools import islice
from operator import lt

from storage._core.left_out import LeftOut
from storage.errors import CorruptObjectError
from storage.stores.sqlite.connection import Connection
from storage.stores.sqlite.errors import copy_error
from storage.stores.sqlite.schema import LONGEST_KEY

__all__ = ["IndexCheck", "compare_index", "refuse_disorder"]

#: Seconds for which a comparison is good, and how many times its own duration at least.
GOOD_FOR, TIMES = 60.0, 100

#: Seconds that the first key of a listing waits for the comparison; the end of a whole listing waits longer.
LONGEST_WAIT = 1.0

#: Pages of the database (16 MiB) up to which the comparison is so short that it is done on the reader's connection.
FEW_PAGES = 1024

#: KiB of the index that the comparison keeps in memory; with SQLite's 2,000 random keys take three times as long.
CACHE = 65536

_INDEX = "objects INDEXED BY sqlite_autoindex_objects_1"

#: Whether SQLite reads a key of the table `t`; the others cannot be looked up, and are left out of listings.
_READABLE = f"CASE typeof(t.key) WHEN 'blob' THEN length(t.key) <= {LONGEST_KEY} WHEN 'text' THEN 0 ELSE 1 END"

_COMPARE = f"""
SELECT
    (SELECT count(*) FROM objects NOT INDEXED),
    (SELECT count(*) FROM {_INDEX}),
    (SELECT count(*) FROM objects t NOT INDEXED CROSS JOIN objects i INDEXED BY sqlite_autoindex_objects_1
     WHERE i.key IS t.key AND i.id = t.id AND {_READABLE}),
    (SELECT count(*) FROM objects t NOT INDEXED WHERE NOT {_READABLE})
"""

#: Keys that are no BLOBs: they sort before all that are, so that no listing of a range of keys has them.
_STRAYS = f"""
SELECT id FROM {_INDEX} WHERE key < x'' UNION ALL SELECT id FROM {_INDEX} WHERE key IS NULL LIMIT 100
"""


def compare_index(db: sqlite3.Connection, store: str) -> list[str]:
    """
    Compare the index of keys with the table of objects, and return the first 100 keys that no listing has.

    Raises:
        CorruptObjectError: the index is not that of the table.
    """
    usual = db.execute("PRAGMA cache_size").fetchone()[0]
    db.execute(f"PRAGMA cache_size = -{CACHE}")
    try:
        there, listed, found, unread = db.execute(_COMPARE).fetchone()
    finally:
        db.execute(f"PRAGMA cache_size = {usual}")
        db.execute("PRAGMA shrink_memory")
    if not there == listed == found + unread:
        raise CorruptObjectError(
            f"the index of keys is damaged: it has {listed:,} entries for {there:,} objects, of which it finds "
            f"{found + unread:,}, so a listing would be wrong. Restore a backup, or see check()",
            store=store,
        )
    return [_shown_key(db, row[0]) for row in db.execute(_STRAYS).fetchall()]


def _shown_key(db: sqlite3.Connection, number: int) -> str:
    """Return the key of a row, which is no BLOB, for an error."""
    try:
        return f"{db.execute('SELECT key FROM objects WHERE id = ?', (number,)).fetchone()[0]!r:.100}"
    except sqlite3.DataError:
        return f"a text of several megabytes (row {number})"


def refuse_disorder(names: Sequence[bytes], lower: bytes, store: object) -> None:
    """
    Raise unless the encoded keys of a page of a listing are in order, and not before *lower*, where the page begins.

    Raises:
        CorruptObjectError: they are not.
    """
    try:
        if names[0] >= lower and all(map(lt, names, islice(names, 1, None))):
            return
    except TypeError:  # a key that is no BLOB, among those that are
        pass
    raise _disorder(store)


def _disorder(store: object) -> CorruptObjectError:
    return CorruptObjectError(
        "the index of keys is damaged: they are not in order, so a listing would be wrong. Restore a backup, or see "
        "check()",
        store=store,
    )


def _look_around(db: sqlite3.Connection, lower: bytes, store: str) -> None:
    """
    Raise if a page of the index near *lower* has the keys of another place.

    Keys of another place are in order among themselves, but not with those before and after their page. So as many keys
    are compared in both directions as a page may have.
    """
    most = db.execute("PRAGMA page_size").fetchone()[0] // 8
    for further, order in ((">=", "ASC"), ("<", "DESC")):
        last = None
        query = f"SELECT key FROM {_INDEX} WHERE key {further} ? AND key >= x'' ORDER BY key {order} LIMIT ?"
        for (name,) in db.execute(query, (lower, most)):
            if last is not None and (name <= last if order == "ASC" else name >= last):
                raise _disorder(store)
            last = name


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
        self._failure: Exception | None = None
        self._strays: list[str] = []

    async def begin(self) -> None:
        """
        Compare, if it is time to, for no longer than `LONGEST_WAIT` seconds.

        Raises:
            CorruptObjectError: the index is damaged.
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
        self._raise_failure()

    async def look(self, lower: bytes | None) -> None:
        """
        Take the result of the last comparison, after a page of a listing was read.

        Args:
            lower: where the page began. While a comparison is running, the index is looked at there, which takes a
                millisecond. None for a listing that waits for the comparison at its end.

        Raises:
            CorruptObjectError: the index is damaged.
        """
        self._raise_failure()
        if self._running is not None and lower is not None:
            await self._reader.run(_look_around, lower, self._store)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise copy_error(self._failure)

    async def end(self) -> None:
        """
        Wait for the comparison: called before a whole listing ends.

        Raises:
            CorruptObjectError: the index is damaged.
        """
        if self._running is not None:
            await asyncio.wait([self._running])
        self._raise_failure()

    def leave_out(self, left_out: LeftOut) -> None:
        """Note the objects whose keys are no BLOBs, at the end of a listing of all keys."""
        for key in self._strays:
            left_out.add(key, CorruptObjectError("the key in the row is no BLOB", key=key, store=self._store))

    async def stop(self) -> None:
        """Give up a comparison that is running."""
        running = self._running
        if running is not None:
            running.cancel()
            await asyncio.wait([running])
            with suppress(asyncio.CancelledError):
                running.result()

    async def _compare(self) -> None:
        """Compare, and keep the error for all listings, until a later comparison finds the index sound."""
        begun = time.monotonic()
        if not isinstance(self._failure, CorruptObjectError):
            self._failure = None
        try:
            async with self._another() as connection:
                self._strays = await connection.run(compare_index, self._store)
        except Exception as error:
            self._failure = error
        else:
            self._done(begun)
        finally:
            self._running = None

    def _done(self, begun: float) -> None:
        now = time.monotonic()
        self._failure = None
        self._next = now + max(GOOD_FOR, TIMES * (now - begun))


def _count_pages(db: sqlite3.Connection) -> int:
    pages: int = db.execute("PRAGMA page_count").fetchone()[0]
    return pages
