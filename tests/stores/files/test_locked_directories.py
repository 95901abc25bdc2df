"""A directory that another program has locked: calls wait, without a thread and not for ever, and can be cancelled."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from processes.programs import program, run

import storage.sync
from storage import (
    FilesystemStore,
    HashdirStore,
    ReentrantCallError,
    SafeFilesystemStore,
    StoreTimeoutError,
    StoreUnavailableError,
    TimeoutStore,
)
from storage._concurrency.offload import WORKERS, offload
from storage._core.descriptors import Descriptor
from storage.stores.files import locks, root
from storage.stores.files.file_store import FileStore

KINDS = [FilesystemStore, SafeFilesystemStore, HashdirStore]


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No call before has given up, and listings take locks here, as they do on most file systems."""
    monkeypatch.setattr(locks, "_given_up", {})
    monkeypatch.setattr(locks, "_refused", set())
    monkeypatch.setattr(root, "type_of", lambda directory: 0)


class Foreign:
    """A lock of every directory below one, as another program could hold it: the locks of the stores do not know it."""

    def __init__(self, top: Path) -> None:
        self._open = [os.open(path, os.O_RDONLY) for path in [top, *filter(Path.is_dir, top.rglob("*"))]]
        for directory in self._open:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def release(self) -> None:
        while self._open:
            os.close(self._open.pop())


@pytest.fixture
def lock() -> Iterator[Callable[[Path], Foreign]]:
    held: list[Foreign] = []

    def locked(top: Path) -> Foreign:
        held.append(Foreign(top))
        return held[-1]

    yield locked
    for each in held:
        each.release()


async def pieces() -> AsyncIterator[bytes]:
    yield b"1"
    yield b"2"


async def listed(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]


CALLS: dict[str, Callable[[FileStore], Awaitable[object]]] = {
    "put": lambda store: store.put("a", b"new"),
    "put of much": lambda store: store.put("a", b"new" * 100_000),
    "put of a stream": lambda store: store.put("a", pieces()),
    "put_many": lambda store: store.put_many({"a": b"1", "b": b"2"}),
    "delete": lambda store: store.delete("a"),
    "delete_many": lambda store: store.delete_many(["a", "b", "d/e"]),
    "copy": lambda store: store.copy("a", "c"),
    "rename": lambda store: store.rename("a", "c"),
    "keys": lambda store: listed(store.keys()),
    "scan": lambda store: listed(store.scan()),
    "children": lambda store: listed(store.children()),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", KINDS)
async def test_call_waits_for_a_locked_directory(
    kind: type[FileStore], call: str, tmp_path: Path, lock: Callable[[Path], Foreign]
) -> None:
    """Cancelled, it leaves at once and has done nothing; else it does what it should when the lock is free."""
    store, expected = kind(tmp_path / "store"), kind(tmp_path / "expected")
    for each in (store, expected):
        await each.put_many({"a": b"1", "b": b"2", "c": b"0", "d/e": b"3"})
    held = lock(tmp_path / "store")

    cancelled, going_on = (asyncio.ensure_future(CALLS[call](store)) for _ in range(2))
    await asyncio.wait([cancelled, going_on], timeout=0.03)
    assert [False, False] == [cancelled.done(), going_on.done()]
    cancelled.cancel()
    await asyncio.wait([cancelled], timeout=5)
    assert cancelled.cancelled()
    held.release()
    await going_on

    await CALLS[call](expected)
    want, have = await expected.get_many(await listed(expected.keys())), await store.get_many(["a", "b", "c", "d/e"])
    assert want == {key: value for key, value in have.items() if isinstance(value, bytes)}
    assert [] == [path for path in (tmp_path / "store").rglob(".~*") if path.is_file()]
    if call in ("keys", "children"):
        assert await CALLS[call](expected) == going_on.result()


async def test_waiting_calls_leave_the_threads_to_others(tmp_path: Path, lock: Callable[[Path], Foreign]) -> None:
    """There are more of them than threads, and another store goes on."""
    (tmp_path / "locked").mkdir()
    store, other = FilesystemStore(tmp_path / "locked"), FilesystemStore(tmp_path / "other")
    held = lock(tmp_path / "locked")
    waiting = [asyncio.ensure_future(store.put(f"k{n}", b"1")) for n in range(20 * WORKERS)]
    await offload(int)
    await asyncio.sleep(0.05)

    for n in range(50):
        await asyncio.wait_for(other.put(f"k{n}", b"1"), 5)
    assert not any(task.done() for task in waiting)
    open_files = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    assert open_files < 100

    held.release()
    await asyncio.wait_for(asyncio.gather(*waiting), 20)
    assert len(waiting) == len(await listed(store.keys()))


async def test_limits_of_time_end_the_wait(tmp_path: Path, lock: Callable[[Path], Foreign]) -> None:
    """That of a `TimeoutStore`, and that of the caller."""
    lock(tmp_path)

    with pytest.raises(StoreTimeoutError):
        await TimeoutStore(FilesystemStore(tmp_path), 0.05).put("k", b"1")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(FilesystemStore(tmp_path).put("k", b"1"), 0.05)
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("stepped", [False, True])
async def test_wait_has_a_limit(
    stepped: bool, tmp_path: Path, lock: Callable[[Path], Foreign], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the directory and the process, and that it is worth another attempt; it is not waited twice."""
    monkeypatch.setattr(locks, "LOCK_TIMEOUT", 0.2)
    lock(tmp_path)
    store = FilesystemStore(tmp_path)

    async def put() -> object:
        return storage.sync.FilesystemStore(tmp_path).put("k", b"1") if stepped else await store.put("k", b"1")

    with pytest.raises(StoreUnavailableError) as caught:
        await put()
    assert caught.value.retryable
    assert str(tmp_path) in str(caught.value)
    if sys.platform == "linux" and "lslocks" not in str(caught.value):
        assert f"process {os.getpid()} " in str(caught.value)

    results = await store.delete_many([f"k{n}" for n in range(5)], raise_errors=False)
    assert all(isinstance(error, StoreUnavailableError) for error in results.values())


def test_only_a_lock_that_nobody_here_got_shortens_the_next_waits(tmp_path: Path) -> None:
    """A call that others overtake for long fails, and says why; those after it wait as long as ever."""
    status = os.stat(tmp_path)
    place, since = (status.st_dev, status.st_ino), time.monotonic()

    with Descriptor.open(str(tmp_path), os.O_RDONLY) as directory, locks.seeking(place):
        with locks.locked(directory):
            pass
        overtaken = locks.unavailable(str(tmp_path), place, since, None)
    assert "other writers had the lock" in str(overtaken)
    assert locks.LOCK_TIMEOUT == locks.longest_wait(place)

    assert "has been locked" in str(locks.unavailable(str(tmp_path), place, since, None))
    assert locks.LOCK_TIMEOUT > locks.longest_wait(place)
    assert ([], {}, {}) == (locks._sought, locks._had, locks._polling)


def test_stepped_call_pauses_for_a_few_milliseconds_at_most(
    tmp_path: Path, lock: Callable[[Path], Foreign], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And for 0.1 at first: our own writers hold the lock for less."""
    pauses: list[float] = []
    sleep = time.sleep

    def noted(seconds: float) -> None:
        pauses.append(seconds)
        sleep(seconds)
        if len(pauses) == 150:
            held.release()

    monkeypatch.setattr(time, "sleep", noted)
    held = lock(tmp_path)
    storage.sync.FilesystemStore(tmp_path).put("k", b"1")

    assert pauses[0] <= 0.0001
    assert max(pauses) <= 0.005


def test_one_thread_tries_for_all_of_a_process(
    tmp_path: Path, lock: Callable[[Path], Foreign], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are woken in turn."""
    trying: set[int] = set()
    sleep = time.sleep
    others_wait = threading.Event()

    def noted(seconds: float) -> None:
        trying.add(threading.get_ident())
        sleep(seconds)
        if len(locks._waiting) == 3:
            others_wait.set()

    monkeypatch.setattr(time, "sleep", noted)
    held = lock(tmp_path)
    store = storage.sync.FilesystemStore(tmp_path)
    threads = [threading.Thread(target=store.put, args=(f"k{n}", b"1")) for n in range(4)]
    for thread in threads:
        thread.start()
    assert others_wait.wait(10)
    assert 1 == len(trying)
    held.release()
    for thread in threads:
        thread.join()

    assert 4 == len(list(store.keys()))


async def test_listing_goes_on_where_it_met_a_locked_directory(tmp_path: Path, lock: Callable[[Path], Foreign]) -> None:
    """It misses no key, and gives none twice."""
    store = FilesystemStore(tmp_path)
    keys = [f"{directory}/{n}" for directory in "abc" for n in range(3)]
    await store.put_many(dict.fromkeys(keys, b"1"))
    held = lock(tmp_path / "b")
    listing = asyncio.ensure_future(listed(store.keys()))
    await asyncio.wait([listing], timeout=0.03)
    assert not listing.done()

    held.release()

    assert keys == await listing


def test_stepped_call_waits_in_its_thread(tmp_path: Path, lock: Callable[[Path], Foreign]) -> None:
    held = lock(tmp_path)
    threading.Timer(0.05, held.release).start()

    storage.sync.FilesystemStore(tmp_path).put("k", b"1")

    assert b"1" == storage.sync.FilesystemStore(tmp_path).get("k")


async def test_draft_that_somebody_else_locks_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between its creation and its own lock; there is nothing to wait for."""
    real = fcntl.flock
    refused: list[int] = []

    def flock(file: int, operation: int) -> None:
        if not refused:
            refused.append(file)
            raise BlockingIOError(11, "locked")
        real(file, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    await FilesystemStore(tmp_path).put("k", b"1")

    assert ["k"] == [path.name for path in tmp_path.iterdir()]


def test_call_in_the_middle_of_one_for_the_same_directory_is_refused(tmp_path: Path) -> None:
    """As a signal handler makes it; for another directory it works, and afterwards all is as before."""
    inner = storage.sync.FilesystemStore(tmp_path)
    seen: list[object] = []

    class Interrupted(FilesystemStore):
        def _before_publish(self, key: str) -> Callable[[int, str, bool], None]:
            def handler(directory: int, name: str, replaces: bool) -> None:
                for other in ("other/k", "state"):
                    try:
                        seen.append(inner.put(other, b"1"))
                    except ReentrantCallError as error:
                        seen.append(error)

            return handler

    store = storage.sync.ObjectStore(Interrupted(tmp_path))
    store.put("k", b"1")

    assert isinstance(seen[0], str)
    assert isinstance(seen[1], ReentrantCallError)
    assert not seen[1].retryable
    inner.put("state", b"2")
    assert ["k", "other/k", "state"] == list(inner.keys())


def interrupted_once(code: str, top: Path) -> int:
    """Run a program that begins to wait for a lock, press Ctrl-C once, and return its exit code."""
    foreign = os.open(top, os.O_RDONLY)
    fcntl.flock(foreign, fcntl.LOCK_EX)
    before = f"root = {str(top)!r}\n"
    process = subprocess.Popen(program(code, before), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        return process.wait(timeout=20)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        os.close(foreign)


WAITING = """
from storage.stores.files import locks, waiting
def told(place, longest_wait=locks.longest_wait):
    threading.Timer(0.1, print, ["waiting"], {"flush": True}).start()
    return longest_wait(place)
locks.longest_wait = told
"""


@pytest.mark.process
@pytest.mark.parametrize(
    "call",
    [
        "asyncio.run(storage.FilesystemStore(root).put('k', b'1'))",
        "asyncio.run(storage.FilesystemStore(root).put('k', [b'1']))",
        "storage.sync.FilesystemStore(root).put('k', b'1')",
        "storage.sync.ObjectStore(storage.FilesystemStore(root), stepped=False).put('k', b'1')",
    ],
    ids=["asyncio", "stream", "stepped", "loop"],
)
def test_one_interrupt_ends_the_wait(call: str, tmp_path: Path) -> None:
    """In each view; and the end of the interpreter waits for no thread that waits for a lock."""
    assert -signal.SIGINT == interrupted_once(WAITING + call, tmp_path)
    assert [] == list(tmp_path.iterdir())


@pytest.mark.process
def test_signal_handler_that_uses_the_store_never_hangs(tmp_path: Path) -> None:
    """It puts, or is refused; real signals, at moments that nobody chose."""
    code = f"""
        import random
        store = storage.sync.FilesystemStore({str(tmp_path)!r})
        told = {{"saved": 0, "refused": 0}}
        def handler(*_):
            try:
                store.put("state", b"saved")
                told["saved"] += 1
            except storage.ReentrantCallError:
                told["refused"] += 1
        signal.signal(signal.SIGALRM, handler)
        end = time.monotonic() + 0.5
        while time.monotonic() < end or sum(told.values()) < 6:  # a busy machine takes longer for them
            signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-4, 1e-3))
            for n in range(20):
                store.put(f"k{{n}}", b"1")
        signal.setitimer(signal.ITIMER_REAL, 0)
        store.put("state", b"in the end")
        print(sum(told.values()) > 5)
    """
    done = run(code, timeout=60)

    assert ("True\n", "") == (done.stdout, done.stderr)
