"""Many small files into a database: `copy_store` against code without it."""

from __future__ import annotations

import itertools
import os
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager

import aiosqlite

from benchmarks.files import read_file
from benchmarks.harness import Comparison, Plan, Work, Workload
from benchmarks.session import Session
from benchmarks.sqlite import PUT, SETTINGS, TABLE
from benchmarks.targets import ahead
from storage import FilesystemStore, SqliteStore, copy_store

__all__ = ["copied_into_sqlite"]

LOOP = "a loop of get and put"


async def by_copy_store(root: str, database: str) -> None:
    """Copy with one call."""
    async with FilesystemStore(root) as source, SqliteStore(database) as target:
        await copy_store(source, target)


async def by_loop(root: str, database: str) -> None:
    """Copy one object after the other, with a plain loop."""
    async with FilesystemStore(root) as source, SqliteStore(database) as target:
        async for key in source.keys():
            await target.put(key, await source.get(key))


async def by_aiosqlite(root: str, database: str) -> None:
    """Copy without this package, one after the other, each in its own transaction."""
    async with aiosqlite.connect(database, isolation_level=None) as db:
        await db.executescript(SETTINGS + TABLE)
        for key in os.listdir(root):
            await db.execute(PUT, (key, read_file(f"{root}/{key}")))


async def by_sqlite3(root: str, database: str) -> None:
    """Copy in one transaction on the loop: the least that can be done."""
    with closing(sqlite3.connect(database)) as db:
        db.executescript(SETTINGS + TABLE)
        db.executemany(PUT, ((key, read_file(f"{root}/{key}")) for key in os.listdir(root)))
        db.commit()


@contextmanager
def copied_into_sqlite(session: Session, plan: Plan) -> Iterator[Comparison]:
    """Copy 20 000 files of 100 bytes into a new database and close it."""
    count = 40 if plan.quick else 20_000
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as work:
        os.mkdir(f"{work}/files")
        for number in range(count):
            with open(f"{work}/files/{number:05}", "wb") as file:
                file.write(os.urandom(100))
        databases = (f"{work}/{number}.sqlite" for number in itertools.count())

        def workload(copy: Callable[[str, str], Awaitable[None]], less: str = "", limit: bool = False) -> Workload:
            async def copied(repeats: int) -> None:
                for _ in range(repeats // count):
                    await copy(f"{work}/files", next(databases))

            work_: Work = copied
            return Workload(work=work_, step=count, before=lambda: None, less=less, limit=limit)

        yield Comparison(
            title="copy_store, 20000 files of 100B into SQLite",
            contenders={
                "copy_store": workload(by_copy_store),
                LOOP: workload(by_loop),
                "os calls and aiosqlite": workload(by_aiosqlite, "no etags and times"),
                "os calls and sqlite3": workload(by_sqlite3, "one transaction, which blocks the loop", limit=True),
            },
            ours=frozenset({"copy_store", LOOP}),
            targets=(ahead("copy_store, 20 000 small files into SQLite: against a plain loop", LOOP, 5),),
            rounds=3,
        )
