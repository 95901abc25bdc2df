"""What stands where SQLite has its log: files of others are neither overwritten nor deleted, nor waited for."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlite_tools import run, sql

from storage import SqliteStore, StorageError

KILLED = """
async def main():
    store = SqliteStore(sys.argv[1])
    await store.__aenter__()
    await store.put("acknowledged", b"a")
    os._exit(0)

asyncio.run(main())
"""


@pytest.mark.parametrize("end", ["-wal", "-shm", "-journal"])
@pytest.mark.parametrize("database", ["missing", "empty", "there"])
async def test_file_of_somebody_else_is_left(path: Path, end: str, database: str) -> None:
    """A file that only has the name of a log, also without a database, is told and not touched."""
    if database == "empty":
        path.touch()
    elif database == "there":
        async with SqliteStore(path):
            pass
    beside = Path(f"{path}{end}")
    beside.write_bytes(b"somebody's bytes" * 100)

    with pytest.raises(StorageError, match="away"):
        await SqliteStore(path).__aenter__()

    assert b"somebody's bytes" * 100 == beside.read_bytes()
    assert (database != "missing") == path.exists()


@pytest.mark.parametrize("end", ["-wal", "-shm", "-journal"])
@pytest.mark.parametrize("kind", ["pipe", "directory", "symbolic link", "hard link"])
async def test_what_is_no_file_of_its_own_is_not_used(path: Path, tmp_path: Path, end: str, kind: str) -> None:
    """A pipe is not waited for, and nothing is written through a link."""
    async with SqliteStore(path) as store:
        await store.put("k", b"v")
    beside, victim = Path(f"{path}{end}"), tmp_path / "victim"
    victim.write_bytes(b"important" * 1000)
    if kind == "pipe":
        os.mkfifo(beside)
    elif kind == "directory":
        beside.mkdir()
    elif kind == "symbolic link":
        beside.symlink_to(victim)
    else:
        os.link(victim, beside)
    before = beside.lstat()

    with pytest.raises(StorageError, match=r"names \(hard links\)" if kind == "hard link" else "no regular file"):
        await asyncio.wait_for(SqliteStore(path).__aenter__(), 10)

    assert before == beside.lstat()
    assert b"important" * 1000 == victim.read_bytes()


@pytest.mark.process
async def test_log_of_a_database_that_was_moved_away_is_kept(path: Path, tmp_path: Path) -> None:
    """What a killed process has acknowledged is there again when the database is moved back."""
    assert 0 == run(KILLED, path).returncode
    path.rename(tmp_path / "moved")

    with pytest.raises(StorageError, match=r"objects\.db-wal is there .* Move the database back"):
        await SqliteStore(path).__aenter__()
    assert not path.exists()

    (tmp_path / "moved").rename(path)
    async with SqliteStore(path) as store:
        assert b"a" == await store.get("acknowledged")


@pytest.mark.process
async def test_database_whose_creation_was_killed_is_created(path: Path) -> None:
    """The journal of an empty database has nothing that could be lost, whether its creator lives or not."""
    creating = f"""
import os, sqlite3
db = sqlite3.connect({str(path)!r}, isolation_level=None)
db.execute("PRAGMA cache_size = 1")
db.execute("BEGIN EXCLUSIVE")
db.execute("CREATE TABLE t (x)")
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", creating], check=True)
    journal = Path(f"{path}-journal")
    assert journal.stat().st_size
    assert not path.stat().st_size

    async with SqliteStore(path) as store:
        await store.put("k", b"v")

    assert [(b"k",)] == sql(path, "SELECT key FROM objects")
    assert not journal.exists()


async def test_link_made_while_the_store_is_open_does_no_harm(path: Path, tmp_path: Path) -> None:
    """A snapshot by hard links stops neither a backup nor a check of the store that is open."""
    async with SqliteStore(path) as store:
        await store.put("k", b"v")
        for end in ("", "-wal", "-shm"):
            os.link(f"{path}{end}", tmp_path / f"snapshot{end}")

        await store.backup(tmp_path / "backup.db")
        assert [] == [finding async for finding in store.check()]
        await store.put("k", b"w")


@pytest.mark.parametrize(
    ("target", "text"),
    [("loop", "is a loop of symbolic links"), ("nowhere/objects.db", "whose directory does not exist: create that")],
)
async def test_link_that_leads_nowhere_is_told(tmp_path: Path, target: str, text: str) -> None:
    """It is no matter of permissions."""
    link = tmp_path / "loop"
    link.symlink_to(target)

    with pytest.raises(StorageError, match=text) as caught:
        await SqliteStore(link).__aenter__()

    assert StorageError is type(caught.value)


async def test_link_to_a_file_that_is_missing_creates_it(tmp_path: Path) -> None:
    """The database and its log are where the link leads."""
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to("data/objects.db")

    async with SqliteStore(tmp_path / "link") as store:
        await store.put("k", b"v")
        assert (tmp_path / "data" / "objects.db-wal").exists()
