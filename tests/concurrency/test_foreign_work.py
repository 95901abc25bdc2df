"""The user's code in worker threads: files that are put, callbacks, and blocking work of the user's own stores."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from processes.programs import program

import storage.sync
from storage import BufferStore, Data, DataTransform, DictStore, ObjectStore
from storage._concurrency import offload as offloading
from storage._concurrency.offload import WORKERS, given_up, offload, offload_foreign

#: More than there are worker threads.
MANY = WORKERS + 4


async def test_files_of_synchronous_stores_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """Each read of such a file waits for the background loop, which needs a worker thread."""
    target = BufferStore(DictStore())

    async def move(key: str) -> None:
        with source.open(key) as file:
            await target.put(key, file)

    with storage.sync.ObjectStore(
        storage.GzipStore(storage.FilesystemStore(tmp_path), level=1), stepped=False
    ) as source:
        source.put_many({str(number): os.urandom(2 << 20) for number in range(MANY)})
        async with asyncio.timeout(20):
            await asyncio.gather(*(move(str(number)) for number in range(MANY)))

        assert source.get("1") == (await target.get("1")).read()


async def test_callbacks_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """A synchronous handler of a store that is awaited calls a synchronous store."""
    with storage.sync.ObjectStore(storage.FilesystemStore(tmp_path), stepped=False) as log:
        noting = storage.sync.NotifyingStore(
            storage.sync.DictStore(), on_put=lambda event: log.put(event.key, b"noted")
        )
        store = noting.async_store
        async with asyncio.timeout(20):
            await asyncio.gather(*(store.put(str(number), b"v") for number in range(MANY)))

        assert MANY == len(list(log.keys()))


class Behind(ObjectStore):
    """A user's store that keeps its objects in a synchronous one."""

    def __init__(self, store: storage.sync.ObjectStore) -> None:
        self.store = store

    async def get(self, key: str) -> bytes:  # type: ignore[override]
        return await offload(self.store.get, key)

    async def put(self, key: str, data: Data) -> str:  # type: ignore[override]
        return await offload(self.store.put, key, data)  # type: ignore[arg-type]

    async def delete(self, key: str) -> None:  # type: ignore[override]
        await offload(self.store.delete, key)

    async def exists(self, key: str) -> bool:
        return await offload(self.store.exists, key)

    async def keys(self, prefix: str = "", *, start_after: str = "") -> Any:
        for key in await offload(list, self.store.keys(prefix, start_after=start_after)):
            yield key


async def test_worker_threads_that_wait_for_the_background_loop_are_replaced(tmp_path: Path) -> None:
    """The loop needs one of them for each of the calls that they wait for."""
    with storage.sync.ObjectStore(storage.FilesystemStore(tmp_path), stepped=False) as below:
        store = Behind(below)
        async with asyncio.timeout(20):
            await asyncio.gather(*(store.put(str(number), b"v") for number in range(MANY)))

        assert MANY == len([key async for key in store.keys()])


class Slow(DataTransform):
    """A user's codec that waits for others of its kind."""

    offload_above = 0

    def __init__(self, base: ObjectStore, all_there: threading.Barrier) -> None:
        super().__init__(base)
        self.all_there = all_there

    def encode(self, data: bytes) -> bytes:
        self.all_there.wait()
        return data

    def decode(self, data: bytes) -> bytes:
        return data


async def test_codecs_of_users_do_not_wait_for_each_other() -> None:
    """Nor does any store for them."""
    store = Slow(DictStore(), threading.Barrier(MANY, timeout=20))

    await asyncio.gather(*(store.put(str(number), b"v") for number in range(MANY)))


async def test_threads_that_are_not_needed_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's code gets as many as it has work under way, and they do not stay."""
    monkeypatch.setitem(offloading._POOLS, "foreign", ("storage-passing", None, 0.01))
    monkeypatch.setattr(offloading, "_pools", {})
    all_there = threading.Barrier(40, timeout=20)

    await asyncio.gather(*(offload_foreign(all_there.wait) for _ in range(40)))
    passing = [thread for thread in threading.enumerate() if thread.name.startswith("storage-passing")]
    for thread in passing:
        await asyncio.to_thread(thread.join, 10)

    assert not any(thread.is_alive() for thread in passing)


async def test_cancelled_work_is_told_to_give_up() -> None:
    """It waits in its thread for something, and asks now and then."""
    begun = threading.Event()

    def wait() -> None:
        begun.set()
        while not given_up():
            time.sleep(0.001)

    task = asyncio.create_task(offload(wait))
    await asyncio.to_thread(begun.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(10):
            await task
    assert not given_up()


async def test_put_of_a_file_that_never_comes_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that reads from a pipe cannot be interrupted; no store needs it."""
    monkeypatch.setattr(offloading, "FOREIGN_GRACE", 0.01)
    reading, writing = os.pipe()
    with open(reading, "rb") as file, open(writing, "wb") as other_end:
        task = asyncio.create_task(BufferStore(DictStore()).put("k", file))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(10):
                await task
        other_end.close()  # else closing the file would wait for the thread


async def test_who_cancels_again_does_not_wait_for_a_system_call_that_never_returns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first cancellation waits for it, because it could be a write that lands later."""
    monkeypatch.setattr(offloading, "PATIENCE", 0.05)
    begun, go_on = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go_on.wait()

    task = asyncio.create_task(offload(work))
    await asyncio.to_thread(begun.wait)
    task.cancel()
    await asyncio.sleep(0.1)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(10):
            await task
    go_on.set()


PROGRAMS = {
    "asyncio": """
async def main():
    print("waiting", flush=True)
    await offload(os.read, os.pipe()[0], 1)
asyncio.run(main())
""",
    "a file": """
async def main():
    print("waiting", flush=True)
    await storage.BufferStore(storage.DictStore()).put("k", open(os.pipe()[0], "rb"))
asyncio.run(main())
""",
    "sync": """
class Stuck(storage.DictStore):
    async def put(self, key, data, **options):
        print("waiting", flush=True)
        await offload(os.read, os.pipe()[0], 1)
storage.sync.ObjectStore(Stuck()).put("k", b"v")
""",
    "stepped": """
def data():
    print("waiting", flush=True)
    yield os.read(os.pipe()[0], 1)
storage.sync.DictStore().put("k", data())
""",
}


@pytest.mark.process
@pytest.mark.parametrize("code", PROGRAMS.values(), ids=list(PROGRAMS))
def test_two_interrupts_end_a_program_whose_thread_is_in_a_system_call(code: str) -> None:
    """A pipe, a network mount whose server is gone: neither the call nor the end of the interpreter waits for it."""
    process = subprocess.Popen(program(code), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        process.stdout.readline()
        time.sleep(0.1)  # the thread begins right after it is printed
        process.send_signal(signal.SIGINT)
        try:
            _, err = process.communicate(timeout=0.3)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=15)
    finally:
        process.kill()

    assert "KeyboardInterrupt" in err
    assert 0 != process.returncode
