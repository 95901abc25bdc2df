"""The synchronous face and Ctrl-C. Each test runs a separate program."""

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
    """The call raises KeyboardInterrupt when its work has ended, and the store can be used again."""
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
    """A write that a thread has begun cannot be stopped: it must not land after the call has ended."""
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
    """It is like Ctrl-C in any function: the generator gets it, and nothing is published."""
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
    """The thread runs the caller's generator, and the store waits for the next piece."""
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
    """After Ctrl-C `with` has either entered the store or not."""
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
    """If nobody catches it: one traceback, the exit code of Ctrl-C, and no message of the loop."""
    code, out, err = interrupt("storage.sync.ObjectStore(Slow()).put('k', b'v')")

    assert "putting\nsettled\n" == out
    assert -signal.SIGINT == code
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert "pending" not in err


def test_second_interrupt_does_not_wait() -> None:
    """A second Ctrl-C does not wait for the work."""
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
