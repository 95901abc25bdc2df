"""Directories of the stores on plain files: drafts, crashes, conflicts, missing permissions."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from file_tools import FILE_STORES, files, listed

from storage import ConfigError, FilesystemStore, KeyConflictError, KeyNotFoundError
from storage._concurrency.stepping import step
from storage.stores.files.draft_names import DRAFT
from storage.stores.files.locks import all_locked


@pytest.mark.process
@pytest.mark.parametrize("store_class", FILE_STORES)
async def test_draft_of_a_killed_writer_is_never_seen_and_goes_on_entering(
    store_class: type[FilesystemStore], tmp_path: Path
) -> None:
    """The draft of a running writer, which holds a lock on it, stays."""
    code = (
        "import asyncio, storage, sys\n"
        "async def slow():\n"
        "    yield bytes(3 << 20)\n"
        "    print('begun', flush=True)\n"
        "    await asyncio.sleep(60)\n"
        f"asyncio.run(storage.{store_class.__name__}(sys.argv[1]).put('d/k', slow()))\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    with writer.stdout:
        writer.stdout.readline()

        async with store_class(tmp_path) as store:
            assert [] == await listed(store)
        (draft,) = files(tmp_path)
        assert DRAFT in draft
        writer.kill()
        writer.wait()
        async with store_class(tmp_path) as store:
            assert [] == await listed(store)
    assert [] == files(tmp_path)


async def test_directories_come_and_go_with_their_objects(tmp_path: Path) -> None:
    """A delete removes the directories it leaves empty, and only those."""
    store = FilesystemStore(tmp_path)
    await store.put("a/b/c/k", b"")
    await store.put("a/k", b"")

    await store.delete("a/b/c/k")
    assert ["a", "a/k"] == sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    await store.rename("a/k", "k")
    assert ["k"] == [path.name for path in tmp_path.iterdir()]


async def test_puts_and_deletes_that_empty_each_others_directory(tmp_path: Path) -> None:
    """A directory that a delete removes during a put is made again: no put fails."""
    store = FilesystemStore(tmp_path)

    async def churn(name: str) -> None:
        for _ in range(100):
            await store.put(f"d/e/{name}", b"v")
            await store.delete(f"d/e/{name}")

    await asyncio.gather(*(churn(str(i)) for i in range(4)))

    assert [] == list(tmp_path.iterdir())


async def test_directory_and_object_of_one_name_are_a_conflict(tmp_path: Path) -> None:
    """One path cannot be both; the error says which exists, and nothing changes."""
    store = FilesystemStore(tmp_path)
    await store.put("a/b", b"1")
    await store.put("k", b"2")

    with pytest.raises(KeyConflictError):
        await store.put("a", b"")
    with pytest.raises(KeyConflictError):
        await store.put("k/x", b"")
    with pytest.raises(KeyConflictError):
        await store.rename("k", "a")
    assert not await store.exists("k/x")
    assert ["a/b", "k"] == files(tmp_path)


async def test_empty_directory_in_the_way_is_replaced(tmp_path: Path) -> None:
    """A crash can leave an empty directory of the store's; it is no object and prevents none."""
    await FilesystemStore(tmp_path).put("k/a/b", b"v")
    (tmp_path / "k" / "a" / "b").unlink()
    (tmp_path / "k" / "a").rmdir()
    await FilesystemStore(tmp_path).put("k", b"v")

    assert b"v" == (tmp_path / "k").read_bytes()


@pytest.mark.process
async def test_full_disk_leaves_the_old_object_and_no_draft(tmp_path: Path) -> None:
    """A real ENOSPC-like failure, by the limit on a file's size; afterwards the store still works."""
    code = (
        "import asyncio, resource, signal, storage, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
        "async def main():\n"
        "    store = storage.FilesystemStore(sys.argv[1])\n"
        "    await store.put('k', b'old')\n"
        "    for data in (bytes(2 << 20), [bytes(1 << 19)] * 4):\n"
        "        try:\n"
        "            await store.put('k', data)\n"
        "        except storage.StoreFullError as error:\n"
        "            assert error.key == 'k'\n"
        "        else:\n"
        "            raise SystemExit('no error')\n"
        "    assert await store.get('k') == b'old'\n"
        "    await store.put('k', b'new')\n"
        "asyncio.run(main())\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)

    assert ["k"] == files(tmp_path)
    assert b"new" == (tmp_path / "k").read_bytes()


@pytest.mark.process
async def test_forbidden_directory_is_permission_denied(tmp_path: Path) -> None:
    """The error keeps its cause and names the key; it is not retryable."""
    code = (
        "import asyncio, os, storage, sys\n"
        "store = storage.FilesystemStore(sys.argv[1])\n"
        "async def main():\n"
        "    await store.put('k', b'v')\n"
        "    os.chmod(sys.argv[1], 0o555)\n"
        "    if os.geteuid() == 0:\n"
        "        os.seteuid(65534)  # root may write anywhere\n"
        "    try:\n"
        "        await store.put('k', b'x')\n"
        "    except storage.PermissionDeniedError as error:\n"
        "        print(error.key, type(error.__cause__).__name__, error.retryable)\n"
        "    finally:\n"
        "        os.seteuid(os.getuid())\n"
        "asyncio.run(main())\n"
    )
    for parent in tmp_path.parents:
        if parent.stat().st_uid == os.geteuid():
            parent.chmod(parent.stat().st_mode | stat.S_IXOTH)
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    tmp_path.chmod(0o755)

    assert "k PermissionError False\n" == done.stdout, done.stderr
    assert b"v" == (tmp_path / "k").read_bytes()


async def test_renames_and_deletes_that_empty_each_others_directory(tmp_path: Path) -> None:
    """A directory that is removed after it was made and before the rename is made again."""
    store = FilesystemStore(tmp_path)

    async def churn(name: str) -> None:
        for _ in range(100):
            await store.put(name, b"v")
            await store.rename(name, f"d/e/{name}")
            await store.rename(f"d/e/{name}", f"f/g/{name}")
            await store.delete(f"f/g/{name}")

    await asyncio.gather(*(churn(str(i)) for i in range(4)))

    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("store_class", FILE_STORES)
async def test_failed_put_leaves_no_directories(store_class: type[FilesystemStore], tmp_path: Path) -> None:
    """An empty directory would prevent an object of its name."""
    store = store_class(tmp_path)

    def broken() -> Iterator[bytes]:
        yield b"x"
        raise LookupError("the caller's own")

    with pytest.raises(LookupError, match="the caller's own"):
        await store.put("a/b/k", broken())

    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("store_class", FILE_STORES)
async def test_failed_rename_leaves_no_directories(
    store_class: type[FilesystemStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program removes the source when the target's directories have been made."""
    store = store_class(tmp_path)
    await store.put("a/k", b"v")

    def late(*args: Any, **options: Any) -> Any:
        (tmp_path / store._path("a/k")).unlink()
        return all_locked(*args, **options)

    monkeypatch.setattr("storage.stores.files.renaming.all_locked", late)
    with pytest.raises(KeyNotFoundError):
        await store.rename("a/k", "b/c/k")

    assert not (tmp_path / store._path("b/c/k")).parent.exists()


async def test_rename_onto_an_empty_directory_or_below_a_link(tmp_path: Path) -> None:
    """A rename has the same conflicts as a put, and its errors name the target."""
    store = FilesystemStore(tmp_path)
    await store.put("k", b"v")
    await store.put("empty/a", b"v")
    (tmp_path / "empty" / "a").unlink()
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "link").symlink_to("/tmp")

    for move in (store.copy, store.rename):
        with pytest.raises(KeyConflictError) as caught:
            await move("k", "d/link/x")
        assert "d/link/x" == caught.value.key
    await store.rename("k", "empty")
    assert b"v" == (tmp_path / "empty").read_bytes()


async def test_reader_that_was_left_reads_no_other_file(tmp_path: Path) -> None:
    """The number of a closed descriptor soon belongs to another file."""
    store = FilesystemStore(tmp_path)
    await store.put("k", b"its own")
    await store.put("other", b"another's")
    async with store.open("k") as reader:
        pass

    async with store.open("other"):
        with pytest.raises(ValueError, match="the reader is closed"):
            await reader.read()


@pytest.mark.process
@pytest.mark.parametrize("store_class", FILE_STORES)
async def test_tree_deeper_than_any_key_is_listed_and_entered(
    store_class: type[FilesystemStore], tmp_path: Path
) -> None:
    """Neither Python's recursion limit nor that of paths stops a listing; files too deep for keys are skipped."""
    (tmp_path / "root").mkdir()
    store = store_class(tmp_path / "root")
    await store.put("k", b"v")
    here = os.getcwd()
    os.chdir(tmp_path / "root")
    for _ in range(1400):  # names of two letters: more than 4,096 bytes
        os.mkdir("dd")
        os.chdir("dd")
    os.chdir(here)

    async with store:
        assert ["k"] == await listed(store)
    subprocess.run(["rm", "-r", str(tmp_path / "root")], check=True)  # shutil.rmtree recurses


@pytest.mark.process
async def test_directory_that_may_not_be_read_fails_the_listing_but_not_the_entering(tmp_path: Path) -> None:
    """A listing never omits keys silently; the leftovers of killed writers can be removed later."""
    code = (
        "import asyncio, os, storage, sys\n"
        "async def main():\n"
        "    store = storage.FilesystemStore(sys.argv[1])\n"
        "    await store.put('d/k', b'v')\n"
        "    os.chmod(sys.argv[1] + '/d', 0)\n"
        "    if os.geteuid() == 0:\n"
        "        os.seteuid(65534)  # root may read anything\n"
        "    try:\n"
        "        async with store:\n"
        "            [key async for key in store.keys()]\n"
        "    except storage.PermissionDeniedError as error:\n"
        "        print(type(error.__cause__).__name__)\n"
        "    finally:\n"
        "        os.seteuid(os.getuid())\n"
        "        os.chmod(sys.argv[1] + '/d', 0o755)\n"
        "asyncio.run(main())\n"
    )
    for parent in tmp_path.parents:
        if parent.stat().st_uid == os.geteuid():
            parent.chmod(parent.stat().st_mode | stat.S_IXOTH)
    tmp_path.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)

    assert "PermissionError\n" == done.stdout, done.stderr


@pytest.mark.skipif(not os.path.ismount("/dev/shm"), reason="no tmpfs, which moves a name when its file is replaced")
async def test_listing_misses_no_key_that_is_overwritten_meanwhile() -> None:
    """More names than one system call returns, on a file system where their order changes during the reading."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as root:
        store = FilesystemStore(root)
        keys = [f"{i:04}" for i in range(3000)]
        for key in keys:
            step(store.put(key, b""))
        ended = threading.Event()

        def overwrite() -> None:
            for key in itertools.cycle(keys[::7]):
                step(store.put(key, b""))
                if ended.is_set():
                    return

        writer = threading.Thread(target=overwrite)
        writer.start()
        try:
            for _ in range(20):
                assert keys == await listed(store)
        finally:
            ended.set()
            writer.join()


@pytest.mark.process
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_file_system_without_locks_has_no_conditions_and_says_so(tmp_path: Path) -> None:
    """Plain puts, deletes and listings work; a condition that could not be guaranteed is an error."""
    code = (
        "import storage, sys\nfrom storage._concurrency.stepping import step\n"
        "store = storage.FilesystemStore(sys.argv[1])\n"
        "able = store.capabilities\n"
        "print(able.conditional_put, able.conditional_delete, able.multi_process, able.steppable)\n"
        "step(store.put('k', b'v'))\n"
        "for call in (store.put('k', b'w', if_absent=True), store.delete('k', if_match='x')):\n"
        "    try:\n"
        "        step(call)\n"
        "    except storage.UnsupportedOperationError as error:\n"
        "        print(error.key)\n"
        "print(step(store.get('k')))\n"
        "step(store.delete('k'))\n"
        "step(store.__aenter__())\n"
    )
    done = subprocess.run(
        ["strace", "-f", "-e", "trace=flock", "-e", "inject=flock:error=ENOLCK", "-o", str(tmp_path / "trace")]  # noqa: RUF005
        + [os.path.realpath(sys.executable), "-c", code, str(tmp_path / "root")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )

    assert (0, "False False False True\nk\nk\nb'v'\n") == (done.returncode, done.stdout), done.stderr


def test_capabilities_of_a_root_that_is_no_directory(tmp_path: Path) -> None:
    """`capabilities` never raises; each method reports that the root is a file."""
    (tmp_path / "file").write_bytes(b"")

    assert FilesystemStore(tmp_path / "file").capabilities.streaming
    with pytest.raises(ConfigError):
        step(FilesystemStore(tmp_path / "file").get("k"))
