"""SqliteStore and processes: concurrent processes, forks, other users, and the exit of the interpreter."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from processes.forking import context
from sqlite_tools import run

from storage import KeyExistsError, SqliteStore
from storage.functions.update import update

pytestmark = pytest.mark.process


async def _create(path: str, name: str) -> list[str]:
    won = []
    async with SqliteStore(path) as store:

        async def create(key: str) -> None:
            with suppress(KeyExistsError):
                await store.put(key, name.encode(), if_absent=True)
                won.append(key)

        await asyncio.gather(*(create(f"k{number}") for number in range(50)))
    return won


async def _count(path: str) -> None:
    async with SqliteStore(path) as store:

        async def increment() -> None:
            for _ in range(5):
                await update(store, "count", lambda old: b"%d" % (int(old or b"0") + 1))

        await asyncio.gather(*(increment() for _ in range(3)))


def create(path: str, name: str) -> list[str]:
    """Try to create fifty objects and return the keys that were created."""
    return asyncio.run(_create(path, name))


def count(path: str) -> None:
    """Add 15 to a number, in three tasks."""
    asyncio.run(_count(path))


@pytest.fixture
def pool() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(3, mp_context=context()) as pool:
        yield pool


async def test_conditions_hold_among_processes(tmp_path: Path, pool: ProcessPoolExecutor) -> None:
    """Of three processes that create the same keys in a new file, one succeeds per key; no update is lost."""
    path = str(tmp_path / "objects.db")
    loop = asyncio.get_running_loop()

    won = await asyncio.gather(*(loop.run_in_executor(pool, create, path, name) for name in "abc"))
    await asyncio.gather(*(loop.run_in_executor(pool, count, path) for _ in "abc"))

    async with SqliteStore(path) as store:
        keys = [f"k{number}" for number in range(50)]
        assert sorted(keys) == sorted(key for keys in won for key in keys)
        holders = {key: name.encode() for name, keys in zip("abc", won, strict=True) for key in keys}
        assert holders == await store.get_many(keys)
        assert b"45" == await store.get("count")


def test_store_left_open_does_not_keep_the_interpreter(tmp_path: Path) -> None:
    """A program whose loop ended with an open store exits without a warning."""
    ended = run(
        """
        async def main():
            await store.__aenter__()
            await store.put("k", b"v")
            await store.put("large", [b"x" * 2_000_000])
            await store.delete("large")
            print(await store.get("k"))

        store = SqliteStore(sys.argv[1])
        asyncio.run(main())
        """,
        tmp_path / "objects.db",
    )

    assert (0, "b'v'\n", "") == (ended.returncode, ended.stdout, ended.stderr)


def test_sync_store_left_open_does_not_keep_the_interpreter(tmp_path: Path) -> None:
    """The same for a script, whose store runs on the background loop."""
    ended = run(
        """
        import storage.sync

        store = storage.sync.SqliteStore(sys.argv[1]).__enter__()
        store.put("k", b"v")
        print(store.get("k"))
        """,
        tmp_path / "objects.db",
    )

    assert (0, "b'v'\n", "") == (ended.returncode, ended.stdout, ended.stderr)


def test_fork_waits_until_no_thread_is_in_sqlite(tmp_path: Path) -> None:
    """SQLite's own locks would stay locked in the child, which then could not open any database."""
    ended = run(
        """
        import time, warnings

        warnings.simplefilter("ignore", DeprecationWarning)

        async def main():
            async with SqliteStore(sys.argv[1]) as store:
                steps = []

                def work(db):
                    steps.append("in SQLite")
                    time.sleep(0.3)
                    steps.append("out of it")

                working = asyncio.create_task(store._opened().writer._connection.run(work))
                while not steps:
                    await asyncio.sleep(0.001)
                child = os.fork()
                if child == 0:
                    os.write(1, repr(steps).encode())
                    os._exit(0)
                os.waitpid(child, 0)
                await working
                await store.put("k", b"the parent goes on")

        asyncio.run(main())
        """,
        tmp_path / "objects.db",
    )

    assert (0, "['in SQLite', 'out of it']", "") == (ended.returncode, ended.stdout, ended.stderr)


def test_user_who_may_not_write_is_told_so() -> None:
    """Writing to another user's database is a permission error; so is creating one without permission."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        ended = run(
            """
            from storage import PermissionDeniedError

            async def attempt(path):
                try:
                    async with SqliteStore(path) as store:
                        await store.put("k", b"v")
                except PermissionDeniedError as error:
                    print(type(error.__cause__).__name__)

            async def main(path):
                async with SqliteStore(path) as store:
                    await store.put("k", b"v")
                os.chmod(path, 0o444)
                os.chmod(os.path.dirname(path), 0o555)
                if os.geteuid() == 0:
                    os.setuid(65534)  # root may everything
                await attempt(path)
                await attempt(path + "2")

            asyncio.run(main(sys.argv[1]))
            """,
            Path(directory, "objects.db"),
        )
        os.chmod(directory, 0o755)

    assert (0, "OperationalError\nOperationalError\n", "") == (ended.returncode, ended.stdout, ended.stderr)


def test_missing_aiosqlite_says_what_to_install() -> None:
    """Importing and creating the store need no aiosqlite; the error of opening it says what to install."""
    ended = run(
        """
        sys.modules["aiosqlite"] = None
        try:
            asyncio.run(SqliteStore(":memory:").__aenter__())
        except ImportError as error:
            print(error)
        """
    )

    assert (0, "SqliteStore needs aiosqlite: pip install 'stackstore[sqlite]'\n") == (ended.returncode, ended.stdout)


def test_fork_interrupts_what_takes_long_and_runs_it_again(tmp_path: Path) -> None:
    """A check of a large database must not delay a fork by seconds, nor be in SQLite during it."""
    ended = run(
        """
        import time, warnings

        warnings.simplefilter("ignore", DeprecationWarning)
        ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"

        async def main():
            async with SqliteStore(sys.argv[1]) as store:
                runs = []

                def work(db):
                    runs.append(1)
                    return len(runs) if len(runs) > 1 else db.execute(ENDLESS).fetchone()

                working = asyncio.create_task(store._opened().reader.run(work))
                while not runs:
                    await asyncio.sleep(0.001)
                begun = time.monotonic()
                child = os.fork()
                if child == 0:
                    os._exit(0)
                took = time.monotonic() - begun
                os.waitpid(child, 0)
                print(await working, took < 4)

        asyncio.run(main())
        """,
        tmp_path / "objects.db",
    )

    assert (0, "2 True\n", "") == (ended.returncode, ended.stdout, ended.stderr)
