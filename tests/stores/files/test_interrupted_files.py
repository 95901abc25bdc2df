"""Ctrl-C at any moment of a call of a store on files: no descriptor is closed twice or leaks."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from interrupts import interrupted_at
from processes.programs import run

from storage.sync import FilesystemStore, HashdirStore, ObjectStore, SafeFilesystemStore

KINDS = [FilesystemStore, SafeFilesystemStore, HashdirStore]

pytestmark = [
    pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc"),
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited"),  # between its creation and its first step
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # an interrupt in a finalizer
]


@pytest.fixture(autouse=True)
def frozen() -> Iterator[None]:
    """Leave the objects that are there to no look of the garbage collector, which takes most of the time here."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


class Watch:
    """Closes descriptors, and notes those that were not open."""

    def __init__(self) -> None:
        self.close = os.close
        self.wrong: list[int] = []

    def __call__(self, number: int) -> None:
        try:
            self.close(number)
        except OSError:
            self.wrong.append(number)
            raise


def calls(store: ObjectStore[Any, Any]) -> None:
    """Make one call of each kind that opens files."""
    store.put("a/new/c", b"1")
    store.put("a/b", iter([b"1", b"2"]))
    store.get("a/b")
    store.copy("a/b", "x")
    store.rename("x", "y")
    list(store.scan())
    with store.open("y") as reader:
        reader.read(1)
    store.delete("a/new/c")


@pytest.mark.parametrize("kind", KINDS)
def test_interrupt_between_two_instructions_leaks_nothing(
    kind: type[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes at every 61st moment of some calls, with other moments for each kind of store."""
    watch = Watch()
    monkeypatch.setattr(os, "close", watch)
    store = kind(str(tmp_path))
    calls(store)
    gc.collect()
    before = descriptors()
    moment = 1

    while interrupted_at(moment, partial(calls, store)):
        gc.collect()  # an exception and its frames may keep each other
        assert descriptors() == before
        moment += 61

    assert moment > 200
    assert [] == watch.wrong
    calls(store)


@pytest.mark.process
@pytest.mark.parametrize("kind", [kind.__name__ for kind in KINDS])
def test_storm_of_interrupts_closes_no_descriptor_of_another_thread(kind: str, tmp_path: Path) -> None:
    """Real ones, hundreds in a second, while another thread opens and closes files all the time."""
    code = f"""
        import random
        from storage.sync import {kind} as Kind

        class Interrupt(BaseException):
            pass

        def interrupt(*_):
            raise Interrupt

        def others():
            while not over:
                files = [open(os.devnull, "wb", buffering=0) for _ in range(3)]
                for file in files:
                    try:
                        file.write(b"1")
                        file.close()
                    except OSError as error:
                        wrong.append(error)

        over, wrong, interrupts = False, [], 0
        store = Kind({str(tmp_path)!r})
        store.put("a/b", b"1")
        sys.setswitchinterval(1e-4)
        thread = threading.Thread(target=others, daemon=True)
        sys.unraisablehook = lambda _: None
        signal.signal(signal.SIGALRM, interrupt)
        end = time.monotonic() + 0.4
        gc.collect()
        before = len(os.listdir("/proc/self/fd"))
        thread.start()
        while time.monotonic() < end or interrupts < 6:  # a busy machine takes longer for them
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(5e-5, 1e-3))
                for _ in range(50):  # then another one, if this one came in a finalizer and was lost
                    store.put("a/c/d", b"1")
                    store.get("a/b")
                    store.copy("a/b", "e/f")
                    list(store.keys())
                    store.delete("a/c/d")
                    store.delete("e/f")
            except Interrupt:
                interrupts += 1
            except OSError as error:
                wrong.append(error)
        signal.setitimer(signal.ITIMER_REAL, 0)
        over = True
        thread.join()
        gc.collect()
        leaked = len(os.listdir("/proc/self/fd")) - before
        print(interrupts > 5, wrong, leaked)
    """
    done = run(code, timeout=60)

    assert done.stdout == "True [] 0\n", done.stderr
