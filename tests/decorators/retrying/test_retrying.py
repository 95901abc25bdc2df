"""What `RetryingStore` retries, and how often."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from doubles import HandClock, ScriptedStore

import storage.sync
from storage import (
    DictStore,
    KeyNotFoundError,
    ObjectStore,
    RetryingStore,
    StorageError,
    StoreTimeoutError,
    StoreUnavailableError,
)
from storage._core import retry


async def a_gone(store: ObjectStore) -> bool:
    return not await store.exists("a")


#: Calls on a store that has an object ``a`` of the bytes ``old``, and a check of what each did.
AGAIN: dict[str, tuple[Callable[[ObjectStore], Awaitable[object]], Callable[[ObjectStore], Awaitable[object]]]] = {
    "get": (lambda store: store.get("a"), lambda store: store.get("a")),
    "head": (lambda store: store.head("a"), lambda store: store.head("a")),
    "exists": (lambda store: store.exists("a"), lambda store: store.exists("a")),
    "put": (lambda store: store.put("a", b"new"), lambda store: store.get("a")),
    "delete": (lambda store: store.delete("a"), a_gone),
    "copy": (lambda store: store.copy("a", "b"), lambda store: store.get("b")),
}


# -- how often, and when ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", AGAIN)
@pytest.mark.parametrize("fails", ["before", "after"])
async def test_what_may_be_done_again_is_tried_until_it_succeeds(action: str, fails: str) -> None:
    """The caller does not notice two temporary failures, whether the call or its answer was lost."""
    base, plain = DictStore(), DictStore()
    flaky = ScriptedStore(base, **{action: [fails, fails]})
    for store in (base, plain):
        await store.put("a", b"old")
    call, outcome = AGAIN[action]

    await call(RetryingStore(flaky))
    await call(plain)

    gone = (action, fails) == ("delete", "after")  # nothing is left to delete
    assert (1 if gone else 3) == flaky.count(action)
    found, expected = await outcome(base), await outcome(plain)
    assert (found == expected) or action == "head"


async def test_what_is_not_retryable_is_not_tried_again() -> None:
    """A missing key stays missing."""
    flaky = ScriptedStore(DictStore())

    with pytest.raises(KeyNotFoundError):
        await RetryingStore(flaky).get("a")

    assert 1 == flaky.count("get")


async def test_last_error_is_raised_as_it_is() -> None:
    """The error of the last attempt is raised unchanged."""
    errors: list[StorageError] = [
        StoreUnavailableError("one"),
        StoreTimeoutError("two"),
        StoreUnavailableError("three"),
    ]
    flaky = ScriptedStore(DictStore(), get=["before"] * 9)
    left = iter(errors)
    flaky.error = lambda: next(left)

    with pytest.raises(StoreUnavailableError) as caught:
        await RetryingStore(flaky, attempts=3).get("a")

    assert caught.value is errors[-1]
    assert 3 == flaky.count("get")


async def test_pauses_double_up_to_the_longest(clock: HandClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pause is random up to its limit, and the limits double."""
    bounds: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        bounds.append((low, high))
        return high / 2

    monkeypatch.setattr("storage._concurrency.backoff.random.uniform", uniform)
    flaky = ScriptedStore(DictStore(), exists=["before"] * 5)

    await RetryingStore(flaky, attempts=6, base_delay=0.25, max_delay=1.5).exists("a")

    assert [(0, 0.25), (0, 0.5), (0, 1.0), (0, 1.5), (0, 1.5)] == bounds
    assert [0.125, 0.25, 0.5, 0.75, 0.75] == clock.waits


async def test_no_attempt_begins_after_the_budget(clock: HandClock) -> None:
    """The time of the attempts counts as well as that of the pauses."""
    flaky = ScriptedStore(DictStore(), get=["before"] * 100)

    def pass_time(action: str) -> None:
        clock.go_on(4)

    flaky.after = pass_time
    begun = clock.monotonic()

    with pytest.raises(StoreUnavailableError):
        await RetryingStore(flaky, attempts=100, budget=10, base_delay=0.001).get("a")

    assert 3 == flaky.count("get")
    assert clock.monotonic() - begun < 13


async def test_pause_that_would_outlast_the_budget_is_not_made(clock: HandClock) -> None:
    """Without another attempt there is no pause."""
    flaky = ScriptedStore(DictStore(), get=["before"])
    flaky.error = lambda: _busy_for(60)

    with pytest.raises(StoreUnavailableError):
        await RetryingStore(flaky, budget=30).get("a")

    assert [] == clock.waits


def _busy_for(seconds: float) -> StoreUnavailableError:
    error = StoreUnavailableError("busy")
    vars(error)["retry_after"] = seconds
    return error


async def test_nobody_comes_before_the_time_that_a_server_names(clock: HandClock) -> None:
    """The pause is that time plus a random one, so that not all clients return at the same time."""
    flaky = ScriptedStore(DictStore(), exists=["before"])
    flaky.error = lambda: _busy_for(7)

    await RetryingStore(flaky, base_delay=1).exists("a")

    [waited] = clock.waits
    assert 7 <= waited <= 8


async def test_each_attempt_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Operators see that a back end is unreliable before it breaks."""
    flaky = ScriptedStore(DictStore(), exists=["before"])

    with caplog.at_level(logging.INFO, "storage"):
        await RetryingStore(flaky).exists("a\n")

    [record] = caplog.records
    assert ("storage", logging.INFO) == (record.name, record.levelno)
    assert record.getMessage().startswith(r"exists of 'a\n' failed, attempt 2 of 5 follows in ")


async def test_cancelled_pause_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that is cancelled during a pause is not repeated."""
    waiting = asyncio.Event()

    async def wait(seconds: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(retry, "pause", wait)
    flaky = ScriptedStore(DictStore(), put=["before"])
    task = asyncio.create_task(RetryingStore(flaky).put("a", b""))
    await waiting.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert 1 == flaky.count("put")


@pytest.mark.parametrize(
    "options",
    [{"attempts": 0}, {"budget": 0}, {"budget": -1}, {"base_delay": -1}, {"max_delay": float("inf")}],
    ids=str,
)
def test_wrong_bounds_are_a_value_error(options: dict[str, Any]) -> None:
    """The error names the parameter."""
    with pytest.raises(ValueError, match=next(iter(options))):
        RetryingStore(DictStore(), **options)


def test_synchronous_face_waits_in_the_callers_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a store that needs no event loop, retries need none."""
    monkeypatch.undo()
    slept: list[float] = []
    monkeypatch.setattr("storage._concurrency.backoff.time.sleep", slept.append)
    flaky = ScriptedStore(DictStore(), put=["before", "after"])
    store = storage.sync.RetryingStore(storage.sync.ObjectStore(flaky), base_delay=0.01)

    store.put("a", iter([b"v"]), if_absent=True)

    assert store.capabilities.steppable
    assert b"v" == store.get("a")
    assert 1 == len(slept)  # the put with the lost answer used up the stream, so it was looked up


# -- streams ----------------------------------------------------------------------------------------------------------


async def _pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


@pytest.mark.parametrize("data", [b"onetwo", bytearray(b"onetwo"), [b"one", b"two"], (b"one", b"two")], ids=repr)
@pytest.mark.parametrize("options", [{}, {"if_absent": True}], ids=["plain", "create"])
async def test_what_is_there_at_once_is_put_again(data: Any, options: dict[str, Any]) -> None:
    """Buffers and collections can be put any number of times."""
    base = DictStore()

    await RetryingStore(ScriptedStore(base, put=["before", "before"])).put("a", data, **options)

    assert b"onetwo" == await base.get("a")


@pytest.mark.parametrize("stream", [_pieces, lambda *pieces: iter(pieces)], ids=["async", "iterator"])
@pytest.mark.parametrize("options", [{}, {"if_absent": True}], ids=["plain", "create"])
async def test_stream_is_put_again_only_untouched(stream: Callable[..., Any], options: dict[str, Any]) -> None:
    """A second attempt with the rest of a stream would store half an object."""
    base = DictStore()
    untouched = ScriptedStore(base, put=["before", "before"])
    await RetryingStore(untouched).put("a", stream(b"one", b"two"), **options)
    assert b"onetwo" == await base.get("a")

    broken = ScriptedStore(_HalfWayStore(base))
    with pytest.raises(StoreUnavailableError, match="half way"):
        await RetryingStore(broken).put("b", stream(b"one", b"two"), **options)

    assert 1 == broken.count("put")
    assert not await base.exists("b")


class _HalfWayStore(storage.StoreDecorator):
    """A connection that breaks after the first piece of each stream."""

    async def put(self, key: str, data: Any, **options: Any) -> str:
        async for _ in data:
            raise StoreUnavailableError("broken half way", key=key)
        raise AssertionError("an empty stream")


@pytest.mark.parametrize("options", [{}, {"if_absent": True}], ids=["plain", "create"])
async def test_error_of_the_callers_stream_is_the_callers(options: dict[str, Any]) -> None:
    """A stream that reads from another, failing store raises that store's error, once, and nothing is looked up."""
    mine = StoreUnavailableError("the other store is busy")
    flaky = ScriptedStore(DictStore(), head=["before"] * 9)

    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        raise mine

    with pytest.raises(StoreUnavailableError) as caught:
        await RetryingStore(flaky).put("a", pieces(), **options)

    assert caught.value is mine
    assert [("put", "a")] == flaky.calls


async def test_values_are_put_again_as_they_are() -> None:
    """Over a store of values, an iterator may be a value: such data is neither watched nor put again."""
    flaky = ScriptedStore(storage.JsonStore(DictStore()), put=["before"] * 2)
    store: ObjectStore[Any, Any] = RetryingStore(flaky)

    await store.put("a", {"month": 1})

    assert {"month": 1} == await store.get("a")
    assert 3 == flaky.count("put")


async def test_file_is_put_once() -> None:
    """A file that is a value may have been read by the failed attempt, and that cannot be known."""
    flaky = ScriptedStore(storage.BufferStore(DictStore()), put=["after"])
    store: ObjectStore[Any, Any] = RetryingStore(flaky)

    with pytest.raises(StoreUnavailableError):
        await store.put("a", io.BytesIO(b"onetwo"))
    assert 1 == flaky.count("put")
