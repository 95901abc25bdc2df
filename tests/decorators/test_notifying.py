"""Which handlers `NotifyingStore` calls for what and when, and what happens when a handler fails."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from doubles import ScriptedStore

import storage.sync
from storage import (
    BulkError,
    DictStore,
    Event,
    GzipStore,
    KeyExistsError,
    KeyNotFoundError,
    NotifyingStore,
    ObjectStore,
    OutcomeUnknownError,
    PrefixStore,
    StoreUnavailableError,
    TimeoutStore,
)


class Heard:
    """A handler that records its events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    @property
    def changes(self) -> list[tuple[str, str]]:
        """Return the events, without stores and errors."""
        return [(event.action, event.key) for event in self.events]


async def _some_items() -> AsyncIterator[tuple[str, bytes]]:
    yield "x", b"1"
    yield "y", b"2"


async def _some_keys() -> AsyncIterator[str]:
    yield "a/1"
    yield "b"


#: Every way in which objects change, in a store that has ``a/1``, ``a/2`` and ``b``, and what is told of it.
CHANGES: dict[str, tuple[Callable[[ObjectStore], Awaitable[object]], list[tuple[str, str]]]] = {
    "put": (lambda store: store.put("x", b""), [("put", "x")]),
    "put of a stream": (lambda store: store.put("x", iter([b""])), [("put", "x")]),
    "create": (lambda store: store.put("x", b"", if_absent=True), [("put", "x")]),
    "delete": (lambda store: store.delete("b"), [("delete", "b")]),
    "delete of nothing": (lambda store: store.delete("x"), [("delete", "x")]),
    "put_many": (lambda store: store.put_many({"x": b"", "y": b""}), [("put", "x"), ("put", "y")]),
    "put_many of a stream": (lambda store: store.put_many(_some_items()), [("put", "x"), ("put", "y")]),
    "delete_many": (lambda store: store.delete_many(["b", "x"]), [("delete", "b"), ("delete", "x")]),
    "delete_many of a stream": (lambda store: store.delete_many(_some_keys()), [("delete", "a/1"), ("delete", "b")]),
    "copy": (lambda store: store.copy("b", "x"), [("put", "x")]),
    "rename": (lambda store: store.rename("b", "x"), [("put", "x"), ("delete", "b")]),
    "rename onto itself": (lambda store: store.rename("b", "b"), []),
    "clear": (lambda store: store.clear("a/"), [("delete", "a/1"), ("delete", "a/2")]),
    "update": (lambda store: storage.update(store, "b", lambda old: b"new"), [("put", "b")]),
    "copy_store": (lambda store: storage.copy_store(DictStore(), store), []),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("form", ["sync", "async"])
async def test_every_change_is_told_once(name: str, form: str) -> None:
    """Whichever method makes it, to synchronous and asynchronous handlers."""
    change, expected = CHANGES[name]
    heard = Heard()

    async def hear(event: Event) -> None:
        await asyncio.sleep(0)
        heard(event)

    base = DictStore()
    await base.put_many({"a/1": b"", "a/2": b"", "b": b""})
    store = NotifyingStore(base, on_change=heard if form == "sync" else hear)

    await change(store)

    assert expected == heard.changes
    assert {(store, None)} >= {(event.store, event.error) for event in heard.events}


@pytest.mark.parametrize("name", CHANGES)
async def test_change_through_a_stack_is_told_too(name: str) -> None:
    """Decorators above it may change keys and data; the events have the keys of the NotifyingStore."""
    change, expected = CHANGES[name]
    heard = Heard()
    base = DictStore()
    store = GzipStore(PrefixStore(NotifyingStore(base, on_change=heard), "p/"))
    await store.put_many({"a/1": b"", "a/2": b"", "b": b""})
    heard.events.clear()

    await change(store)

    assert [(action, f"p/{key}") for action, key in expected] == heard.changes


async def test_change_is_told_when_it_has_taken_effect() -> None:
    """A handler sees the new state, and may use the store, even while it handles an event."""
    found: list[Any] = []

    async def hear(event: Event) -> None:
        found.append((event.action, event.key, await event.store.exists(event.key)))
        if not event.key.startswith("log/"):
            await event.store.put(f"log/{event.key}", b"")

    base = DictStore()
    store = NotifyingStore(base, on_change=hear)
    await store.put("a", b"")
    await store.delete("a")

    assert [("put", "a", True), ("put", "log/a", True), ("delete", "a", False), ("put", "log/a", True)] == found
    assert ["log/a"] == [key async for key in base.keys()]


async def test_handlers_are_for_their_action() -> None:
    """The handler of all changes is called last."""
    order: list[str] = []
    store = NotifyingStore(
        DictStore(),
        on_put=lambda event: order.append(f"put {event.key}"),
        on_delete=lambda event: order.append(f"delete {event.key}"),
        on_change=lambda event: order.append(f"change {event.key}"),
    )

    await store.put("a", b"")
    await store.rename("a", "b")

    assert ["put a", "change a", "put b", "change b", "delete a", "change a"] == order


async def test_failure_is_told_with_its_error() -> None:
    """And raised unchanged: a refusal, an error of the back end, an exception of the caller's stream."""
    heard = Heard()
    base = DictStore()
    await base.put("a", b"")
    store = NotifyingStore(ScriptedStore(base, delete=["before"]), on_change=heard)

    def pieces() -> Iterator[bytes]:
        yield b""
        raise ZeroDivisionError

    with pytest.raises(KeyExistsError):
        await store.put("a", b"", if_absent=True)
    with pytest.raises(StoreUnavailableError):
        await store.delete("a")
    with pytest.raises(ZeroDivisionError):
        await store.put("b", pieces())
    with pytest.raises(KeyNotFoundError):
        await store.rename("missing", "c")

    assert [("put", "a"), ("delete", "a"), ("put", "b"), ("put", "c"), ("delete", "missing")] == heard.changes
    kinds = [KeyExistsError, StoreUnavailableError, ZeroDivisionError, KeyNotFoundError, KeyNotFoundError]
    assert kinds == [type(event.error) for event in heard.events]


async def test_each_item_of_a_bulk_call_is_told_by_itself() -> None:
    """With an error for those that failed."""
    heard = Heard()
    store = NotifyingStore(ScriptedStore(DictStore(), put=["", "before", ""]), on_change=heard)

    with pytest.raises(BulkError):
        await store.put_many({"a": b"", "b": b"", "c": b""})

    assert [None, StoreUnavailableError, None] == [event.error and type(event.error) for event in heard.events]


async def test_bulk_call_that_breaks_off_tells_of_what_it_had() -> None:
    """Objects put before the caller's iterable failed may be stored: their events say so."""
    heard = Heard()
    store = NotifyingStore(DictStore(), on_change=heard)

    async def items() -> AsyncIterator[tuple[str, bytes]]:
        yield "a", b""
        yield "b", b""
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store.put_many(items())

    assert [("put", "a"), ("put", "b")] == heard.changes
    assert {OutcomeUnknownError} == {type(event.error) for event in heard.events}
    assert all(isinstance(event.error.__cause__, ZeroDivisionError) for event in heard.events if event.error)


# -- handlers that fail ----------------------------------------------------------------------------------------------


def _fail(event: Event) -> None:
    raise ZeroDivisionError(event.key)


async def test_error_of_a_handler_is_raised_as_it_is_and_the_object_is_put(caplog: pytest.LogCaptureFixture) -> None:
    """The other handlers are called before, and their errors are logged."""
    heard = Heard()
    store = NotifyingStore(DictStore(), on_put=_fail, on_change=heard)

    with pytest.raises(ZeroDivisionError):
        await store.put("a", b"")
    with pytest.raises(ZeroDivisionError, match="b"):
        await store.put_many({"b": b"", "c": b""})

    assert ["a", "b", "c"] == [key async for key in store.keys()]
    assert [("put", "a"), ("put", "b"), ("put", "c")] == heard.changes
    assert ["a handler failed after a put of 'c'"] == [record.getMessage() for record in caplog.records]


async def test_error_of_a_handler_can_be_logged(caplog: pytest.LogCaptureFixture) -> None:
    """With its traceback; nothing is raised."""
    store = NotifyingStore(DictStore(), on_put=_fail, on_error="log")

    await store.put("a\n", b"")

    [record] = caplog.records
    assert ("storage", logging.ERROR, r"a handler failed after a put of 'a\n'") == (
        record.name,
        record.levelno,
        record.getMessage(),
    )
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ZeroDivisionError)


async def test_error_of_a_handler_can_be_ignored(caplog: pytest.LogCaptureFixture) -> None:
    """It is neither raised nor logged."""
    await NotifyingStore(DictStore(), on_change=_fail, on_error="ignore").put("a", b"")

    assert [] == caplog.records


async def test_operation_that_failed_says_so_whatever_its_handler_does(caplog: pytest.LogCaptureFixture) -> None:
    """The caller gets the error of the operation; the handler's is logged."""
    store = NotifyingStore(ScriptedStore(DictStore(), put=["before"] * 2), on_put=_fail)

    with pytest.raises(StoreUnavailableError):
        await store.put("a", b"")
    with pytest.raises(BulkError):
        await store.put_many({"a": b""})

    assert 2 == len(caplog.records)


async def test_bulk_call_that_raises_no_errors_raises_its_handlers() -> None:
    """Its failed items are results, so the operation has no error that the handler's would hide."""
    store = NotifyingStore(ScriptedStore(DictStore(), put=["before"]), on_put=_fail)

    with pytest.raises(ZeroDivisionError):
        await store.put_many({"a": b""}, raise_errors=False)


@pytest.mark.parametrize("on_error", ["raise", "log", "ignore"])
async def test_cancelled_handler_cancels_the_operation_that_took_effect(on_error: Any) -> None:
    """A handler that hangs can be cancelled."""
    begun = asyncio.Event()

    async def hang(event: Event) -> None:
        begun.set()
        await asyncio.Event().wait()

    base = DictStore()
    task = asyncio.create_task(NotifyingStore(base, on_put=hang, on_error=on_error).put("a", b"v"))
    await begun.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert b"v" == await base.get("a")


CANCELLED: dict[str, tuple[str, Callable[[ObjectStore], Awaitable[object]], list[tuple[str, str]]]] = {
    "put": ("put", lambda store: store.put("a", b"v"), [("put", "a")]),
    "delete": ("delete", lambda store: store.delete("a"), [("delete", "a")]),
    "copy": ("copy", lambda store: store.copy("a", "b"), [("put", "b")]),
    "rename": ("rename", lambda store: store.rename("a", "b"), [("put", "b"), ("delete", "a")]),
    "put_many": ("put", lambda store: store.put_many({"a": b"v"}), [("put", "a")]),
    "delete_many": ("delete", lambda store: store.delete_many(["a"]), [("delete", "a")]),
    "clear": ("delete", lambda store: store.clear(), [("delete", "a")]),
}


@pytest.mark.parametrize(("held", "write", "expected"), CANCELLED.values(), ids=list(CANCELLED))
async def test_cancelled_write_is_told_as_one_of_unknown_outcome(
    held: str, write: Callable[[ObjectStore], Awaitable[object]], expected: list[tuple[str, str]]
) -> None:
    """It may have taken effect: what follows from a change must follow. An async handler can wait meanwhile."""
    base = ScriptedStore()
    await base.base.put("a", b"old")
    events: list[Event] = []

    async def hear(event: Event) -> None:
        await asyncio.sleep(0)
        events.append(event)

    store = NotifyingStore(base, on_change=hear)
    published = base.hold(held, after=True)
    task = asyncio.ensure_future(write(store))
    await published.reached()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert expected == [(event.action, event.key) for event in events]
    assert all(isinstance(event.error, OutcomeUnknownError) for event in events)


async def test_handler_that_hangs_holds_up_a_cancelled_write_for_a_moment(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Then it is cancelled too, which is logged."""
    monkeypatch.setattr("storage.decorators.notifying.GRACE", 0.01)
    base = ScriptedStore()
    published = base.hold("put", after=True)

    async def hang(event: Event) -> None:
        await asyncio.Event().wait()

    task = asyncio.create_task(NotifyingStore(base, on_put=hang).put("a", b"v"))
    await published.reached()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "did not end within" in caplog.text


def test_wrong_choice_is_a_value_error() -> None:
    """The message lists the choices."""
    wrong: Any = "retry"
    with pytest.raises(ValueError, match="'raise', 'log' or 'ignore', not 'retry'"):
        NotifyingStore(DictStore(), on_error=wrong)


# -- without await ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("below", [DictStore(), TimeoutStore(DictStore(), 60)], ids=["stepped", "on-loop"])
def test_handlers_of_the_synchronous_face_run_in_the_callers_thread(below: ObjectStore) -> None:
    """They may use the store, and what they raise is raised by the call."""
    threads: list[threading.Thread] = []

    def hear(event: Event) -> None:
        threads.append(threading.current_thread())
        if event.key == "bad":
            raise ZeroDivisionError
        if event.action == "put" and event.key != "count":
            store.put("count", b"%d" % len(threads))

    store = storage.sync.NotifyingStore(storage.sync.ObjectStore(below), on_change=hear)

    store.put("a", b"v")
    with pytest.raises(ZeroDivisionError):
        store.put("bad", b"")

    assert b"1" == store.get("count")
    assert {threading.current_thread()} == set(threads)


def test_store_is_stepped_unless_a_handler_needs_a_loop() -> None:
    """Synchronous handlers never suspend, and storage.sync makes no others."""

    async def wait(event: Event) -> None:
        await asyncio.sleep(0)

    class Waiting:
        async def __call__(self, event: Event) -> None:
            await asyncio.sleep(0)

    stacks: dict[str, Any] = {
        "none": NotifyingStore(DictStore()),
        "plain": NotifyingStore(DictStore(), on_change=Heard()),
        "of the face": storage.sync.NotifyingStore(storage.sync.DictStore(), on_change=print),
        "async": NotifyingStore(DictStore(), on_change=wait),
        "async object": NotifyingStore(DictStore(), on_put=Waiting()),
    }
    steps = {name: store.capabilities.steppable for name, store in stacks.items()}

    assert {"none": True, "plain": True, "of the face": True, "async": False, "async object": False} == steps
    storage.sync.ObjectStore(NotifyingStore(DictStore(), on_change=wait)).put("a", b"")
