"""`ExceptionLoggingStore`: what it logs, and what it swallows if asked to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from doubles import ScriptedStore

import storage.sync
from storage import (
    BulkError,
    ConfigError,
    DictStore,
    ExceptionLoggingStore,
    IncompleteListingError,
    KeyExistsError,
    KeyNotFoundError,
    ObjectStore,
    OutcomeUnknownError,
    PreconditionFailedError,
    RetryingStore,
    StoreUnavailableError,
)

ACTIONS = [
    "get",
    "put",
    "delete",
    "exists",
    "head",
    "open",
    "read",
    "keys",
    "next",
    "scan",
    "children",
    "copy",
    "rename",
]


def _failing(base: ObjectStore) -> ScriptedStore:
    """Return a store that fails in every method."""
    return ScriptedStore(base, **dict.fromkeys(ACTIONS, ["before"] * 9))


#: Each operation on a store, what is logged of it, and what it gives when its failure is swallowed.
READS: dict[str, tuple[Callable[[ObjectStore], Awaitable[Any]], str]] = {
    "get": (lambda store: store.get("a"), "get of 'a' failed: StoreUnavailableError"),
    "exists": (lambda store: store.exists("a"), "exists of 'a' failed: StoreUnavailableError"),
    "head": (lambda store: store.head("a"), "head of 'a' failed: StoreUnavailableError"),
    "open": (lambda store: store.open("a").__aenter__(), "open of 'a' failed: StoreUnavailableError"),
    "keys": (lambda store: anext(store.keys()), "keys failed: StoreUnavailableError"),
}
WRITES: dict[str, tuple[Callable[[ObjectStore], Awaitable[Any]], str, object]] = {
    "put": (lambda store: store.put("a", b""), "put of 'a' failed: StoreUnavailableError", ""),
    "delete": (lambda store: store.delete("a"), "delete of 'a' failed: StoreUnavailableError", None),
    "copy": (lambda store: store.copy("a", "b"), "copy of 'a' failed: StoreUnavailableError", ""),
    "rename": (lambda store: store.rename("a", "b"), "rename of 'a' failed: StoreUnavailableError", ""),
    "clear": (lambda store: store.clear(), "clear failed: StoreUnavailableError", None),
}
CONDITIONAL: dict[str, Callable[[ObjectStore], Awaitable[Any]]] = {
    "create": lambda store: store.put("a", b"", if_absent=True),
    "swap": lambda store: store.put("a", b"", if_match="etag"),
    "delete": lambda store: store.delete("a", if_match="etag"),
    "copy": lambda store: store.copy("a", "b", if_absent=True),
    "rename": lambda store: store.rename("a", "b", if_absent=True),
}


@pytest.mark.parametrize("name", [*READS, *WRITES])
async def test_what_is_raised_is_logged_with_its_traceback(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is also raised unchanged."""
    call, line = {**READS, **{key: (call, line) for key, (call, line, _) in WRITES.items()}}[name]

    with pytest.raises(StoreUnavailableError) as caught:
        await call(ExceptionLoggingStore(_failing(DictStore())))

    [record] = caplog.records
    assert ("storage", logging.ERROR, line) == (record.name, record.levelno, record.getMessage())
    assert record.exc_info is not None
    assert record.exc_info[1] is caught.value


async def test_failed_reads_and_steps_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Also in the middle of an object or a listing."""
    base = DictStore()
    await base.put_many({"a": b"", "b": b""})
    store = ExceptionLoggingStore(ScriptedStore(base, read=["before"], next=["before"]))

    async with store.open("a") as reader:
        with pytest.raises(StoreUnavailableError):
            await reader.read()
    with pytest.raises(StoreUnavailableError):
        [info async for info in store.scan()]

    assert ["read of 'a' failed: StoreUnavailableError", "next failed: StoreUnavailableError"] == [
        record.getMessage() for record in caplog.records
    ]


async def test_each_failed_item_of_a_bulk_call_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """With its key."""
    base = DictStore()
    await base.put("a", b"")
    flaky = ScriptedStore(base, get=["before", ""], put=["", "before"], delete=["before"])
    store = ExceptionLoggingStore(flaky)

    await store.get_many(["a", "missing"])
    with pytest.raises(BulkError):
        await store.put_many({"b": b"", "c": b""})
    await store.delete_many(["d"], raise_errors=False)

    assert ["get_many of 'a'", "put_many of 'c'", "delete_many of 'd'"] == [
        record.getMessage().partition(" failed")[0] for record in caplog.records
    ]


async def test_answers_are_logged_only_when_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    """A cache expects a missing key in every second get."""

    async def ask(store: ObjectStore) -> list[str]:
        await store.put("there", b"")
        with pytest.raises(KeyNotFoundError):
            await store.get("missing")
        with pytest.raises(KeyExistsError):
            await store.put("there", b"", if_absent=True)
        with pytest.raises(PreconditionFailedError):
            await store.delete("there", if_match="stale")
        await store.get_many(["missing"])
        return [type(record.exc_info[1]).__name__ for record in caplog.records if record.exc_info]

    assert [] == await ask(ExceptionLoggingStore(DictStore()))
    assert ["KeyNotFoundError", "KeyExistsError", "PreconditionFailedError", "KeyNotFoundError"] == await ask(
        ExceptionLoggingStore(DictStore(), answers=True)
    )


async def test_logger_and_level_are_the_callers(caplog: pytest.LogCaptureFixture) -> None:
    """By name, so that a configuration can give them."""
    with pytest.raises(StoreUnavailableError):
        await ExceptionLoggingStore(_failing(DictStore()), logger="archive", level="critical").get("a\n")

    [record] = caplog.records
    assert ("archive", logging.CRITICAL) == (record.name, record.levelno)
    assert r"get of 'a\n' failed: StoreUnavailableError" == record.getMessage()


async def test_cancellation_is_neither_logged_nor_swallowed(caplog: pytest.LogCaptureFixture) -> None:
    """It is not a failure."""
    waiting = ScriptedStore(DictStore(), "put")
    task = asyncio.create_task(ExceptionLoggingStore(waiting, swallow=True).put("a", b""))
    await waiting.until(1)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert [] == caplog.records


# -- swallowing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WRITES)
async def test_failed_write_is_swallowed(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is still logged; the returned etag is that of no object."""
    call, line, instead = WRITES[name]

    result = await call(ExceptionLoggingStore(_failing(DictStore()), swallow=True))

    assert instead == result
    assert line in [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("name", READS)
async def test_failed_read_is_never_swallowed(name: str) -> None:
    """There is no correct result to return: a missing object or an empty listing would be wrong."""
    with pytest.raises(StoreUnavailableError):
        await READS[name][0](ExceptionLoggingStore(_failing(DictStore()), swallow=True))


@pytest.mark.parametrize("name", CONDITIONAL)
async def test_what_has_a_condition_is_never_swallowed(name: str) -> None:
    """A caller who must be the only creator must not believe that it is."""
    base = DictStore()
    with pytest.raises(StoreUnavailableError):
        await CONDITIONAL[name](ExceptionLoggingStore(_failing(base), swallow=True))

    await base.put_many({"a": b"", "b": b""})
    with pytest.raises((KeyExistsError, PreconditionFailedError)):
        await CONDITIONAL[name](ExceptionLoggingStore(base, swallow=True))


async def test_answers_and_mistakes_are_never_swallowed() -> None:
    """A missing source, data of a wrong type, an exception of the caller's stream."""
    store = ExceptionLoggingStore(DictStore(), swallow=True)
    text: Any = "text"

    def pieces() -> Iterator[bytes]:
        raise ZeroDivisionError
        yield

    with pytest.raises(KeyNotFoundError):
        await store.copy("missing", "b")
    with pytest.raises(TypeError):
        await store.put("a", text)
    with pytest.raises(ZeroDivisionError):
        await store.put("a", pieces())


async def test_bulk_writes_return_their_results_instead() -> None:
    """As with ``raise_errors=False``. If a call fails as a whole, for all items that it had taken."""
    flaky = ScriptedStore(DictStore(), put=["", "before"], delete=["before"])
    store = ExceptionLoggingStore(flaky, swallow=True)

    class Broken(DictStore):
        async def put_many(self, items: Any, *, raise_errors: bool = True) -> dict[str, Any]:
            assert 2 == len([item async for item in storage._concurrency.tasks.stream(items)])
            raise StoreUnavailableError("busy")

    async def items() -> AsyncIterator[tuple[str, bytes]]:
        yield "a", b""
        yield "b", b""

    put = await store.put_many({"a": b"", "b": b""})
    deleted = await store.delete_many(["a"])
    whole = await ExceptionLoggingStore(Broken(), swallow=True).put_many(items())

    assert [str, StoreUnavailableError] == [type(put[key]) for key in "ab"]
    assert [StoreUnavailableError] == [type(result) for result in deleted.values()]
    assert {"a": StoreUnavailableError, "b": StoreUnavailableError} == {key: type(each) for key, each in whole.items()}


async def test_swallowed_error_of_an_iterable_leaves_outcomes_unknown() -> None:
    """Its listing ended with an error that is final, which says nothing of the puts that it cancelled."""

    async def items() -> AsyncIterator[tuple[str, bytes]]:
        yield "a", b""
        raise IncompleteListingError({}, 0)

    result = await ExceptionLoggingStore(DictStore(), swallow=True).put_many(items())

    assert {"a": OutcomeUnknownError} == {key: type(each) for key, each in result.items()}


def test_retries_over_what_swallows_are_refused() -> None:
    """They would never see a failure; over a store that only logs they are allowed."""
    with pytest.raises(ConfigError, match=r"ExceptionLoggingStore\(RetryingStore"):
        RetryingStore(ExceptionLoggingStore(DictStore(), swallow=True))

    RetryingStore(ExceptionLoggingStore(DictStore()))


def test_synchronous_face_logs_and_swallows(caplog: pytest.LogCaptureFixture) -> None:
    """Stepped in the caller's thread."""
    base = storage.sync.ObjectStore(_failing(DictStore()))
    store = storage.sync.ExceptionLoggingStore(base, swallow=True)

    assert "" == store.put("a", b"")
    assert {"b": StoreUnavailableError} == {key: type(each) for key, each in store.put_many({"b": b""}).items()}
    assert store.capabilities.steppable
    assert 2 == len(caplog.records)
