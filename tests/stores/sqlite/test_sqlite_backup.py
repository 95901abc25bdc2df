"""`SqliteStore.backup`: what is copied, what is replaced, and what is left when it fails."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from sqlite_tools import LARGE, run, sql

from storage import SqliteStore, StorageError
from storage.stores.files.draft_names import DRAFT, new_draft_name
from storage.stores.sqlite import backup
from storage.stores.sqlite.connection import Connection


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "backups").mkdir()
    return tmp_path / "backups" / "copy.db"


async def contents(path: Path) -> dict[str, object]:
    """Return what a store over a copy has."""
    async with SqliteStore(path) as store:
        return dict(await store.get_many([key async for key in store.keys()]))


async def test_backup_has_all_that_was_acknowledged(store: SqliteStore, target: Path) -> None:
    """Small and large objects, and nothing beside the file."""
    await store.put("small", b"s", attributes={"a": "b"})
    await store.put("large", b"x" * LARGE)

    await store.backup(target)

    assert [target.name] == [each.name for each in target.parent.iterdir()]
    assert {"small": b"s", "large": b"x" * LARGE} == await contents(target)


async def test_backup_of_memory_is_a_file(target: Path) -> None:
    """A database in memory can be kept that way."""
    async with SqliteStore(":memory:") as store:
        await store.put("k", b"v")
        await store.backup(target)

    assert {"k": b"v"} == await contents(target)


async def test_backup_during_writes_is_one_state(
    store: SqliteStore, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A put in the middle of it neither waits nor is in the copy."""
    await store.put_many({f"k{number}": os.urandom(50_000) for number in range(200)})
    before = dict(await store.get_many([key async for key in store.keys()]))
    loop, steps = asyncio.get_running_loop(), 0

    def pause(self: Connection) -> None:
        nonlocal steps
        steps += 1
        pair = {"k0": b"%d" % steps, "new": b"%d" % steps}
        asyncio.run_coroutine_threadsafe(store.put_many(pair), loop).result(10)

    monkeypatch.setattr(Connection, "pause", pause)
    await store.backup(target)

    assert steps > 5
    assert b"%d" % steps == await store.get("new")
    assert before == await contents(target)


async def test_backup_keeps_its_permissions_private(store: SqliteStore, path: Path, target: Path) -> None:
    """A database that only its owner may read has a copy that only its owner may read."""
    path.chmod(0o600)

    await store.backup(target)

    assert 0o600 == stat.S_IMODE(target.stat().st_mode)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
async def test_backup_keeps_the_permissions_of_the_one_that_it_replaces(
    store: SqliteStore, path: Path, target: Path, mode: int
) -> None:
    """Whoever could not read the older one cannot read the new one, whatever the database's permissions are."""
    path.chmod(0o644)
    await store.backup(target)
    target.chmod(mode)

    await store.backup(target)

    assert mode == stat.S_IMODE(target.stat().st_mode)


async def test_backup_replaces_an_older_one(store: SqliteStore, target: Path) -> None:
    """And an empty file, as tempfile makes it."""
    target.touch()
    await store.put("k", b"1")
    await store.backup(target)
    await store.put("k", b"2")
    await store.backup(target)

    assert {"k": b"2"} == await contents(target)


@pytest.mark.parametrize("what", ["text", "database", "directory", "link", "open here", "itself", "killed"])
async def test_backup_replaces_nothing_else(store: SqliteStore, path: Path, target: Path, what: str) -> None:
    """What is no backup of a store stays as it is, and no draft is left."""
    await store.put("k", b"v")
    other = SqliteStore(target)
    if what == "text":
        target.write_bytes(b"important" * 100)
    elif what == "database":
        sql(target, "CREATE TABLE users (name)")
    elif what == "directory":
        target.mkdir()
    elif what == "link":
        target.symlink_to(path)
    elif what == "open here":
        await other.__aenter__()
    elif what == "killed":
        await store.backup(target)
        target.with_name("copy.db-wal").touch()  # what a killed process leaves, perhaps with objects in it
    before = sorted((each.name, each.lstat().st_ino, each.lstat().st_size) for each in target.parent.iterdir())

    with pytest.raises(StorageError, match="name another file"):
        await store.backup(path if what == "itself" else target)

    assert before == sorted((each.name, each.lstat().st_ino, each.lstat().st_size) for each in target.parent.iterdir())
    await store.put("k", b"w")
    await other.aclose()


@pytest.mark.process
async def test_backup_replaces_no_database_that_is_locked_without_a_log(store: SqliteStore, target: Path) -> None:
    """Another program may hold it exclusively, with no file beside it."""
    await store.backup(target)
    program = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA locking_mode = EXCLUSIVE")
db.execute("PRAGMA journal_mode = OFF")
db.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", program, str(target)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert "locked\n" == other.stdout.readline()
        before = target.stat()
        assert [target.name] == [each.name for each in target.parent.iterdir()]
        with pytest.raises(StorageError, match="in use by another process: name another file"):
            await store.backup(target)
        assert before.st_ino == target.stat().st_ino


async def test_backup_that_fails_or_is_cancelled_leaves_nothing(
    store: SqliteStore, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The older backup is there, the store works, and there is no draft."""
    await store.put_many({f"k{number}": os.urandom(100_000) for number in range(100)})
    await store.backup(target)
    with pytest.raises(StorageError, match="No such file"):
        await store.backup(target.parent / "missing" / "copy.db")
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(backup, "PAGES", 1)
    real = backup._copy

    def copy(*arguments: object) -> None:
        loop.call_soon_threadsafe(begun.set)
        real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(backup, "_copy", copy)
    copying = asyncio.create_task(store.backup(target))
    await begun.wait()
    copying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await copying

    assert [target.name] == [each.name for each in target.parent.iterdir()]
    assert 100 == len(await contents(target))


#: A program whose backup is killed: in the middle of the copy, or when the draft has got the target's name as well.
KILLED = """
import signal
from storage.stores.sqlite import backup
from storage.stores.sqlite.connection import Connection

calls = 0

def die(*arguments):
    global calls
    calls += 1
    if calls == 8 or sys.argv[3] == "published":  # SQLite writes the first page late
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    async with SqliteStore(sys.argv[1]) as store:
        if sys.argv[3] == "copying":
            Connection.pause = die
        else:
            os.unlink = die
        await store.backup(sys.argv[2])

asyncio.run(main())
"""


def drafts(target: Path) -> list[Path]:
    """Return the drafts beside a target."""
    return [each for each in target.parent.iterdir() if each.name.startswith(DRAFT)]


@pytest.mark.process
@pytest.mark.parametrize("when", ["copying", "published"])
async def test_draft_of_a_killed_backup_is_removed_by_the_next_to_this_target(
    store: SqliteStore, path: Path, target: Path, when: str
) -> None:
    """And by no backup to another file; the target can be opened then."""
    await store.put_many({f"k{number}": os.urandom(100_000) for number in range(100)})
    assert -signal.SIGKILL == run(KILLED, path, target, when).returncode
    (left,) = drafts(target)
    assert target.exists() == (when == "published")

    other = target.with_name("other.db")
    await store.backup(other)
    assert [left] == drafts(target)
    await store.backup(target)
    assert {target, other} == set(target.parent.iterdir())
    assert 100 == len(await contents(target))


#: A program that holds the lock of a draft, as a backup does.
HOLDING = """
import fcntl, sys
file = open(sys.argv[1])
fcntl.flock(file, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.mark.process
@pytest.mark.parametrize(
    "what", ["content", "other target", "file store", "in use", "open here", "log", "two names", "link", "pipe"]
)
async def test_backup_removes_no_file_that_may_be_another_ones(store: SqliteStore, target: Path, what: str) -> None:
    """A draft is one by its name, its content, and because nobody uses it."""
    whose = {"other target": b"other.db", "file store": b""}.get(what, os.fsencode(target.name))
    kept = target.with_name(new_draft_name(whose))
    await store.backup(kept)
    if what == "content":
        kept.write_bytes(b"important")
    elif what == "log":
        target.with_name(f"{kept.name}-wal").touch()
    elif what == "two names":
        os.link(kept, target.with_name("kept.db"))
    elif what in ("link", "pipe"):
        kept.rename(target.with_name("elsewhere.db"))
        kept.symlink_to("elsewhere.db") if what == "link" else os.mkfifo(kept)
    before = {(each.name, each.lstat().st_ino, each.lstat().st_size) for each in target.parent.iterdir()}

    with ExitStack() as opened:
        if what == "in use":
            command = [sys.executable, "-c", HOLDING, str(kept)]
            other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            assert (opened.enter_context(other).stdout or sys.stdin).readline() == "locked\n"
        elif what == "open here":
            opened.enter_context(kept.open("rb"))
        await store.backup(target)

    after = {(each.name, each.lstat().st_ino, each.lstat().st_size) for each in target.parent.iterdir()}
    assert before == {each for each in after if each[0] != target.name}


async def test_backup_goes_on_where_its_new_draft_is_taken_for_a_leftover(
    store: SqliteStore, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another backup may find it before it is locked, and remove it."""
    real = fcntl.flock
    removed: list[Path] = []

    def flock(descriptor: int, operation: int) -> None:
        if len(removed) < 3:
            removed.extend(drafts(target))
            removed[-1].unlink()
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    await store.put("k", b"v")
    await store.backup(target)

    assert 3 == len(set(removed))
    assert {"k": b"v"} == await contents(target)


async def test_backup_can_be_read_by_any_program(store: SqliteStore, target: Path) -> None:
    """It is whole without a log."""
    await store.put("k", b"v")
    await store.backup(target)

    with closing(sqlite3.connect(f"file:{target}?immutable=1", uri=True)) as db:
        assert [("ok",)] == db.execute("PRAGMA integrity_check").fetchall()
        assert [(b"k", b"v")] == db.execute("SELECT key, data FROM objects").fetchall()
