"""What `LoggingStore` logs, and what it does not."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from doubles import HandClock, ScriptedStore

import storage.sync
from storage import (
    BulkError,
    DictStore,
    JsonStore,
    KeyExistsError,
    KeyNotFoundError,
    LoggingStore,
    ObjectStore,
    StoreUnavailableError,
)
from storage.decorators.bases import observer


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return a function that gives the level and line of each record so far, with times as ``N``."""
    caplog.set_level(logging.DEBUG, "storage")

    def read() -> list[str]:
        found = [f"{record.levelname} {record.getMessage()}" for record in caplog.records if record.name == "storage"]
        caplog.clear()
        return [re.sub(r"[-+.e0-9]+ ms", "N ms", line) for line in found]

    return read


async def test_each_operation_is_one_line(lines: Callable[[], list[str]]) -> None:
    """Action, key, bytes if known, and time."""
    store = LoggingStore(DictStore())

    await store.put("a/1", b"onetwo")
    await store.put("a/2", iter([b"one", b"two"]), if_absent=True)
    await store.put("a/3", [b"one", b"two", b"three"], attributes={"color": "red"})
    await store.get("a/1")
    await store.head("a/1")
    await store.exists("b")
    await store.copy("a/1", "b")
    await store.rename("b", "c")
    await store.delete("c")
    await store.clear("a/3")

    assert [
        "DEBUG put 'a/1': 6 bytes sent, N ms",
        "DEBUG put 'a/2': 6 bytes sent, N ms",
        "DEBUG put 'a/3': 11 bytes sent, N ms",
        "DEBUG get 'a/1': 6 bytes received, N ms",
        "DEBUG head 'a/1': N ms",
        "DEBUG exists 'b': N ms",
        "DEBUG copy 'a/1' to 'b': N ms",
        "DEBUG rename 'b' to 'c': N ms",
        "DEBUG delete 'c': N ms",
        "DEBUG clear 'a/3': N ms",
    ] == lines()


async def test_open_objects_and_listings_are_one_line_each(lines: Callable[[], list[str]]) -> None:
    """They are logged when they are left, even before their end."""
    base = DictStore()
    await base.put_many({"a/1": b"onetwo", "a/2": b"", "b": b""})
    store = LoggingStore(base)

    async with store.open("a/1") as reader:
        await reader.read(3)
        assert [] == lines()
        await reader.read(2)
    assert ["DEBUG open 'a/1': 5 bytes received, N ms"] == lines()

    assert 2 == len([key async for key in store.keys("a/")])
    assert 3 == len([key async for key in store.scan()])
    assert ["a/", "b"] == [key async for key in store.children()]
    assert [
        "DEBUG keys 'a/': 2 items, N ms",
        "DEBUG scan '': 3 items, N ms",
        "DEBUG children '': 2 items, N ms",
    ] == lines()

    left: Any = store.keys()
    await anext(left)
    assert [] == lines()
    await left.aclose()
    assert ["DEBUG keys '': 1 item, N ms"] == lines()


async def test_bulk_calls_are_one_line_each(lines: Callable[[], list[str]]) -> None:
    """With the numbers of items and of failures; with failures it is a warning."""
    store = LoggingStore(ScriptedStore(DictStore(), put=["", "", "before"]))

    async def items() -> AsyncIterator[tuple[str, Any]]:
        yield "c", iter([b"12345"])
        yield "d", b"67"

    await store.put_many({"a": b"123", "b": b"4"})
    await store.put_many(items(), raise_errors=False)
    await store.get_many(["a", "b", "missing"])
    await store.delete_many(["a", "b"])

    assert [
        "DEBUG put_many: 2 items, 4 bytes sent, N ms",
        "WARNING put_many: 2 items, 1 of them failed, 2 bytes sent, N ms",
        "DEBUG get_many: 3 items, 1 of them failed, 4 bytes received, N ms",
        "DEBUG delete_many: 2 items, N ms",
    ] == lines()


async def test_failures_stand_out(lines: Callable[[], list[str]]) -> None:
    """Answers are not failures; storage errors are warnings; others are errors, without their text."""
    base = DictStore()
    await base.put("a", b"")
    flaky = ScriptedStore(base, get=["before"], open=["before"], next=["before"], clear=["before"])
    store = LoggingStore(flaky)

    def pieces() -> Iterator[bytes]:
        raise ValueError("the password is 123")
        yield

    with pytest.raises(KeyNotFoundError):
        await store.head("b")
    with pytest.raises(KeyExistsError):
        await store.put("a", b"", if_absent=True)
    with pytest.raises(StoreUnavailableError):
        await store.get("a")
    with pytest.raises(StoreUnavailableError):
        async with store.open("a"):
            pass  # pragma: no cover
    with pytest.raises(StoreUnavailableError):
        [key async for key in store.keys()]
    with pytest.raises(ValueError, match="password"):
        await store.put("a", pieces())

    assert [
        "DEBUG head 'b': KeyNotFoundError, N ms",
        "DEBUG put 'a': KeyExistsError, 0 bytes sent, N ms",
        "WARNING get 'a': StoreUnavailableError: busy, N ms",
        "WARNING open 'a': StoreUnavailableError: busy, 0 bytes received, N ms",
        "WARNING keys '': StoreUnavailableError: busy, 1 item, N ms",
        "ERROR put 'a': ValueError, N ms",
    ] == lines()


async def test_failed_read_is_told_when_the_object_is_left(lines: Callable[[], list[str]]) -> None:
    """An exception of the caller in between is not a failure of the store."""
    base = DictStore()
    await base.put("a", b"onetwo")
    store = LoggingStore(ScriptedStore(base, read=["", "before"]))

    async with store.open("a") as reader:
        await reader.read(3)
        with pytest.raises(StoreUnavailableError):
            await reader.read(3)
    with pytest.raises(ZeroDivisionError):
        async with store.open("a"):
            raise ZeroDivisionError

    assert [
        "WARNING open 'a': StoreUnavailableError: busy, 3 bytes received, N ms",
        "DEBUG open 'a': 0 bytes received, N ms",
    ] == lines()


async def test_no_text_forges_a_line(lines: Callable[[], list[str]]) -> None:
    """Keys and texts of the back end stay on one line, whatever they contain."""
    flaky = ScriptedStore(DictStore(), get=["before"])
    flaky.error = lambda: StoreUnavailableError("gone\nERROR all is lost\x1b[31m")

    await LoggingStore(flaky).put("a\nERROR put 'b'", b"")
    with pytest.raises(StoreUnavailableError):
        await LoggingStore(flaky).get("\x1b[31m")

    assert [
        r"""DEBUG put "a\nERROR put 'b'": 0 bytes sent, N ms""",
        r"WARNING get '\x1b[31m': StoreUnavailableError: gone\nERROR all is lost\x1b[31m, N ms",
    ] == lines()


async def test_cancelled_operation_is_said_to_be(lines: Callable[[], list[str]]) -> None:
    """It is neither a success nor a failure."""
    waiting = ScriptedStore(DictStore(), "get")
    task = asyncio.create_task(LoggingStore(waiting).get("a"))
    await waiting.until(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert ["DEBUG get 'a': cancelled, N ms"] == lines()


async def test_logger_level_and_name_are_the_callers(caplog: pytest.LogCaptureFixture) -> None:
    """A logger or its name; a level or its name."""
    caplog.set_level(logging.INFO, "archive")
    by_name: ObjectStore = LoggingStore(DictStore(), logger="archive", level="info", store_name="reports")
    by_object: ObjectStore = LoggingStore(DictStore(), logger=logging.getLogger("archive"), level=logging.ERROR)

    await by_name.exists("a")
    await by_object.exists("b")
    with pytest.raises(BulkError):
        await LoggingStore(ScriptedStore(DictStore(), delete=["before"]), logger="archive").delete_many("c")

    assert [("archive", logging.INFO), ("archive", logging.ERROR), ("archive", logging.WARNING)] == [
        (record.name, record.levelno) for record in caplog.records
    ]
    assert caplog.records[0].getMessage().startswith("reports: exists 'a': ")
    with pytest.raises(ValueError, match=r"level must be a number or one of .*DEBUG.*, not 'loud'"):
        LoggingStore(DictStore(), level="loud")


async def test_nothing_is_formatted_that_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the level off, an operation costs almost nothing."""
    monkeypatch.setattr("storage.decorators.logging._subject", None)
    store = LoggingStore(DictStore(), level=logging.DEBUG)
    store.logger.setLevel(logging.INFO)
    try:
        await store.put("a", b"v")
    finally:
        store.logger.setLevel(logging.NOTSET)

    assert b"v" == await store.get("a")


async def test_time_is_that_of_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller's time during an open object or a listing does not count."""
    clock = HandClock()
    monkeypatch.setattr(observer, "perf_counter", clock.monotonic)
    base = ScriptedStore(DictStore())
    base.after = lambda action: clock.go_on(1)
    await base.put_many({"a": b"", "b": b""})
    store = LoggingStore(base)
    took: list[float] = []
    store._on_end = lambda operation: took.append(operation.seconds)  # type: ignore[method-assign]

    async for _ in store.keys():
        clock.go_on(100)
    async with store.open("a"):
        clock.go_on(100)

    assert [3, 1] == took


async def test_bytes_of_values_are_not_known(lines: Callable[[], list[str]]) -> None:
    """Over a store of values bytes are not counted, and values are forwarded unchanged."""
    store = LoggingStore(JsonStore(DictStore()))

    await store.put("a", ["one"])

    assert ["one"] == await store.get("a")
    assert {"a": ["one"]} == await store.get_many("a")
    assert ["DEBUG put 'a': N ms", "DEBUG get 'a': N ms", "DEBUG get_many: 1 item, N ms"] == lines()


def test_synchronous_face_logs(lines: Callable[[], list[str]]) -> None:
    """Stepped in the caller's thread, with a listing that is left half way."""
    store = storage.sync.LoggingStore(storage.sync.DictStore(), store_name="memory")
    store.put("a", iter([b"v"]))
    listing = store.keys()
    next(listing)
    del listing

    assert store.capabilities.steppable
    assert ["DEBUG memory: put 'a': 1 byte sent, N ms", "DEBUG memory: keys '': 1 item, N ms"] == lines()
