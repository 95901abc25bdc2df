"""The synchronous face and Ctrl-C. Each test is a program of its own."""

from __future__ import annotations

import signal
import subprocess

import pytest
from processes.programs import program

pytestmark = pytest.mark.process


def interrupt(code: str) -> tuple[int, str, str]:
    """Run a program, press Ctrl-C when it prints its first line, and return its exit code and what it printed."""
    process = subprocess.Popen(program(code), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    return process.returncode, first + out, err


def test_interrupt_cancels_the_work_and_waits_for_it() -> None:
    """KeyboardInterrupt leaves the call when the store has settled, and the store can be used again."""
    code, out, err = interrupt(
        """
        store = storage.sync.ObjectStore(Slow())
        try:
            store.put("k", b"v")
        except KeyboardInterrupt:
            print("interrupted", store.exists("k"))
        """
    )

    assert (0, "putting\nsettled\ninterrupted False\n", "") == (code, out, err)


def test_interrupt_waits_for_a_worker_thread() -> None:
    """A write that a thread is at cannot be stopped: it must not land after the call has ended."""
    code, out, err = interrupt(
        """
        store = storage.sync.ObjectStore(Blocking())
        try:
            store.put("k", b"v")
        except KeyboardInterrupt:
            print("interrupted")
        """
    )

    assert (0, "putting\nworked\ninterrupted\n", "") == (code, out, err)


def test_interrupt_of_a_stepped_call_goes_through_it() -> None:
    """It is like Ctrl-C in any function: the generator sees it, and nothing is published."""
    code, out, err = interrupt(
        """
        def data():
            try:
                print("putting", flush=True)
                time.sleep(60)
            finally:
                print("unwound")
            yield b"v"

        store = storage.sync.DictStore()
        try:
            store.put("k", data())
        except KeyboardInterrupt:
            print("interrupted", store.exists("k"))
        """
    )

    assert (0, "putting\nunwound\ninterrupted False\n", "") == (code, out, err)


def test_interrupt_in_lent_data_cancels_the_work() -> None:
    """The thread is in the caller's generator, the store waits for its next piece."""
    code, out, err = interrupt(
        """
        def data():
            yield b"v" * 1_000_000
            print("putting", flush=True)
            time.sleep(60)

        store = storage.sync.ObjectStore(storage.DictStore(), stepped=False)
        try:
            store.put("k", data())
        except KeyboardInterrupt:
            print("interrupted", store.exists("k"))
        """
    )

    assert (0, "putting\ninterrupted False\n", "") == (code, out, err)


def test_interrupt_while_entering_leaves_nothing_open() -> None:
    """`with` either has the store or has not."""
    code, out, err = interrupt(
        """
        class Opening(storage.DictStore):
            async def _open(self):
                print("opening", flush=True)
                try:
                    await asyncio.sleep(60)
                finally:
                    print("undone")

            async def exists(self, key):
                return False

        store = storage.sync.ObjectStore(Opening())
        try:
            with store:
                print("never")
        except KeyboardInterrupt:
            print("interrupted", store.async_store._users)
        """
    )

    assert (0, "opening\nundone\ninterrupted 0\n", "") == (code, out, err)


def test_program_that_is_interrupted_ends() -> None:
    """Nobody catches it: one traceback, the exit code of Ctrl-C, and no complaint of the loop's."""
    code, out, err = interrupt("storage.sync.ObjectStore(Slow()).put('k', b'v')")

    assert "putting\nsettled\n" == out
    assert -signal.SIGINT == code
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert "pending" not in err


def test_second_interrupt_does_not_wait() -> None:
    """One who presses twice wants out, whatever the store is at."""
    code, out, _ = interrupt(
        """
        Slow.seconds = 60
        def again():
            time.sleep(0.5)
            os.kill(os.getpid(), signal.SIGINT)

        store = storage.sync.ObjectStore(Slow())
        try:
            threading.Thread(target=again, daemon=True).start()
            store.put("k", b"v")
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            os._exit(0)
        """
    )

    assert (0, "putting\ninterrupted\n") == (code, out)
