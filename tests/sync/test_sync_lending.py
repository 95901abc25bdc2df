"""Iterables and callbacks that a caller lends to the synchronous face run in the caller's thread."""

from __future__ import annotations

import gc
import io
import threading
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest

import storage
import storage.sync
from storage._sync.callbacks import stored_callback
from storage._sync.lending import PIECE_SIZE
from storage._sync.on_loop import LoopCaller


@pytest.fixture(params=[True, False], ids=["stepped", "loop"])
def store(request: pytest.FixtureRequest) -> storage.sync.ObjectStore:
    return storage.sync.ObjectStore(storage.DictStore(), stepped=request.param)


def noting(items: Iterable[Any], seen: set[int]) -> Iterator[Any]:
    """Yield *items* and record the thread in which that happens."""
    for item in items:
        seen.add(threading.get_ident())
        yield item


async def asynchronous() -> AsyncIterator[Any]:
    yield b"never"


def test_streamed_data_is_made_in_the_callers_thread(store: storage.sync.ObjectStore) -> None:
    """A generator may hold a lock or a cursor that belongs to its thread."""
    seen: set[int] = set()
    store.put("k", noting([b"a", b"b"], seen))

    assert b"ab" == store.get("k")
    assert {threading.get_ident()} == seen


def test_bulk_arguments_are_made_in_the_callers_thread(store: storage.sync.ObjectStore) -> None:
    """Keys, pairs, and the data in the pairs."""
    seen: set[int] = set()
    store.put_many(noting([("a", noting([b"1", b"2"], seen)), ("b", b"3")], seen))
    found = store.get_many(noting(["a", "b"], seen))
    store.delete_many(noting(["a"], seen))

    assert {"a": b"12", "b": b"3"} == found
    assert ["b"] == list(store.keys())
    assert {threading.get_ident()} == seen


def test_pairs_are_put_as_they_come(store: storage.sync.ObjectStore) -> None:
    """A million pieces need not be in memory together."""
    there: list[bool] = []

    def pairs() -> Iterator[tuple[str, bytes]]:
        for number in range(100):
            there.append(store.exists("0"))
            yield str(number), b"v"

    store.put_many(pairs())

    assert [False, True] == [there[0], there[-1]]


def test_values_of_a_mapping_are_made_in_the_callers_thread(store: storage.sync.ObjectStore) -> None:
    """Iterating a dict runs no code of the caller, but the generators in it do."""
    seen: set[int] = set()
    store.put_many({"a": noting([b"1"], seen), "b": b"2"})

    assert {"a": b"1", "b": b"2"} == store.get_many(["a", "b"])
    assert {threading.get_ident()} == seen


def test_lent_iterable_may_use_the_store(store: storage.sync.ObjectStore) -> None:
    """The calling thread only waits: a call from a lent iterable is one more call, and no deadlock."""
    store.put_many({"a": b"1", "b": b"2"})
    store.put("both", (store.get(key) for key in ["a", "b"]))

    assert b"12" == store.get("both")


def test_open_object_can_be_put(store: storage.sync.ObjectStore) -> None:
    """A file is an iterable of bytes, also one that the store opened."""
    store.put("a", b"one\ntwo\n" * 100_000)
    with store.open("a") as file:
        store.put("b", file)

    assert store.get("a") == store.get("b")


def test_lines_do_not_cross_one_by_one() -> None:
    """A hop for each line of a file would take most of the time."""
    lent: Any = LoopCaller().data(io.BytesIO(b"line\n" * 200_000))

    assert 1_000_000 // PIECE_SIZE + 1 == len(list(lent._items))


def test_pieces_are_gathered_to_slabs() -> None:
    """Large pieces are passed as they are, small ones are joined."""
    lent: Any = LoopCaller().data(iter([b"x" * PIECE_SIZE, b"a", b"b"]))

    assert [PIECE_SIZE, 2] == [len(piece) for piece in lent._items]


def test_iterable_that_is_no_iterator_can_be_read_again() -> None:
    """A decorator that retries iterates the data again, where it can be."""

    class Twice(Iterable[bytes]):
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"again"])

    class Retrying(storage.DictStore):
        async def put(self, key: str, data: storage.Data, **options: Any) -> str:
            await super().put(key, data, **options)
            return str(await super().put(key, data, **options))

    store = storage.sync.ObjectStore(Retrying(), stepped=False)
    store.put("k", Twice())

    assert b"again" == store.get("k")


@pytest.mark.parametrize("bulk", ["get_many", "delete_many", "put_many"])
def test_async_iterables_are_refused(store: storage.sync.ObjectStore, bulk: str) -> None:
    """The caller has no loop to run them in."""
    with pytest.raises(TypeError, match="synchronous"):
        getattr(store, bulk)(asynchronous())


def test_async_data_is_refused(store: storage.sync.ObjectStore) -> None:
    """In `put`, and in the pairs of `put_many`."""
    with pytest.raises(TypeError, match="synchronous"):
        store.put("k", asynchronous())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="synchronous"):
        store.put_many([("k", asynchronous())])  # type: ignore[list-item]
    assert not store.exists("k")


@pytest.mark.parametrize("data", ["text", 5, None, ["text"], [5], {"a": 1}], ids=repr)
def test_what_is_not_bytes_is_refused(store: storage.sync.ObjectStore, data: Any) -> None:
    """The error is that of the async store."""
    with pytest.raises(TypeError, match="data must be bytes"):
        store.put("k", data)
    assert not store.exists("k")


class BoomError(Exception):
    """An error of the caller's own code."""


def failing(error: BaseException, *items: Any) -> Iterator[Any]:
    yield from items
    raise error


@pytest.mark.parametrize("error", [BoomError("mine"), SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_what_lent_data_raises_passes_unchanged(store: storage.sync.ObjectStore, error: BaseException) -> None:
    """The same exception is raised, the old object stays, and the store still works."""
    store.put("k", b"old")

    with pytest.raises(type(error)) as caught:
        store.put("k", failing(error, b"x" * PIECE_SIZE))
    assert error is caught.value
    assert b"old" == store.get("k")


@pytest.mark.parametrize("bulk", ["get_many", "delete_many", "put_many"])
def test_what_lent_keys_raise_passes_unchanged(store: storage.sync.ObjectStore, bulk: str) -> None:
    """It is neither in an exception group nor the result of an item."""
    error = BoomError("mine")
    with pytest.raises(BoomError) as caught:
        getattr(store, bulk)(failing(error, *([("a", b"1")] if bulk == "put_many" else ["a"])))
    assert error is caught.value


def test_storage_error_of_lent_data_is_that_items_result(store: storage.sync.ObjectStore) -> None:
    """Data from another store may be missing there; the other items are still put."""
    error = storage.KeyNotFoundError("elsewhere")
    results = store.put_many([("a", failing(error, b"1")), ("b", b"2")], raise_errors=False)

    assert error is results["a"]
    assert b"2" == store.get("b")


def test_nothing_lent_is_run_after_an_interrupt() -> None:
    """The other puts of a bulk call do not go on while the call is being cancelled."""
    store = storage.sync.ObjectStore(storage.DictStore(), stepped=False)
    pulled: list[int] = []

    def data(number: int) -> Iterator[bytes]:
        pulled.append(number)
        if number == 0:
            raise KeyboardInterrupt
        yield b"v"

    with pytest.raises(KeyboardInterrupt):
        store.put_many({str(number): data(number) for number in range(16)})
    assert [0] == pulled


class Impatient(storage.DictStore):
    """A store that waits 10 ms for its data."""

    async def put(self, key: str, data: storage.Data, **options: Any) -> str:
        try:
            with anyio.fail_after(0.01):
                return await super().put(key, data, **options)
        except TimeoutError as cause:
            raise storage.StoreTimeoutError("too slow", key=key) from cause


def test_answer_that_comes_too_late_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    """The store has timed out; the loop goes on without an error."""

    def slow() -> Iterator[bytes]:
        time.sleep(0.1)
        yield b"v"

    store = storage.sync.ObjectStore(Impatient())
    with pytest.raises(storage.StoreTimeoutError):
        store.put("k", slow())

    assert not store.exists("k")
    assert [] == caplog.messages


def test_lent_iterable_is_let_go() -> None:
    """The loop keeps nothing of a call that has returned."""
    store = storage.sync.ObjectStore(storage.DictStore(), stepped=False)
    data = failing(BoomError(), b"1")
    gone = weakref.ref(data)
    with pytest.raises(BoomError):
        store.put("k", data)
    del data
    store.exists("k")  # one more turn of the loop, for what its last callback held
    gc.collect()

    assert gone() is None


def test_what_was_lent_is_gone_with_the_call() -> None:
    """A store that keeps the caller's iterable after the call gets an error and does not wait for ever."""

    class Keeping(storage.DictStore):
        kept: Any = None

        async def put(self, key: str, data: storage.Data, **options: Any) -> str:
            self.kept = data
            return ""

        async def exists(self, key: str) -> bool:
            return bool([piece async for piece in self.kept])

    store = storage.sync.ObjectStore(Keeping())
    store.put("k", iter([b"1"]))

    with pytest.raises(RuntimeError, match="used after the synchronous call"):
        store.exists("k")


class Told(storage.StoreDecorator):
    """Asks a callback whether there is an object."""

    _steppable = True

    def __init__(self, base: storage.ObjectStore, tell: Callable[[str], Awaitable[Any]] | None) -> None:
        super().__init__(base)
        self.tell = tell

    async def exists(self, key: str) -> bool:
        assert self.tell is not None
        return bool(await self.tell(key))


@pytest.mark.parametrize("stepped", [True, False])
def test_callback_that_a_store_keeps_runs_in_the_thread_of_the_call(stepped: bool) -> None:
    """A callback of the constructor runs in the thread that uses the store, and may use the store itself."""
    seen: list[int] = []

    def tell(key: str) -> bytes:
        seen.append(threading.get_ident())
        return told.get(key)

    told = storage.sync.ObjectStore(Told(storage.DictStore(), stored_callback(tell)), stepped=stepped)
    told.put("k", b"v")

    assert told.exists("k")
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(told.exists, "k").result()
        assert [threading.get_ident(), pool.submit(threading.get_ident).result()] == seen


async def test_kept_callback_is_called_by_async_code_too() -> None:
    """No thread waits for it then, so it runs in a worker thread: it may block."""
    loop_thread = threading.get_ident()
    answer = stored_callback(lambda: threading.get_ident())
    assert answer is not None

    assert loop_thread != await answer()


def test_no_callback_stays_none() -> None:
    """Without a callback the async store gets none either."""
    assert stored_callback(None) is None
