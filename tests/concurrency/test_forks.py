"""Processes that are forked while other threads and tasks are inside the stores. Each test runs a separate program."""

from __future__ import annotations

import os
import re

import pytest
from paths import ROOT
from processes.programs import run

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork"),
]

#: Forks, and returns what the child printed: `at_fork` takes all locks in another thread, and `child` runs there.
FORKING = """
import tempfile, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # that this process has threads is the point
from storage._concurrency import forks
from storage.sync import *
directory = tempfile.mkdtemp()

def forked(child):
    # Other threads, because a lock can only be given back by the thread that took it.
    taken, go_on = threading.Barrier(2), threading.Event()
    def hold():
        held = [lock for lock in forks.locks() if lock.acquire(blocking=False)]
        taken.wait()
        go_on.wait()
        for lock in held:
            lock.release()
    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait()
    pid = os.fork()
    if not pid:
        signal.alarm(10)
        try:
            child()
            os._exit(0)
        except storage.StoreClosedError as error:
            print(error, flush=True)
            os._exit(0)
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
    go_on.set()
    thread.join()
    print("child", os.waitpid(pid, 0)[1], flush=True)
"""

STORES = {
    "dict": "DictStore()",
    "files": "FilesystemStore(directory)",
    "hashdir": "HashdirStore(directory)",
    "cache": "CachingStore(FilesystemStore(directory), DictStore(), max_bytes=10_000)",
    "expiring": "ExpiringStore(DictStore(), max_count=2)",
    "on the loop": "ObjectStore(storage.DictStore(), stepped=False)",
    "mirror": "MirroringStore([DictStore(), DictStore()])",
    "throttled": "ThrottlingStore(DictStore(), 1000, burst=1000)",
}


@pytest.mark.parametrize("store", STORES.values(), ids=list(STORES))
def test_child_uses_the_store_of_its_parent(store: str) -> None:
    """Other threads have every lock of the package at the fork, and will never release them in the child."""
    done = run(
        f"""{FORKING}
store = {store}
store.put_many({{"a": b"1", "b": b"2"}})
def child():
    store.put("c", b"3")
    print(store.get("c"), "c" in list(store.keys()), store.exists("x"), flush=True)
    with store:
        store.delete("c")
forked(child)
store.put("d", b"4")
print(store.get("d"))
"""
    )

    assert (0, "b'3' True False\nchild 0\nb'4'\n", "") == (done.returncode, done.stdout, done.stderr)


def test_child_makes_a_store_and_a_factory_of_its_own() -> None:
    """The locks of modules are new as well."""
    done = run(
        f"""{FORKING}
factory = StoreFactory({{"stores": {{"main": {{"type": "FilesystemStore", "config": {{"root": directory}}}}}}}})
FilesystemStore(directory).put("k", b"v")
def child():
    for store in FilesystemStore(directory), factory.build("main"), SqliteStore(directory + "/../own.sqlite"):
        with store:
            store.put("k", b"v")
            print(store.get("k"), flush=True)
forked(child)
"""
    )

    assert (0, 3 * "b'v'\n" + "child 0\n", "") == (done.returncode, done.stdout, done.stderr)


def test_child_is_refused_an_open_archive() -> None:
    """It does not wait for the lock that a writing thread of the parent had."""
    done = run(
        f"""{FORKING}
with ZipStore(directory + "/objects.zip") as store:
    store.put("k", b"v")
    forked(lambda: store.put("k", b"child"))
    print(store.get("k"))
"""
    )

    assert (0, "") == (done.returncode, done.stderr)
    assert re.fullmatch(r"the store was opened before a fork: .*\nchild 0\nb'v'\n", done.stdout)


def test_child_does_not_read_a_cache_entry_that_its_parent_is_replacing() -> None:
    """The write goes on in the parent only. The child reads the object from the main store, and caches it again."""
    done = run(
        f"""{FORKING}
class Pausing(storage.FilesystemStore):
    _steppable = True

    async def put(self, key, data, **options):
        etag = await super().put(key, data, **options)
        if data == b"new":
            written.set()
            resume.wait()
        return etag

written, resume = threading.Event(), threading.Event()
store = ObjectStore(storage.CachingStore(Pausing(directory), storage.DictStore()))
store.put("k", b"old")
store.get("k")
writer = threading.Thread(target=store.put, args=("k", b"new"))
writer.start()
written.wait()
def child():
    before = store.async_store.stats.hits
    print(*(store.get("k") for _ in range(4)), store.async_store.stats.hits > before, flush=True)
forked(child)
resume.set()
writer.join()
"""
    )

    assert (0, "b'new' b'new' b'new' b'new' True\nchild 0\n", "") == (done.returncode, done.stdout, done.stderr)


def test_child_does_not_wait_for_tasks_of_its_parent() -> None:
    """A task on the parent's background loop has the lock of a key, and ends in the parent only."""
    done = run(
        f"""{FORKING}
class Waiting(storage.DictStore):
    async def put(self, key, data, **options):
        if data == b"parent":
            putting.set()
            await asyncio.sleep(60)
        return await super().put(key, data, **options)

putting = threading.Event()
store = ObjectStore(storage.MirroringStore([Waiting(), storage.DictStore()]))
threading.Thread(target=store.put, args=("k", b"parent"), daemon=True).start()
putting.wait()
def child():
    store.put("k", b"child")
    print(store.get("k"), flush=True)
forked(child)
"""
    )

    assert (0, "b'child'\nchild 0\n", "") == (done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("where", ["handler", "data"])
def test_child_that_is_forked_during_a_call_on_the_loop_leaves_the_call(where: str) -> None:
    """Nobody would answer it: the loop is the parent's."""
    done = run(
        f"""{FORKING}
class Waiting(storage.DictStore):
    async def put(self, key, data, **options):
        if {where!r} == "handler":
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
            await asyncio.sleep(0.3)
        return await super().put(key, data, **options)

def fork(*_):
    pids.append(os.fork())
    signal.alarm(10)

def data():
    if {where!r} == "data":
        fork()
    yield b"v"

pids = []
signal.signal(signal.SIGUSR1, fork)
store = ObjectStore(Waiting(), stepped=False)
try:
    store.put("k", data())
except storage.StoreClosedError as error:
    print(error, store.exists("k"), flush=True)
    os._exit(0)
print(store.get("k"), os.waitpid(pids[0], 0)[1])
"""
    )

    assert (0, "") == (done.returncode, done.stderr)
    assert "b'v' 0\n" in done.stdout
    assert "the process was forked during this call, which goes on in the parent only False\n" in done.stdout


@pytest.mark.parametrize(
    "store",
    [
        "ExpiringStore(DictStore(), 60, sweep_interval=30)",
        "ObjectStore(storage.ExpiringStore(storage.DictStore(), 60, sweep_interval=30), stepped=False)",
        "SqliteStore(directory + '/objects.sqlite')",
        "ZipStore(directory + '/objects.zip')",
        "ObjectStore(storage.ZipStore(directory + '/objects.zip'), stepped=False)",
        "MirroringStore([DictStore(), DictStore()])",
        "HttpStore('http://127.0.0.1:9/')",
        "RedisStore('redis://127.0.0.1:9/')",
        "BucketStore('bucket', endpoint_url='http://127.0.0.1:9', s3_access_key='x', s3_secret_key='y')",
    ],
)
def test_child_closes_what_its_parent_opened(store: str) -> None:
    """It has none of the tasks and connections, so there is nothing to wait for."""
    done = run(
        f"""{FORKING}
with {store} as store:
    def child():
        store.close()
        print("closed", flush=True)
    forked(child)
"""
    )

    assert (0, "closed\nchild 0\n", "") == (done.returncode, done.stdout, done.stderr)


def test_child_of_a_fork_without_hooks_is_refused_an_open_archive() -> None:
    """As by code in C: no function that was registered for forks runs, and the archive is still the parent's."""
    done = run(
        f"""{FORKING}
import ctypes
store = ZipStore(directory + "/a.zip")
with store:
    store.put("k", b"v")
    pid = ctypes.PyDLL(None).fork()
    if not pid:
        signal.alarm(10)
        try:
            store.put("k", b"child")
        except storage.StoreClosedError as error:
            print("fork" in str(error), flush=True)
        os._exit(0)
    print("child", os.waitpid(pid, 0)[1], flush=True)
    store.put("k", b"w")
with store:
    print(store.get("k"))
"""
    )

    assert (0, "True\nchild 0\nb'w'\n", "") == (done.returncode, done.stdout, done.stderr)


def test_child_of_a_fork_without_hooks_leaves_what_its_parent_entered() -> None:
    """The background loop, where the parent leaves it, has no thread in the child."""
    done = run(
        f"""{FORKING}
import ctypes
with storage.sync.ObjectStore(storage.DictStore(), stepped=False) as store:
    store.put("k", b"v")
    pid = ctypes.PyDLL(None).fork()
    if not pid:
        signal.alarm(10)
if not pid:
    os._exit(0)
print("child", os.waitpid(pid, 0)[1])
"""
    )

    assert (0, "child 0\n", "") == (done.returncode, done.stdout, done.stderr)


def test_child_of_a_handler_goes_on_in_the_section_that_it_interrupted() -> None:
    """The thread that forks keeps its locks, in the parent and in the child."""
    done = run(
        f"""{FORKING}
store = DictStore()
store.put("k", b"v")
with store.async_store._writing:
    pid = os.fork()
store.put("k", b"w")
if not pid:
    os._exit(store.get("k") != b"w")
print("child", os.waitpid(pid, 0)[1], store.get("k"))
"""
    )

    assert (0, "child 0 b'w'\n", "") == (done.returncode, done.stdout, done.stderr)


#: Modules with other locks: one that is used once, by its job; those of the guards of SQLite, which renew them; and one
#: of an archive, which no child may use, that is taken and released in several threads.
WITH_OTHER_LOCKS = {
    "storage/_concurrency/jobs.py",
    "storage/stores/sqlite/fork_guard.py",
    "storage/stores/zip/archive.py",
}


def test_every_lock_is_one_that_a_child_finds_free() -> None:
    """Also a new one: use `Mutex`."""
    lock = re.compile(r"threading\.(R?Lock|Condition|\w*Semaphore)\(")
    found = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "storage").rglob("*.py")
        if lock.search(path.read_text(encoding="utf-8"))
    }

    assert set() == found - WITH_OTHER_LOCKS
