"""Stepped work in threads: how many there are, and how they end."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from storage._concurrency.in_threads import for_each_in_threads
from storage._concurrency.offload import given_up
from storage._concurrency.stepping import is_stepping, step


class FirstError(Exception):
    """What work raises."""


def threads() -> list[threading.Thread]:
    """Return the threads that step parts."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("storage-parts")]


@pytest.fixture(autouse=True)
def all_end() -> Iterator[None]:
    """No thread is left after a call."""
    yield
    for thread in threads():
        thread.join(5)
    assert [] == threads()


def test_items_are_done_concurrently_up_to_a_limit() -> None:
    """Each is stepped, in one of as many threads as are needed."""
    together = threading.Barrier(3, timeout=10)
    names: list[tuple[str, bool]] = []

    async def work(item: int) -> None:
        together.wait()
        names.append((threading.current_thread().name, is_stepping()))

    step(for_each_in_threads(range(9), work, limit=3))

    assert {("storage-parts-0", True), ("storage-parts-1", True), ("storage-parts-2", True)} == set(names)
    assert 9 == len(names)


def test_no_item_is_taken_before_there_is_a_thread_for_it() -> None:
    """Items are large: there are no more of them than threads, and the one that is next."""
    taken: list[int] = []
    most = 0

    def items() -> Iterator[int]:
        for number in range(20):
            taken.append(number)
            yield number

    async def work(item: int) -> None:
        nonlocal most
        time.sleep(0.002)  # noqa: ASYNC251
        most = max(most, taken[-1] - item)

    step(for_each_in_threads(items(), work, limit=1))

    assert most <= 1


async def test_awaited_work_needs_no_threads() -> None:
    """On an event loop, tasks do it."""
    seen: set[str] = set()

    async def work(item: int) -> None:
        seen.add(threading.current_thread().name)

    await for_each_in_threads(range(9), work, limit=3)

    assert {threading.current_thread().name} == seen


def test_first_error_of_the_work_stops_the_rest() -> None:
    """It is raised as it is; what is under way is finished, and no item is begun any more."""
    begun: list[int] = []
    finished: list[int] = []
    both = threading.Barrier(2, timeout=10)

    async def work(item: int) -> None:
        begun.append(item)
        both.wait()
        if item == 0:
            raise FirstError(str(item))
        while not len(begun) > 1:
            time.sleep(0.001)  # noqa: ASYNC251
        time.sleep(0.05)  # noqa: ASYNC251
        assert not given_up()
        finished.append(item)

    with pytest.raises(FirstError, match="0"):
        step(for_each_in_threads(range(100), work, limit=2))

    assert [0, 1] == sorted(begun)
    assert [1] == finished


def test_error_of_the_iterable_ends_the_work_that_is_under_way() -> None:
    """It is raised as it is, when the threads have ended."""
    begun = threading.Event()
    gave_up: list[int] = []

    async def items() -> AsyncIterator[int]:
        yield 1
        assert begun.wait(10)
        raise FirstError

    async def work(item: int) -> None:
        begun.set()
        end = time.monotonic() + 10
        while not given_up() and time.monotonic() < end:
            time.sleep(0.001)  # noqa: ASYNC251
        gave_up.append(item)

    with pytest.raises(FirstError):
        step(for_each_in_threads(items(), work, limit=2))

    assert [1] == gave_up


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt, also where the tests run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signal can be sent to a thread")
@pytest.mark.parametrize("count", [1, 9], ids=["while it finishes", "while it waits for a thread"])
def test_ctrl_c_ends_the_work(count: int) -> None:
    """The threads are told to give up, and have ended when it is raised."""
    main = threading.main_thread().ident
    assert main is not None
    both = threading.Barrier(min(count, 2), timeout=10)
    ended: list[int] = []

    async def work(item: int) -> None:
        if both.wait() == 0:
            time.sleep(0.05)  # noqa: ASYNC251  # one that comes just before a wait is noticed only after it
            signal.pthread_kill(main, signal.SIGINT)
        end = time.monotonic() + 10
        while not given_up() and time.monotonic() < end:
            time.sleep(0.001)  # noqa: ASYNC251
        time.sleep(0.05)  # noqa: ASYNC251
        ended.append(item)

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        step(for_each_in_threads(range(count), work, limit=2))
    assert time.monotonic() - begun < 5
    assert min(count, 2) == len(ended)
