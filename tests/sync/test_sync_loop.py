"""The synchronous face on its background loop, and its life cycle there and when stepped."""

from __future__ import annotations

import contextvars
import gc
import threading
import time
from collections.abc import Callable

import anyio
import anyio.lowlevel
import pytest

import storage
import storage.sync


def in_threads(count: int, work: Callable[[int], object]) -> None:
    """Run *work* in that many threads concurrently, and raise what one of them raised."""
    failures: list[BaseException] = []
    start = threading.Barrier(count)

    def run(number: int) -> None:
        start.wait()
        try:
            work(number)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [] == [thread for thread in threads if thread.is_alive()]
    if failures:
        raise failures[0]


# -- calls -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stepped", [True, False])
def test_eight_threads_at_once(stepped: bool) -> None:
    """Each thread gets its own results, and none waits for ever."""
    store = storage.sync.ObjectStore(storage.DictStore(), stepped=stepped)

    def work(number: int) -> None:
        for turn in range(25):
            key = f"{number}/{turn}"
            store.put(key, iter([key.encode()]))
            assert key.encode() == store.get(key)
        assert 25 == len(list(store.keys(f"{number}/")))

    in_threads(8, work)

    assert 200 == len(list(store.keys()))


def test_eight_creators_have_one_winner() -> None:
    """`if_absent` holds between threads, also when stepped."""
    store = storage.sync.DictStore()
    won: list[int] = []

    def create(number: int) -> None:
        try:
            store.put("k", b"%d" % number, if_absent=True)
        except storage.KeyExistsError:
            return
        won.append(number)

    in_threads(8, create)

    assert [store.get("k")] == [b"%d" % number for number in won]


class Overlapping(storage.DictStore):
    """A store whose `exists` returns when two calls run."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = 0

    async def exists(self, key: str) -> bool:
        self.waiting += 1
        with anyio.fail_after(5):
            while self.waiting < 2:
                await anyio.lowlevel.checkpoint()
        return True


def test_calls_of_threads_overlap_on_the_loop() -> None:
    """One slow call does not block the others."""
    inner = Overlapping()
    store = storage.sync.ObjectStore(inner)

    in_threads(2, lambda number: store.exists("k"))

    assert 2 == inner.waiting


variable = contextvars.ContextVar("variable", default="unset")


class Contextual(storage.DictStore):
    """A store that returns what it sees of the caller's context."""

    _steppable = True

    async def get(self, key: str, *, byte_range: storage.ByteRange | None = None) -> bytes:
        return variable.get().encode()


@pytest.mark.parametrize("stepped", [True, False])
def test_work_sees_the_callers_context(stepped: bool) -> None:
    """A context variable that the caller sets is visible in the store."""
    store = storage.sync.ObjectStore(Contextual(), stepped=stepped)
    token = variable.set("mine")
    found = store.get("k")
    variable.reset(token)

    assert (b"mine", b"unset") == (found, store.get("k"))


class Calling(storage.DictStore):
    """A store that wrongly calls a synchronous store from async code."""

    other = storage.sync.ObjectStore(storage.DictStore(), stepped=False)

    async def get(self, key: str, *, byte_range: storage.ByteRange | None = None) -> bytes:
        return self.other.get(key)


def test_call_from_the_loops_own_thread_raises() -> None:
    """It would wait for itself; the error says what to do, and the loop goes on."""
    store = storage.sync.ObjectStore(Calling())

    with pytest.raises(RuntimeError, match="await the async store instead"):
        store.get("k")
    assert not store.exists("k")


class Exiting(storage.DictStore):
    """A store whose code ends the program."""

    async def get(self, key: str, *, byte_range: storage.ByteRange | None = None) -> bytes:
        raise SystemExit(key)


def test_what_is_no_exception_reaches_the_caller() -> None:
    """It neither stops the loop, which all stores share, nor hangs."""
    store = storage.sync.ObjectStore(Exiting())

    with pytest.raises(SystemExit, match="3"):
        store.get("3")
    assert not store.exists("k")


def test_failed_call_leaves_no_garbage_cycle() -> None:
    """An error's traceback holds the caller's variables; they are freed with the error, not at the next collection."""
    store = storage.sync.ObjectStore(storage.DictStore(), stepped=False)
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            with pytest.raises(storage.KeyNotFoundError):
                store.get("missing")
        store.exists("k")
        left = [each for each in gc.get_objects() if isinstance(each, storage.KeyNotFoundError)]
    finally:
        gc.enable()

    assert [] == left


# -- life cycle ------------------------------------------------------------------------------------------------------


class Scoped(storage.DictStore):
    """A store with a task group while it is open: one task must enter and leave it."""

    events: list[str]

    def __init__(self, *, fail: bool = False) -> None:
        super().__init__()
        self.events = []
        self.fail = fail

    async def _open(self) -> None:
        self.events.append("open")
        if self.fail:
            raise storage.StoreUnavailableError("no room")
        self.group = await anyio.create_task_group().__aenter__()
        self.group.start_soon(anyio.sleep_forever)

    async def _close(self) -> None:
        self.group.cancel_scope.cancel()
        await self.group.__aexit__(None, None, None)
        self.events.append("close")

    async def exists(self, key: str) -> bool:
        await anyio.lowlevel.checkpoint()
        return "close" not in self.events


def test_with_is_entered_and_left_in_one_task() -> None:
    """A store may keep a task group open, and its background tasks run between the calls."""
    inner = Scoped()
    with storage.sync.ObjectStore(inner) as store:
        assert store.exists("k")

    assert ["open", "close"] == inner.events


def test_with_is_left_when_the_body_raises() -> None:
    """The error of the body is raised."""
    inner = Scoped()
    with pytest.raises(LookupError), storage.sync.ObjectStore(inner):
        raise LookupError

    assert ["open", "close"] == inner.events


def test_error_of_entering_is_raised_by_with() -> None:
    """The body does not run, and nothing stays open."""
    inner = Scoped(fail=True)
    with pytest.raises(storage.StoreUnavailableError, match="no room"), storage.sync.ObjectStore(inner):
        pytest.fail("the store is not open")

    assert ["open"] == inner.events


class Opening(storage.DictStore):
    """A store that is slow to open, and must not be opened twice."""

    _steppable = True

    def __init__(self) -> None:
        super().__init__()
        self.users = 0
        self.most = 0

    async def _open(self) -> None:
        time.sleep(0.01)  # noqa: ASYNC251  # stepped code blocks
        self.users += 1
        self.most = max(self.most, self.users)

    async def _close(self) -> None:
        self.users -= 1


@pytest.mark.parametrize("stepped", [True, False])
def test_eight_threads_open_a_store_once(stepped: bool) -> None:
    """Also when they use two stacks that share it."""
    inner = Opening()
    faces = [storage.sync.ObjectStore(storage.PrefixStore(inner, p), stepped=stepped) for p in ("a/", "b/")]

    def enter(number: int) -> None:
        with faces[number % 2]:
            time.sleep(0.02)

    in_threads(8, enter)

    assert (0, 1) == (inner.users, inner.most)


@pytest.mark.parametrize("stepped", [True, False])
def test_close_may_be_repeated_and_with_left_after_it(stepped: bool) -> None:
    """Closing is idempotent, and entering again reopens the store."""
    inner = Opening()
    store = storage.sync.ObjectStore(inner, stepped=stepped)
    with store:
        store.close()
        store.close()
        closed = inner.users
    with store:
        reopened = inner.users

    assert (0, 1, 0) == (closed, reopened, inner.users)


def test_threads_are_one() -> None:
    """All stores share the loop's thread."""
    for _ in range(3):
        storage.sync.ObjectStore(storage.DictStore(), stepped=False).exists("k")

    assert 1 == sum(1 for thread in threading.enumerate() if thread.name == "storage-loop")
