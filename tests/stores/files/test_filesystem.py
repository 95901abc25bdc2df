"""What is special about the stores on plain files: what is on the disk, who else may touch it, what stays inside."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import itertools
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage import (
    CorruptObjectError,
    FilesystemStore,
    HashdirStore,
    InvalidKeyError,
    KeyConflictError,
    KeyNotFoundError,
    ObjectStore,
    PermissionDeniedError,
    SafeFilesystemStore,
)
from storage._concurrency.offload import step
from storage.stores.files.draft import DRAFT
from storage.stores.files.reader import describe
from storage.stores.files.safe_names import decode_name, encode_path

FILE_STORES = [FilesystemStore, SafeFilesystemStore, HashdirStore]


async def listed(store: ObjectStore, prefix: str = "") -> list[str]:
    return [key async for key in store.keys(prefix)]


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


# -- a directory of other programs -----------------------------------------------------------------------------------


async def test_directory_of_other_programs_is_readable_as_it_is(tmp_path: Path) -> None:
    """Hidden files, odd names and empty files are objects; links, sockets and names that are not UTF-8 are not."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / ".hidden").write_bytes(b"1")
    (tmp_path / "x~").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("x~")
    (tmp_path / "loop").symlink_to(".")
    os.mkfifo(tmp_path / "pipe")
    Path(os.fsdecode(bytes(tmp_path) + b"/\xff")).write_bytes(b"")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
    store = FilesystemStore(tmp_path)

    assert ["sub/.hidden", "x~"] == await listed(store)
    assert ["sub/", "x~"] == [child async for child in store.children()]
    for name in ("link", "loop/x~", "pipe", "socket", "sub", "empty"):
        assert not await store.exists(name)
        with pytest.raises(KeyNotFoundError):
            await store.get(name)


async def test_root_may_be_a_link_and_is_made_when_missing(tmp_path: Path) -> None:
    """Only what is inside the root may not be a link."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    await FilesystemStore(tmp_path / "link").put("k", b"v")
    await FilesystemStore(tmp_path / "new" / "root").put("k", b"v")

    assert ["new/root/k", "real/k"] == files(tmp_path)


@pytest.mark.parametrize("store_class", FILE_STORES)
async def test_reading_makes_nothing(store_class: type[FilesystemStore], tmp_path: Path) -> None:
    """A store that was only read leaves no trace, not even its root."""
    async with store_class(tmp_path / "root") as store:
        await store.exists("k")
        await listed(store)
        await store.delete("k")

    assert [] == list(tmp_path.iterdir())


# -- nothing outside the root ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["link/secret", "deep/link/secret", "file-link"])
async def test_links_lead_nowhere(key: str, tmp_path: Path) -> None:
    """A link inside the root is followed by no method, whether it stands on the way or at the end."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    root = tmp_path / "root"
    (root / "deep").mkdir(parents=True)
    (root / "link").symlink_to(outside)
    (root / "deep" / "link").symlink_to(outside)
    (root / "file-link").symlink_to(outside / "secret")
    store = FilesystemStore(root)

    assert [] == await listed(store)
    assert not await store.exists(key)
    for read in (store.get, store.head):
        with pytest.raises(KeyNotFoundError):
            await read(key)
    await store.delete(key)
    if "/" in key:
        with pytest.raises(KeyConflictError):
            await store.put(key, b"changed")
    else:
        await store.put(key, b"changed")
    assert b"secret" == (outside / "secret").read_bytes()
    assert ["secret"] == files(outside)


async def test_link_planted_while_the_store_works_leads_nowhere(tmp_path: Path) -> None:
    """There is no moment between a check and its use in which a directory can be swapped for a link."""
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    (outside / "k").write_bytes(b"secret")
    (root / "d").mkdir(parents=True)
    (root / "d" / "k").write_bytes(b"own")
    swapper = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, sys\n"
            "root, outside = sys.argv[1:]\n"
            "os.symlink(outside, root + '/link')\n"
            "while os.path.exists(root + '/go'):\n"
            "    os.rename(root + '/d', root + '/real'); os.rename(root + '/link', root + '/d')\n"
            "    os.rename(root + '/d', root + '/link'); os.rename(root + '/real', root + '/d')\n",
            str(root),
            str(outside),
        ]
    )
    (root / "go").touch()
    store = FilesystemStore(root)
    found = set()
    for _ in range(1000):
        try:
            await store.put("d/new", b"own")
        except (KeyConflictError, KeyNotFoundError):
            pass
        try:
            found.add(await store.get("d/k"))
        except KeyNotFoundError:
            found.add(b"missing")
    (root / "go").unlink()
    swapper.wait(10)

    assert b"secret" not in found
    assert ["k"] == files(outside)


@pytest.mark.parametrize("prefix", ["../", "/", "a/../../", "/etc/"])
async def test_prefix_does_not_climb(prefix: str, tmp_path: Path) -> None:
    """A listing below a prefix that no key has is empty, wherever the prefix points."""
    (tmp_path / "outside").write_bytes(b"")
    (tmp_path / "root" / "a").mkdir(parents=True)

    assert [] == await listed(FilesystemStore(tmp_path / "root"), prefix)


async def test_names_too_long_for_the_system_are_refused_by_every_method(tmp_path: Path) -> None:
    """256 bytes in a name, 4,096 in a path: an error of ours up front, not one of the system's half way."""
    store = FilesystemStore(tmp_path)
    for key in ("x" * 256, "é" * 128, "d/" * 2100 + "k"):
        for call in (store.get(key), store.put(key, b""), store.delete(key), store.exists(key), store.head(key)):
            with pytest.raises(InvalidKeyError):
                await call
    await store.put("x" * 255, b"v")

    assert ["x" * 255] == await listed(store)


async def test_reserved_names_are_neither_taken_nor_listed(tmp_path: Path) -> None:
    """What begins like a draft is the store's own."""
    store = FilesystemStore(tmp_path)
    (tmp_path / f"{DRAFT}x").write_bytes(b"")

    assert [] == await listed(store)
    for key in (f"{DRAFT}x", f"a/{DRAFT}x"):
        with pytest.raises(InvalidKeyError):
            await store.get(key)


# -- drafts, directories, crashes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("store_class", FILE_STORES)
async def test_draft_of_a_killed_writer_is_never_seen_and_goes_on_entering(
    store_class: type[FilesystemStore], tmp_path: Path
) -> None:
    """The draft of a busy writer stays: it holds a lock on it."""
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
    """A directory that a delete removes under a put is made again: no put fails."""
    store = FilesystemStore(tmp_path)

    async def churn(name: str) -> None:
        for _ in range(100):
            await store.put(f"d/e/{name}", b"v")
            await store.delete(f"d/e/{name}")

    await asyncio.gather(*(churn(str(i)) for i in range(4)))

    assert [] == list(tmp_path.iterdir())


async def test_directory_and_object_of_one_name_are_a_conflict(tmp_path: Path) -> None:
    """One path cannot be both; the error says which is in the way, and nothing changes."""
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
    """A crash can leave an empty directory; it is no object and stops none."""
    (tmp_path / "k").mkdir()
    await FilesystemStore(tmp_path).put("k", b"v")

    assert b"v" == (tmp_path / "k").read_bytes()


async def test_full_disk_leaves_the_old_object_and_no_draft(tmp_path: Path) -> None:
    """A real ENOSPC-like failure, by the limit on a file's size; afterwards the store goes on working."""
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


async def test_forbidden_directory_is_permission_denied(tmp_path: Path) -> None:
    """The system's refusal keeps its cause and names the key; it is nothing that a retry would mend."""
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
    """A directory that is removed between its making and the rename is made again."""
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
    """Empty directories would stand in the way of an object of their name."""
    store = store_class(tmp_path)

    def broken() -> Iterator[bytes]:
        yield b"x"
        raise LookupError("the caller's own")

    with pytest.raises(LookupError, match="the caller's own"):
        await store.put("a/b/k", broken())

    assert [] == list(tmp_path.iterdir())


async def test_rename_onto_an_empty_directory_or_below_a_link(tmp_path: Path) -> None:
    """A rename judges what is in its way as a put does, and its errors name the target."""
    store = FilesystemStore(tmp_path)
    await store.put("k", b"v")
    (tmp_path / "empty").mkdir()
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


@pytest.mark.parametrize("store_class", FILE_STORES)
async def test_tree_deeper_than_any_key_is_listed_and_entered(
    store_class: type[FilesystemStore], tmp_path: Path
) -> None:
    """Neither Python's limit on recursion nor the system's on paths stops a listing; what no key reaches is no key."""
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


async def test_directory_that_may_not_be_read_fails_the_listing_but_not_the_entering(tmp_path: Path) -> None:
    """Keys that are there are never left out in silence; the leftovers of killed writers may wait."""
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
    """More names than one system call gives, on a file system where their order changes under the reader."""
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


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_file_system_without_locks_has_no_conditions_and_says_so(tmp_path: Path) -> None:
    """Plain puts, deletes and listings work; a condition that could not be kept is refused."""
    code = (
        "import storage, sys\nfrom storage._concurrency.offload import step\n"
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
    """Asking a store what it can do never fails: that its root is a file, each method says."""
    (tmp_path / "file").write_bytes(b"")

    assert FilesystemStore(tmp_path / "file").capabilities.streaming
    with pytest.raises(KeyNotFoundError):
        step(FilesystemStore(tmp_path / "file").get("k"))


# -- etags and attributes --------------------------------------------------------------------------------------------


async def test_etags_differ_within_one_tick_of_the_clock(tmp_path: Path) -> None:
    """Equal sizes in quick succession: no two versions share an etag, though inodes are used again."""
    store = FilesystemStore(tmp_path)
    etags = [await store.put("k", b"%04d" % i) for i in range(2000)]

    assert 2000 == len(set(etags))


async def test_attributes_beyond_what_the_file_system_keeps_are_refused(tmp_path: Path) -> None:
    """The object is stored with all its attributes or not at all."""
    store = FilesystemStore(tmp_path)
    if not store.capabilities.attributes:
        pytest.skip("no extended attributes here")
    await store.put("k", b"v", attributes={"note": "x" * 2000})
    with pytest.raises(NotImplementedError, match="more than this file system keeps"):
        await store.put("k", b"w", attributes={"note": "x" * 200_000})

    assert b"v" == await store.get("k")
    assert {"note": "x" * 2000} == (await store.head("k")).attributes
    assert {"note": "x" * 2000} == json.loads(os.getxattr(tmp_path / "k", "user.storage.attributes"))


@pytest.mark.parametrize("packed", [b"\xff", b"[1]", b'{"a": 1}', b'{"A": "b"}', b"[" * 3000])
async def test_attributes_that_another_program_wrote_are_corrupt(packed: bytes, tmp_path: Path) -> None:
    """Bad bytes are an error that names the key, never a value and never the decoder's own exception."""
    store = FilesystemStore(tmp_path)
    if not store.capabilities.attributes:
        pytest.skip("no extended attributes here")
    await store.put("k", b"v")
    os.setxattr(tmp_path / "k", "user.storage.attributes", packed)

    with pytest.raises(CorruptObjectError) as caught:
        await store.head("k")
    assert "k" == caught.value.key
    assert b"v" == await store.get("k")


async def test_time_that_python_has_not_is_unknown() -> None:
    """Some file systems take any 64-bit time; such a file has no `modified`, and fails no listing."""
    status = os.stat_result((0o100644, 1, 1, 1, 0, 0, 3, 0, 0, 0), {"st_mtime_ns": 10**22})
    reader = os.open(os.devnull, os.O_RDONLY)
    try:
        assert describe("k", reader, status).modified is None
    finally:
        os.close(reader)


# -- hashed directories ----------------------------------------------------------------------------------------------


async def test_hashdir_writes_a_key_anew_that_was_cut_short(tmp_path: Path) -> None:
    """A loss of power can leave the key's file empty; the next put of the object lists it again."""
    store = HashdirStore(tmp_path)
    await store.put("some key", b"v")
    (written,) = tmp_path.rglob("*.key")
    written.write_bytes(b"")
    await store.put("some key", b"w")

    assert ["some key"] == await listed(store)


async def test_hashdir_keeps_exactly_the_bytes_under_the_hash(tmp_path: Path) -> None:
    """The layout that other programs find: aa/bb/cc/rest of the sha-256, and the key beside it."""
    await HashdirStore(tmp_path).put("ключ/with any name", b"bytes")
    await HashdirStore(tmp_path, width=3, depth=1).put("k", b"2")
    digest = hashlib.sha256("ключ/with any name".encode()).hexdigest()
    path = tmp_path / digest[:2] / digest[2:4] / digest[4:6] / digest[6:]
    wide = hashlib.sha256(b"k").hexdigest()

    assert b"bytes" == path.read_bytes()
    assert "ключ/with any name" == path.with_name(f"{path.name}.key").read_text()
    assert b"2" == (tmp_path / wide[:3] / wide[3:]).read_bytes()


async def test_hashdir_ignores_and_reclaims_a_key_without_its_object(tmp_path: Path) -> None:
    """A writer killed between the two files leaves no object; foreign files stay untouched."""
    store = HashdirStore(tmp_path)
    await store.put("k", b"v")
    (kept,) = [name for name in files(tmp_path) if not name.endswith(".key")]
    (tmp_path / kept).unlink()
    (tmp_path / "foreign.key").write_bytes(b"\xff")
    (tmp_path / "foreign").write_bytes(b"")

    assert [] == await listed(store)
    async with store:
        pass
    assert ["foreign", "foreign.key"] == files(tmp_path)


async def test_hashdir_object_whose_key_was_lost_can_be_deleted_and_renamed(tmp_path: Path) -> None:
    """What should be gone already is no error."""
    store = HashdirStore(tmp_path)
    for key in ("a", "b"):
        await store.put(key, b"v")
    for path in tmp_path.rglob("*.key"):
        path.unlink()
    await store.delete("a")
    await store.rename("b", "c")

    assert ["c"] == await listed(store)


async def test_hashdir_listing_leaves_the_loop_free_and_maps_errors(tmp_path: Path) -> None:
    """The walk over all directories is made in a worker thread, and what the system says there is ours."""
    loop_thread = threading.get_ident()
    walkers = set()

    class Watched(HashdirStore):
        def _read_key(self, directory: int, name: str, path: str) -> str | None:
            walkers.add(threading.get_ident())
            raise OSError(errno.EACCES, "no")

    store = Watched(tmp_path)
    await store.put("k", b"v")
    with pytest.raises(PermissionDeniedError):
        await listed(store)

    assert walkers
    assert loop_thread not in walkers


async def test_hashdir_delete_leaves_nothing(tmp_path: Path) -> None:
    """Object, key and directories go together."""
    store = HashdirStore(tmp_path)
    await store.put("k", b"v")
    await store.delete("k")

    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(("width", "depth"), [(0, 1), (2, -1), (8, 8)])
def test_hashdir_refuses_a_layout_that_leaves_no_name(width: int, depth: int, tmp_path: Path) -> None:
    """64 digits are all there are."""
    with pytest.raises(ValueError, match="width"):
        HashdirStore(tmp_path, width=width, depth=depth)


# -- safe names ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "path"),
    {
        "reports/2024-q1.csv": "reports+/2024-q1.csv",
        "README.md": "^r^e^a^d^m^e.md",
        "con.txt": "%63on.txt",
        ".hidden": "%2ehidden",
        "a.": "a%2e",
        "a/": "a+/%",
        "//": "%+/%+/%",
        "..": "%2e%2e",
        "é ": "%c3%a9%20",
        "x" * 81: "x" * 80 + "~/x",
        "x" * 80: "x" * 80 + "~/%",
    }.items(),
)
def test_safe_names(key: str, path: str) -> None:
    """Readable where names are harmless; escaped, split and marked where not."""
    assert path == encode_path(key)


@pytest.mark.parametrize("name", ["README", "a b", "%41", "%zz", "a.", ".a", "con", "é", "a%", "x" * 80, "^A", "~"])
def test_name_that_the_encoding_does_not_give_is_foreign(name: str) -> None:
    """Each key has one path and each path one key, so that nothing is listed under a name that get does not find."""
    assert decode_name(name, is_directory=False) is None


async def test_safe_store_skips_foreign_files_and_keeps_the_order_of_long_names(tmp_path: Path) -> None:
    """Names continued in directories stand where the key stands, between its shorter and its nested neighbours."""
    store = SafeFilesystemStore(tmp_path)
    stem = "n" * 79
    ends = ["", "a", "a/b", "aa", "é", "😀", "/x", "\uffff"]
    keys = sorted([*(stem + end for end in ends), stem[:-1] + "é"])
    for key in keys:
        await store.put(key, key.encode())
    (tmp_path / "Foreign.txt").write_bytes(b"")
    (tmp_path / "Directory").mkdir()
    (tmp_path / "Directory" / "x").write_bytes(b"")

    assert keys == await listed(store)
    for key in keys:
        assert key.encode() == await store.get(key)
        assert [other for other in keys if other > key] == [other async for other in store.keys(start_after=key)]
