"""The files of a `SqliteStore`: forks, lost locks, and files that others replace."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from sqlite_tools import run, sql

from storage import ConfigError, SqliteStore, StorageError, StoreUnavailableError
from storage.stores.sqlite import database_files

# -- forks -----------------------------------------------------------------------------------------------------------

FORK = """
import warnings
from storage import StoreClosedError
warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of a fork with threads: just what is tried

async def opened(path):
    try:
        async with SqliteStore(path) as own:
            await own.put("child", b"c")
            return "opened"
    except StoreClosedError as error:
        return "fork" in str(error) and "spawn" in str(error)

def in_child(work, *further):
    child = os.fork()
    if child:
        return os.waitpid(child, 0)
    try:
        asyncio.run(work())
        if further:
            in_child(*further)
    finally:
        sys.stdout.flush()
        os._exit(0)
"""


@pytest.mark.process
def test_forked_child_may_not_open_what_its_parent_has_open(tmp_path: Path) -> None:
    """A child or a grandchild that opens the database, under any of its names, is refused; its parent goes on."""
    ended = run(
        FORK
        + """
async def child():
    try:
        await store.get("k")
    except StoreClosedError as error:
        print("before a fork" in str(error))
    await store.aclose()
    for path in ("objects.db", "link", "hard", "d/../objects.db"):
        print(await opened(path))
    print(await opened("another.db"), await opened(":memory:"))

async def grandchild():
    print(await opened("link"))

async def main():
    global store
    async with SqliteStore("objects.db") as store:
        await store.put("k", b"v")
        os.symlink("objects.db", "link")
        os.link("objects.db", "hard")
        os.mkdir("d")
        await asyncio.to_thread(in_child, child, grandchild)
        await store.put("k", b"w")
        print(await store.get_many(["k", "child"]))

os.chdir(sys.argv[1])
asyncio.run(main())
""",
        tmp_path,
    )

    told = ["True"] * 5 + ["opened opened", "True", "{'k': b'w', 'child': KeyNotFoundError('child')}"]
    assert (0, told, "") == (ended.returncode, ended.stdout.splitlines(), ended.stderr)


@pytest.mark.process
def test_forked_child_may_open_what_its_parent_has_closed(tmp_path: Path) -> None:
    """A database that is closed at the fork is as any other."""
    ended = run(
        FORK
        + """
async def child():
    print(await opened(sys.argv[1]))

async def main():
    async with SqliteStore(sys.argv[1]) as store:
        await store.put("k", b"v")

asyncio.run(main())
in_child(child)
async def again():
    async with SqliteStore(sys.argv[1]) as store:
        print([key async for key in store.keys()])
asyncio.run(again())
""",
        tmp_path / "objects.db",
    )

    assert (0, "opened\n['child', 'k']\n", "") == (ended.returncode, ended.stdout, ended.stderr)


@pytest.mark.process
def test_child_that_closes_leaves_the_log_of_others(tmp_path: Path) -> None:
    """The inherited connection is never closed: that would delete what a killed process has written meanwhile."""
    ended = run(
        FORK
        + """
import subprocess
KILLED = '''
import asyncio, os, sys
from storage import SqliteStore
async def main():
    async with SqliteStore(sys.argv[1]) as store:
        await store.put("acknowledged", b"a")
        os.kill(os.getpid(), 9)
asyncio.run(main())
'''
async def begin():
    await store.__aenter__()
    await store.put("k", b"v")

async def end():
    async with store:
        print([key async for key in store.keys()])

store = SqliteStore(sys.argv[1])
asyncio.run(begin())
reading, writing = os.pipe()
child = os.fork()
if child == 0:
    os.close(writing)
    os.read(reading, 1)
    asyncio.run(store.aclose())
    sys.exit()
asyncio.run(store.aclose())
subprocess.run([sys.executable, "-c", KILLED, sys.argv[1]])
os.close(writing)
os.waitpid(child, 0)
asyncio.run(end())
""",
        tmp_path / "objects.db",
    )

    assert (0, "['acknowledged', 'k']\n", "") == (ended.returncode, ended.stdout, ended.stderr)


# -- locks and files that go away ------------------------------------------------------------------------------------

OTHER = """
async def main():
    async with SqliteStore(sys.argv[1]) as store:
        for key in sys.argv[2:]:
            await store.put(key, b"o" * 100_000)

asyncio.run(main())
"""


@pytest.mark.process
async def test_locks_that_a_copy_took_away_are_taken_again(store: SqliteStore, path: Path, tmp_path: Path) -> None:
    """A copy of the files by this process, followed by a put: then others may come and go, and nothing is lost."""
    await store.put("a", b"1")
    for end in ("", "-wal", "-shm"):
        shutil.copy(f"{path}{end}", tmp_path / f"copy{end}")

    await store.put("b", b"2")
    run(OTHER, path, "other")
    await store.put("c", b"3")
    run(OTHER, path, "another")

    assert ["a", "another", "b", "c", "other"] == [key async for key in store.keys()]


@pytest.mark.process
async def test_log_that_others_deleted_takes_no_writes(path: Path, tmp_path: Path) -> None:
    """Without its locks the store loses its log to another process: then nothing is acknowledged, nor undone."""
    store = SqliteStore(path)
    async with store:
        await store.put("a", b"1")
        for end in ("", "-wal", "-shm"):
            shutil.copy(f"{path}{end}", tmp_path / f"copy{end}")
        assert 0 == run(OTHER, path, "other").returncode

        for _ in range(2):
            with pytest.raises(StoreUnavailableError, match="open them again"):
                await store.put("lost", b"x")
        with pytest.raises(StoreUnavailableError, match="open them again"):
            await SqliteStore(path).__aenter__()
        assert 0 == run(OTHER, path, "another").returncode

    async with store:
        assert ["a", "another", "other"] == [key async for key in store.keys()]
        assert b"o" * 100_000 == await store.get("another")


@pytest.mark.parametrize("end", ["", "-wal", "-shm"])
async def test_files_that_are_gone_fail_reads_and_writes(path: Path, end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database one of whose files was deleted takes no writes, and gives nothing old."""
    monkeypatch.setattr(database_files, "READS_CHECK_AFTER", 0.0)
    async with SqliteStore(path) as store:
        await store.put("k", b"v")
        Path(f"{path}{end}").rename(f"{path}{end}.moved")

        for call in (store.put("k", b"w"), store.get("k"), store.delete("k"), store.head("k")):
            with pytest.raises(StoreUnavailableError, match="deleted or moved"):
                await call
        Path(f"{path}{end}.moved").rename(f"{path}{end}")

    async with SqliteStore(path) as store:
        assert b"v" == await store.get("k")


async def test_database_that_is_replaced_is_not_written(path: Path, tmp_path: Path) -> None:
    """Neither the old database nor the new one gets what is put after another file has taken the name."""
    async with SqliteStore(tmp_path / "new.db") as new:
        await new.put("new", b"n")
    async with SqliteStore(path) as store:
        await store.put("k", b"v")
        os.rename(path, tmp_path / "old.db")
        shutil.copy(tmp_path / "new.db", path)
        before = path.read_bytes()

        with pytest.raises(StoreUnavailableError, match="was replaced"):
            await store.put("k", b"w")

    assert before == path.read_bytes()


# -- paths -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["file:x.db", "file:sub%2fy.db", "file::memory:", "file:z.db?mode=memory", "a?b#c%20d.db", "memory:", "ä"],
)
async def test_path_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The database is the file of that very name, whatever SQLite would make of it."""
    monkeypatch.chdir(tmp_path)

    async with SqliteStore(name) as store:
        await store.put("k", b"v")
    async with SqliteStore(name) as store:
        assert b"v" == await store.get("k")

    assert [name] == [each.name for each in tmp_path.iterdir()]


async def test_path_outlasts_a_change_of_the_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path means the directory in which the store was opened."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d").mkdir()

    async with SqliteStore("objects.db") as store:
        monkeypatch.chdir(tmp_path / "d")
        await store.put("k", b"v")
        assert b"v" == await store.get("k")


@pytest.mark.parametrize(("path", "text"), [("", "empty"), ("a\0b", "NUL"), ("d/", "directory")])
def test_path_that_no_file_has_is_refused(path: str, text: str) -> None:
    """The constructor says what is wrong."""
    with pytest.raises(ConfigError, match=text):
        SqliteStore(path)


async def test_directory_is_no_database(tmp_path: Path) -> None:
    """The error names the fix."""
    with pytest.raises(StorageError, match="is a directory: name a file"):
        await SqliteStore(tmp_path).__aenter__()


@pytest.mark.parametrize("mode", ["DELETE", "TRUNCATE"])
async def test_database_in_another_mode_is_opened(path: Path, mode: str) -> None:
    """Another program may have switched the log off, as before a database is handed on."""
    async with SqliteStore(path) as store:
        await store.put("k", b"v")
    assert [(mode.lower(),)] == sql(path, f"PRAGMA journal_mode = {mode}")

    async with SqliteStore(path) as store:
        assert b"v" == await store.get("k")
        await store.put("k", b"w")
