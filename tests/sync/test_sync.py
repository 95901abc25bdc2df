"""The synchronous face: which store it wraps, and when it steps and when it uses the background loop."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import storage
import storage.sync
from storage._concurrency.offload import offload


class Suspending(storage.DictStore):
    """A store that suspends, and so cannot be stepped."""

    async def get(self, key: str, *, byte_range: storage.ByteRange | None = None) -> bytes:
        await asyncio.sleep(0)
        return await super().get(key, byte_range=byte_range)


class Liar(Suspending):
    """A store that suspends, but declares that it does not."""

    _steppable = True

    async def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
        yield "first"
        await asyncio.sleep(0)


# -- around a store --------------------------------------------------------------------------------------------------


def test_face_is_around_the_async_store() -> None:
    """The async store is an attribute, for code that awaits."""
    inner = storage.DictStore()

    assert inner is storage.sync.ObjectStore(inner).async_store


def test_stacks_are_built_from_synchronous_stores() -> None:
    """Synchronous constructors build one async stack, which is wrapped once."""
    store = storage.sync.GzipStore(storage.sync.PrefixStore(storage.sync.DictStore(), "a/"), level=9)
    store.put("k", b"value")

    assert b"value" == store.get("k")
    assert "GzipStore(PrefixStore(DictStore(), 'a/')" in repr(store.async_store)
    assert isinstance(store.async_store, storage.GzipStore)
    assert 9 == store.async_store.level


def test_repr_is_like_the_constructor() -> None:
    """The repr is code that makes the store."""
    assert "storage.sync.DictStore()" == repr(storage.sync.DictStore())
    assert "storage.sync.ObjectStore(DictStore())" == repr(storage.sync.ObjectStore(storage.DictStore()))


def test_synchronous_store_is_not_wrapped_again() -> None:
    """A stack is wrapped once, from outside."""
    with pytest.raises(TypeError, match="already synchronous: use it"):
        storage.sync.ObjectStore(storage.sync.DictStore())  # type: ignore[arg-type]


def test_async_store_is_no_part_of_a_synchronous_stack() -> None:
    """The message says how to make it one."""
    with pytest.raises(TypeError, match=r"storage\.sync\.ObjectStore\(store\)"):
        storage.sync.PrefixStore(storage.DictStore(), "a/")  # type: ignore[arg-type]


def test_capabilities_are_those_of_the_stack() -> None:
    """The capabilities are the same on both faces."""
    store = storage.sync.ReadonlyStore(storage.sync.DictStore())

    assert store.async_store.capabilities == store.capabilities


# -- stepped or on the loop ------------------------------------------------------------------------------------------


class Threads(storage.DictStore):
    """A store that records the thread in which it ran."""

    _steppable = True

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[int] = set()

    async def exists(self, key: str) -> bool:
        self.seen.add(threading.get_ident())
        return await super().exists(key)


def test_what_never_suspends_is_stepped_in_the_callers_thread() -> None:
    """No event loop, no hop."""
    inner = Threads()
    storage.sync.ObjectStore(inner).exists("k")

    assert {threading.get_ident()} == inner.seen


def test_anything_can_be_made_to_run_on_the_loop() -> None:
    """`stepped=False` is for stores that must not block the caller's signals, and for tests."""
    inner = Threads()
    storage.sync.ObjectStore(inner, stepped=False).exists("k")

    assert {threading.get_ident()} != inner.seen


def test_what_suspends_runs_on_the_loop() -> None:
    """A subclass that overrides a coroutine is not steppable, and works."""
    store = storage.sync.ObjectStore(Suspending())
    store.put("k", b"value")

    assert b"value" == store.get("k")


@pytest.mark.parametrize("call", [lambda store: store.get("k"), lambda store: list(store.keys())], ids=["get", "keys"])
def test_steppable_store_that_suspends_is_named(call: Any) -> None:
    """The first call finds the wrong declaration; nothing is left running or un-awaited."""
    with pytest.raises(RuntimeError, match=r"(Suspending\.get|Liar\.keys) suspended"):
        call(storage.sync.ObjectStore(Liar()))


@pytest.mark.parametrize("stepped", [True, False])
async def test_works_inside_a_running_loop(stepped: bool, tmp_path: Path) -> None:
    """In a notebook a loop always runs."""
    with storage.sync.ObjectStore(storage.FilesystemStore(tmp_path), stepped=stepped) as store:
        store.put("k", iter([b"val", b"ue"]))
        with store.open("k") as file:
            found = file.read()

    assert b"value" == found
    assert ["k"] == list(store.keys())


def test_stepped_call_within_a_stepped_call(tmp_path: Path) -> None:
    """The data comes from another object of the same store."""
    store = storage.sync.FilesystemStore(tmp_path)
    store.put("a", b"v")
    store.put("b", (store.get("a") for _ in range(3)))

    assert b"vvv" == store.get("b")


async def test_stepped_call_leaves_the_thread_as_it_was() -> None:
    """Async code that runs in the thread afterwards does its blocking work in a worker thread, as before."""
    storage.sync.DictStore().exists("k")

    assert threading.get_ident() != await offload(threading.get_ident)


# -- functions -------------------------------------------------------------------------------------------------------


@pytest.fixture(params=[True, False], ids=["stepped", "loop"])
def store(request: pytest.FixtureRequest) -> storage.sync.ObjectStore:
    return storage.sync.ObjectStore(storage.DictStore(), stepped=request.param)


def test_copy_store_reports_in_the_callers_thread(store: storage.sync.ObjectStore) -> None:
    """A progress bar is drawn by the thread that asked for the copy."""
    target = storage.sync.DictStore()
    store.put_many({"a": b"1", "b": b"22"})
    seen: list[tuple[int, int]] = []

    done = storage.sync.copy_store(store, target, progress=lambda at: seen.append((threading.get_ident(), at.bytes)))

    assert storage.Progress(objects=2, bytes=3, key="b") == done
    assert [(threading.get_ident(), 1), (threading.get_ident(), 3)] == sorted(seen)
    assert {"a": b"1", "b": b"22"} == target.get_many(["a", "b"])


def test_copy_between_a_stepped_store_and_one_on_the_loop() -> None:
    """The loop runs both stores."""
    source = storage.sync.ObjectStore(Suspending())
    source.put("k", b"v")
    target = storage.sync.DictStore()
    storage.sync.copy_store(source, target)
    storage.sync.copy_store(target, source, overwrite=False)

    assert b"v" == target.get("k")


def test_copy_store_stops_at_what_the_callback_raises(store: storage.sync.ObjectStore) -> None:
    """The exception is the caller's own, unchanged."""
    store.put_many({f"{n:03}": b"x" for n in range(100)})
    boom = LookupError("enough")
    told: list[storage.Progress] = []

    def stop(progress: storage.Progress) -> None:
        told.append(progress)
        raise boom

    with pytest.raises(LookupError) as caught:
        storage.sync.copy_store(store, storage.sync.DictStore(), progress=stop)
    assert boom is caught.value
    assert 1 == len(told)


def test_update_computes_in_the_callers_thread(store: storage.sync.ObjectStore) -> None:
    """The function may use the store, even one that runs on the loop."""
    seen: list[int] = []

    def add(old: bytes | None) -> bytes:
        seen.append(threading.get_ident())
        return b"%d" % (int(old or b"0") + len(list(store.keys())))

    storage.sync.update(store, "n", add)

    assert b"1" == storage.sync.update(store, "n", add)
    assert {threading.get_ident()} == set(seen)


def test_update_of_eight_threads_loses_nothing(store: storage.sync.ObjectStore) -> None:
    """Compare-and-swap holds between threads."""
    threads = [
        threading.Thread(
            target=lambda: [
                storage.sync.update(store, "n", lambda old: b"%d" % (int(old or b"0") + 1)) for _ in "12345"
            ]
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert b"40" == store.get("n")


def test_get_or_returns_the_default(store: storage.sync.ObjectStore) -> None:
    """A missing key is no error here."""
    assert "nothing" == storage.sync.get_or(store, "k", "nothing")


# -- imports ---------------------------------------------------------------------------------------------------------


@pytest.mark.process
def test_import_is_cheap() -> None:
    """No store and no back end is imported before it is used."""
    code = "import sys, storage.sync; print(*(name for name in sys.modules if name.startswith(('storage', 'aio'))))"
    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(imported.stdout.split())

    assert set() == {name for name in loaded if name.startswith(("aio", "storage.stores", "storage.decorators"))}
