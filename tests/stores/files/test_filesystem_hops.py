"""Hops of the stores on files to worker threads: none for reads from the page cache, one for everything else."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from storage import (
    ByteRange,
    FilesystemStore,
    HashdirStore,
    KeyNotFoundError,
    ObjectStore,
    RangeNotSatisfiableError,
    SafeFilesystemStore,
)
from storage._concurrency.jobs import Job
from storage._concurrency.threads import Workers
from storage.stores.files.bulk import FILES_PER_HOP
from storage.stores.files.file_store import FileStore
from storage.stores.files.page_cache import LIMIT, MAX_READS_IN_A_ROW

FILE_STORES = [FilesystemStore, SafeFilesystemStore, HashdirStore]


@pytest.fixture
def hops(monkeypatch: pytest.MonkeyPatch) -> list[Job[Any]]:
    """Return the list of all jobs given to worker threads, which grows."""
    jobs: list[Job[Any]] = []
    put = Workers.put

    def counted(self: Workers, job: Job[Any]) -> None:
        jobs.append(job)
        put(self, job)

    monkeypatch.setattr(Workers, "put", counted)
    return jobs


@pytest.fixture
async def warm(tmp_path: Path) -> FilesystemStore:
    """Return a store with ``k``, 4 KiB that were read before, where such a file can be read without a hop."""
    store = FilesystemStore(tmp_path)
    await store.put("k", bytes(range(256)) * 16)
    await warmed(store)
    return store


async def warmed(store: FileStore, key: str = "k") -> None:
    """Read an object until a read no longer updates its access time, which may take some ms of the kernel's clock."""
    path = Path(store._root.path, store._path(key))
    status, mount = path.stat(), os.statvfs(path).f_flag
    if sys.platform != "linux" or not mount & (os.ST_RELATIME | os.ST_NOATIME):
        pytest.skip("reads without a hop are for Linux, and for file systems that do not note every read")
    await store.get(key)
    while (
        status.st_size
        and not mount & os.ST_NOATIME
        and status.st_atime_ns <= max(status.st_mtime_ns, status.st_ctime_ns)
    ):
        await store.get(key)
        status = path.stat()
    if not store._page_cache.available:
        pytest.skip("files here cannot be read without a hop")


def forget(path: Path) -> None:
    """Remove a file's bytes from the page cache."""
    with path.open("rb+") as file:
        os.fsync(file)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


# -- reads of what is in memory --------------------------------------------------------------------------------------


@pytest.mark.parametrize("store_class", FILE_STORES)
async def test_small_object_in_memory_is_read_without_a_hop(
    store_class: type[FileStore], tmp_path: Path, hops: list[Job[Any]]
) -> None:
    """The whole object, a part of it, an empty one: what is in memory needs no thread."""
    store = store_class(tmp_path)
    data = bytes(range(256)) * 16
    for key, value in {"k": data, "empty": b"", "limit": bytes(LIMIT)}.items():
        await store.put(key, value)
        await warmed(store, key)
    hops.clear()

    assert data == await store.get("k")
    assert data[10:20] == await store.get("k", byte_range=ByteRange(10, 20))
    assert data[-5:] == await store.get("k", byte_range=ByteRange.suffix(5))
    assert b"" == await store.get("k", byte_range=ByteRange(4096))
    assert b"" == await store.get("empty")
    assert bytes(LIMIT) == await store.get("limit")
    with pytest.raises(RangeNotSatisfiableError):
        await store.get("k", byte_range=ByteRange(4097))
    assert [] == hops


async def test_missing_object_whose_name_is_known_to_be_missing_takes_no_hop(
    warm: FilesystemStore, hops: list[Job[Any]]
) -> None:
    """A cache has misses as well as hits."""
    await warm.exists("missing")
    hops.clear()

    with pytest.raises(KeyNotFoundError) as caught:
        await warm.get("missing")
    assert ("missing", repr(warm)) == (caught.value.key, caught.value.store)
    assert [] == hops


async def test_object_that_is_not_in_memory_is_read_in_one_hop(
    warm: FilesystemStore, tmp_path: Path, hops: list[Job[Any]]
) -> None:
    """The event loop does not wait for a disk; afterwards the object is in memory."""
    forget(tmp_path / "k")
    hops.clear()

    assert 4096 == len(await warm.get("k"))
    assert 1 == len(hops)
    assert 4096 == len(await warm.get("k"))
    assert 1 == len(hops)


async def test_object_of_which_a_part_is_in_memory_is_read_whole(
    warm: FilesystemStore, tmp_path: Path, hops: list[Job[Any]]
) -> None:
    """The system may return fewer bytes without waiting than the object has."""
    data = os.urandom(LIMIT)
    await warm.put("half", data)
    await warmed(warm, "half")
    forget(tmp_path / "half")
    with (tmp_path / "half").open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        os.pread(file.fileno(), 4096, 0)
    hops.clear()

    assert data == await warm.get("half")
    assert 1 == len(hops)


async def test_large_object_is_read_in_one_hop(warm: FilesystemStore, hops: list[Job[Any]]) -> None:
    """Copying it would block the loop for longer than the hop takes."""
    for size in (LIMIT + 1, 9 << 20):
        await warm.put("large", bytes(size))
        await warmed(warm, "large")
        hops.clear()

        assert bytes(size) == await warm.get("large")
        assert 1 == len(hops)


async def test_changed_object_is_read_in_one_hop_and_the_read_is_noted(
    warm: FilesystemStore, tmp_path: Path, hops: list[Job[Any]]
) -> None:
    """The first read after a change updates the access time: a write, which the event loop must not make."""
    if os.statvfs(tmp_path).f_flag & os.ST_NOATIME:
        pytest.skip("reads are not noted here")
    os.utime(tmp_path / "k", ns=(0, (tmp_path / "k").stat().st_mtime_ns))
    hops.clear()

    assert 4096 == len(await warm.get("k"))
    assert 1 == len(hops)
    assert (tmp_path / "k").stat().st_atime_ns > 0


async def test_reads_in_a_row_leave_others_their_turn(warm: FilesystemStore, hops: list[Job[Any]]) -> None:
    """A task that reads all the time and never waits lets other tasks run."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    hops.clear()
    for _ in range(100 * MAX_READS_IN_A_ROW):
        await warm.get("k")
    counting.cancel()

    assert 100 <= turns
    assert [] == hops


@pytest.mark.skipif(not os.path.ismount("/dev/shm"), reason="no tmpfs, which cannot be asked for what is in memory")
async def test_file_system_that_cannot_tell_what_is_in_memory_is_asked_once(hops: list[Job[Any]]) -> None:
    """Such a file system keeps all in memory but does not say so: each read takes one hop."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as root:
        store = FilesystemStore(root)
        await store.put("k", b"v")
        hops.clear()

        assert [b"v"] * 3 == [await store.get("k") for _ in range(3)]
        assert 3 == len(hops)
        assert store._page_cache.available is False


@pytest.mark.process
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("fault", ["openat2:error=ENOSYS", "openat2:error=EAGAIN", "preadv2:error=EOPNOTSUPP"])
def test_system_without_the_calls_reads_in_one_hop_each(fault: str, tmp_path: Path) -> None:
    """An old kernel, a sandbox, a disk that is never cached: slower, but correct."""
    code = (
        "import asyncio, sys\n"
        "from storage import FilesystemStore, KeyNotFoundError\n"
        "from storage._concurrency.threads import Workers\n"
        "put, hops = Workers.put, []\n"
        "Workers.put = lambda self, job: (hops.append(job), put(self, job))\n"
        "async def main():\n"
        "    store = FilesystemStore(sys.argv[1])\n"
        "    await store.put('d/k', b'v')\n"
        "    print([await store.get('d/k') for _ in range(3)])\n"
        "    try:\n"
        "        await store.get('d/missing')\n"
        "    except KeyNotFoundError as error:\n"
        "        print(error.key)\n"
        "    print(len(hops))\n"
        "asyncio.run(main())\n"
    )
    call = fault.partition(":")[0]
    done = subprocess.run(
        ["strace", "-f", "-e", f"trace={call}", "-e", f"inject={fault}", "-o", str(tmp_path / "trace")]  # noqa: RUF005
        + [os.path.realpath(sys.executable), "-c", code, str(tmp_path / "root")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )

    assert (0, "[b'v', b'v', b'v']\nd/missing\n5\n") == (done.returncode, done.stdout), done.stderr


# -- everything else -------------------------------------------------------------------------------------------------

Operation = Callable[[ObjectStore], Awaitable[object]]


async def rest(listing: AsyncIterator[object]) -> list[object]:
    return [each async for each in listing]


async def piece_of(store: ObjectStore) -> None:
    async with store.open("a/k") as reader:
        assert reader.info.size == 4


OPERATIONS: dict[str, Operation] = {
    "put": lambda store: store.put("new/directory/k", b"v", attributes={"a": "b"}),
    "put, overwriting": lambda store: store.put("a/k", b"v"),
    "put, creating": lambda store: store.put("new", b"v", if_absent=True),
    "delete": lambda store: store.delete("a/k"),
    "delete, missing": lambda store: store.delete("missing/k"),
    "head": lambda store: store.head("a/k"),
    "exists": lambda store: store.exists("a/k"),
    "exists, missing": lambda store: store.exists("missing/k"),
    "copy": lambda store: store.copy("a/k", "new/k"),
    "rename": lambda store: store.rename("a/k", "new/k"),
    "open": piece_of,
    "keys": lambda store: rest(store.keys()),
    "keys, none": lambda store: rest(store.keys("missing/")),
    "children": lambda store: rest(store.children()),
    "scan": lambda store: rest(store.scan()),
}


@pytest.mark.parametrize("store_class", FILE_STORES)
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_operation_takes_one_hop(
    operation: str, store_class: type[FileStore], tmp_path: Path, hops: list[Job[Any]]
) -> None:
    """However many system calls it makes."""
    store = store_class(tmp_path)
    for key in ("a/k", "a/l", "b"):
        await store.put(key, b"data")
    hops.clear()

    await OPERATIONS[operation](store)

    assert 1 == len(hops)


async def test_listing_takes_one_hop_for_each_page(
    tmp_path: Path, hops: list[Job[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many small directories are one page, and a large one is many."""
    monkeypatch.setattr("storage.stores.files.file_store.PAGE", 10)
    store = FilesystemStore(tmp_path)
    for number in range(25):
        await store.put(f"{number % 7}/{number}", b"")
    hops.clear()

    assert 25 == len(await rest(store.keys()))
    assert 3 == len(hops)
    assert 25 == len(await rest(store.scan()))
    assert 6 == len(hops)


@pytest.mark.parametrize("store_class", FILE_STORES)
async def test_bulk_calls_take_one_hop_for_a_batch(
    store_class: type[FileStore], tmp_path: Path, hops: list[Job[Any]]
) -> None:
    """Each object still has its own result, in the order of the keys."""
    store = store_class(tmp_path)
    objects = {f"k{number:03}": b"%d" % number for number in range(2 * FILES_PER_HOP)}
    await store.put_many(objects)
    hops.clear()

    found = await store.get_many(["missing", *objects, "k000"])
    assert ["missing", *objects] == list(found)
    assert objects == {key: data for key, data in found.items() if key != "missing"}
    assert 3 == len(hops)
    await store.delete_many([*objects])
    assert 5 == len(hops)
    assert [] == await rest(store.keys())
