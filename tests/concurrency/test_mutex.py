"""`Mutex`: a lock that a forked child finds free, and that a signal handler or a finalizer is refused."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import weakref

import pytest
from interrupts import interrupted_at

from storage import ReentrantCallError
from storage._concurrency import forks
from storage._concurrency.mutex import Mutex, ReentrantLock, refuse_to_wait_in_section

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")


def test_thread_is_refused_the_mutex_that_it_has() -> None:
    """By `with` and by `acquire`; afterwards the mutex is as it was."""
    mutex = Mutex()

    with mutex:
        with pytest.raises(ReentrantCallError, match="signal handler or finalizer"), mutex:
            pass
        with pytest.raises(ReentrantCallError):
            mutex.acquire(timeout=1)
        assert mutex.owned
    assert not mutex.owned


def test_other_threads_wait() -> None:
    """No longer than their timeout."""
    mutex = Mutex()
    got: list[bool] = []

    with mutex:
        thread = threading.Thread(target=lambda: got.append(mutex.acquire(timeout=0.01)))
        thread.start()
        thread.join()
    thread = threading.Thread(target=lambda: got.append(mutex.acquire(timeout=0.01)))
    thread.start()
    thread.join()

    assert [False, True] == got


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="there is no signal for it")
def test_handler_takes_the_mutex_that_its_thread_waits_for() -> None:
    """It did not interrupt the section, so it is not refused."""
    mutex, held, go_on = Mutex(), threading.Event(), threading.Event()
    taken: list[bool] = []

    def hold() -> None:
        with mutex:
            held.set()
            go_on.wait()

    def handler(*_: object) -> None:
        go_on.set()
        with mutex:
            taken.append(True)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        with mutex:
            pass
    finally:
        signal.signal(signal.SIGUSR1, before)
        thread.join()

    assert [True] == taken


@pytest.mark.process
@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # that this process has threads is the point
def test_child_finds_the_mutex_of_another_thread_free() -> None:
    """And keeps the one that its own thread has."""
    mutex, own, held, go_on = Mutex(), Mutex(), threading.Event(), threading.Event()

    def hold() -> None:
        with mutex:
            held.set()
            go_on.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    with own:
        child = os.fork()
        if not child:
            os._exit(0 if mutex.acquire(timeout=1) and own.owned else 1)
    go_on.set()
    thread.join()

    assert 0 == os.waitpid(child, 0)[1]


def test_mutexes_are_not_kept() -> None:
    """The table of what a child renews has weak references only."""
    mutex = Mutex()
    gone = weakref.ref(mutex)
    assert gone in forks._locks

    del mutex
    gc.collect()

    assert gone() is None


def test_interrupt_leaves_no_mutex_that_nobody_releases() -> None:
    """Ctrl-C can come when the thread has it, and is not yet in the section."""
    mutex = Mutex()

    def section() -> None:
        with mutex:
            assert mutex.owned

    def acquire() -> None:
        assert mutex.acquire(timeout=1)
        mutex.release()

    moment = 1
    while interrupted_at(moment, section):
        assert not mutex.owned
        moment += 1
    assert moment > 3
    for moment in range(1, 4):
        assert interrupted_at(moment, acquire)
        assert not mutex.owned


def test_locks_are_looked_at_while_others_are_made() -> None:
    """By a fork, and by every synchronous call in a running event loop."""
    kept = [Mutex() for _ in range(300)]
    stop = threading.Event()

    def make() -> None:
        while not stop.is_set():
            [Mutex() for _ in range(50)]

    threads = [threading.Thread(target=make) for _ in range(2)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for _ in range(300):
            assert len(forks.locks()) >= len(kept)
            refuse_to_wait_in_section()
    finally:
        sys.setswitchinterval(before)
        stop.set()
        for thread in threads:
            thread.join()


def test_only_locks_that_the_thread_took_are_asked_whether_it_has_them() -> None:
    """A process may have many thousands of others."""
    asked: list[object] = []

    class Asked(Mutex):
        @property
        def owned(self) -> bool:
            asked.append(self)
            return self._is_owned()

    taken, *_others = [Asked() for _ in range(3)]

    with taken, pytest.raises(ReentrantCallError):
        refuse_to_wait_in_section()

    assert [taken] == asked


@pytest.mark.parametrize("kind", [Mutex, ReentrantLock])
def test_thread_in_a_section_is_refused_a_wait(kind: type[ReentrantLock]) -> None:
    """However many sections came before, and are in this one."""
    lock = kind()

    def take(count: int) -> None:
        for each in [kind() for _ in range(count)]:
            with each:
                pass

    for count in range(0, 100, 7):
        take(count)
        with lock:
            take(2 * count)
            with pytest.raises(ReentrantCallError):
                refuse_to_wait_in_section()
        refuse_to_wait_in_section()


@pytest.mark.parametrize("kind", [Mutex, ReentrantLock])
def test_section_is_noted_though_a_handler_took_many_locks_when_it_began(kind: type[ReentrantLock]) -> None:
    """The handler comes at every moment of the section."""
    lock = kind()
    noticed: list[bool] = []

    def section() -> None:
        with lock:
            noticed.append(False)
            with pytest.raises(ReentrantCallError):
                refuse_to_wait_in_section()
            noticed[-1] = True

    def handler() -> None:
        for each in [kind() for _ in range(60)]:
            with each:
                pass

    moment = 1
    while interrupted_at(moment, section, handler):
        moment += 1

    assert moment > 5
    assert all(noticed)
