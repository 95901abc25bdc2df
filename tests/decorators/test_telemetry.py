"""Spans and metrics of `TelemetryStore`, and when its span is the current one."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Iterator
from typing import Any, TypeVar

import pytest
from doubles import ScriptedStore
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

import storage.sync
from storage import (
    DictStore,
    Interceptor,
    JsonStore,
    KeyNotFoundError,
    ObjectStore,
    StoreUnavailableError,
    TelemetryStore,
)
from storage.decorators.bases.interceptor import Call

T = TypeVar("T")


class Observed:
    """A tracer provider and a meter provider that keep what they get."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._reader = InMemoryMetricReader()
        self.meters = MeterProvider([self._reader], shutdown_on_exit=False)

    def store(self, base: ObjectStore[Any, Any], **options: Any) -> TelemetryStore[Any, Any]:
        return TelemetryStore(base, tracer_provider=self.tracers, meter_provider=self.meters, **options)

    def spans(self) -> list[ReadableSpan]:
        """Return the spans that have ended since the last time, in the order in which they did."""
        spans = list(self._exporter.get_finished_spans())
        self._exporter.clear()
        return spans

    def points(self, name: str) -> list[tuple[dict[str, Any], Any]]:
        """Return the attributes of each point of a metric, and its value, or the count of its histogram."""
        data = self._reader.get_metrics_data()
        if data is None:
            return []
        return [
            (dict(point.attributes or {}), getattr(point, "value", getattr(point, "count", None)))
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


@pytest.fixture
def observed() -> Iterator[Observed]:
    observed = Observed()
    yield observed
    observed.tracers.shutdown()
    observed.meters.shutdown()


class CurrentStore(Interceptor):
    """Records the name of the current span in each call."""

    _steppable = True

    def __init__(self) -> None:
        super().__init__(DictStore())
        self.spans: list[str] = []

    async def _intercept(self, action: str, key: str | None, call: Call[T]) -> T:
        self.spans.append(_current())
        return await call()


def _current() -> str:
    """Return the name of the current span."""
    return str(getattr(trace.get_current_span(), "name", "none"))


async def test_each_operation_is_a_span(observed: Observed) -> None:
    """It has the operation's name and numbers, and no keys."""
    store = observed.store(DictStore(), store_name="reports")

    await store.put("a/1", b"onetwo")
    await store.put("a/2", iter([b"one"]))
    await store.get("a/1")
    await store.exists("a/1")
    await store.copy("a/1", "b")
    await store.delete("b")
    assert 2 == len([key async for key in store.keys("a/")])
    async with store.open("a/1") as reader:
        await reader.read()
    await store.put_many({"c": b"1", "d": b"2"})
    await store.clear()

    spans = observed.spans()
    found = [(span.name, dict(span.attributes or {})) for span in spans]
    named = {"storage.store": "reports"}
    assert [
        ("storage.put", {**named, "storage.operation": "put", "storage.sent": 6}),
        ("storage.put", {**named, "storage.operation": "put", "storage.sent": 3}),
        ("storage.get", {**named, "storage.operation": "get", "storage.received": 6}),
        ("storage.exists", {**named, "storage.operation": "exists"}),
        ("storage.copy", {**named, "storage.operation": "copy"}),
        ("storage.delete", {**named, "storage.operation": "delete"}),
        ("storage.keys", {**named, "storage.operation": "keys", "storage.items": 2}),
        ("storage.open", {**named, "storage.operation": "open", "storage.received": 6}),
        ("storage.put_many", {**named, "storage.operation": "put_many", "storage.sent": 2, "storage.items": 2}),
        ("storage.clear", {**named, "storage.operation": "clear"}),
    ] == found
    assert {StatusCode.UNSET} == {span.status.status_code for span in spans}


async def test_keys_are_told_when_asked_for(observed: Observed) -> None:
    """So are messages of errors, which contain keys."""
    shy, frank = observed.store(DictStore()), observed.store(DictStore(), record_keys=True)

    for store in (shy, frank):
        with pytest.raises(KeyNotFoundError):
            await store.copy("secret", "b")

    hidden, told = observed.spans()
    assert "secret" not in hidden.to_json()
    attributes = told.attributes or {}
    assert ("secret", "b") == (attributes["storage.key"], attributes["storage.target"])
    assert "secret" in str((told.events[0].attributes or {})["exception.message"])


async def test_errors_are_told_by_their_type(observed: Observed) -> None:
    """A failure of the back end is a failed span; an answer such as a missing key is not."""
    flaky = ScriptedStore(DictStore(), get=["before"], put=["", "before"])
    store = observed.store(flaky)

    with pytest.raises(StoreUnavailableError):
        await store.get("a")
    with pytest.raises(KeyNotFoundError):
        await store.get("a")
    await store.put_many({"a": b"", "b": b""}, raise_errors=False)

    found = [(span.status.status_code, (span.attributes or {}).get("error.type")) for span in observed.spans()]
    assert [(StatusCode.ERROR, "StoreUnavailableError"), (StatusCode.UNSET, "KeyNotFoundError")] == found[:2]
    assert [(StatusCode.ERROR, None)] == found[2:]
    assert [
        ({"storage.operation": "get", "error.type": "StoreUnavailableError"}, 1),
        ({"storage.operation": "get", "error.type": "KeyNotFoundError"}, 1),
        ({"storage.operation": "put_many", "error.type": "StoreUnavailableError"}, 1),
    ] == observed.points("storage.operation.errors")
    failed = [
        (attributes.get("error.type"), count) for attributes, count in observed.points("storage.operation.duration")
    ]
    assert [("StoreUnavailableError", 1), ("KeyNotFoundError", 1), (None, 1)] == failed


async def test_metrics_count_operations_and_bytes(observed: Observed) -> None:
    """Durations by operation and error, bytes by direction; never with a key."""
    store = observed.store(DictStore(), store_name="reports", record_keys=True)

    await store.put("a", b"onetwo")
    await store.put("a", b"three")
    await store.get("a")
    await store.exists("b")

    named = {"storage.store": "reports"}
    assert [
        ({**named, "storage.operation": "put"}, 2),
        ({**named, "storage.operation": "get"}, 1),
        ({**named, "storage.operation": "exists"}, 1),
    ] == observed.points("storage.operation.duration")
    assert [
        ({**named, "storage.operation": "put", "network.io.direction": "transmit"}, 11),
        ({**named, "storage.operation": "get", "network.io.direction": "receive"}, 5),
    ] == observed.points("storage.io")


async def test_span_is_current_while_the_store_below_is_at_work(observed: Observed) -> None:
    """So spans of the store below are its children, and no others."""
    current = CurrentStore()
    store = observed.store(current)
    tracer = observed.tracers.get_tracer("test")

    with tracer.start_as_current_span("mine"):
        await store.put("a", b"v")
        outside = _current()
        async with store.open("a") as reader:
            opened = _current()
            await reader.read()
        async for _ in store.keys():
            listing = _current()

    assert ["storage.put", "storage.open", "storage.open", "storage.keys", "storage.keys"] == current.spans
    assert ["mine", "mine", "mine"] == [outside, opened, listing]
    *spans, mine = observed.spans()
    assert mine.context is not None
    assert [mine.context.span_id] * 3 == [span.parent and span.parent.span_id for span in spans]


async def test_listings_side_by_side_do_not_mix_their_spans(
    observed: Observed, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even a listing that starts in one task, continues in another and is garbage-collected."""
    current = CurrentStore()
    await current.base.put_many({f"k{number}": b"" for number in range(6)})
    store = observed.store(current)
    keys, infos = store.keys(), store.scan()

    for _ in range(2):
        await anext(keys)
        await anext(infos)
    await asyncio.gather(asyncio.create_task(_step(keys)), asyncio.create_task(_step(infos)))
    assert "none" == _current()
    async with store.open("k0") as reader:
        await asyncio.create_task(_read(reader))
    del keys, infos
    for _ in range(5):
        await asyncio.sleep(0)

    assert ["storage.keys", "storage.scan"] * 3 == current.spans[:6]
    assert {"storage.open", "storage.keys", "storage.scan"} == {span.name for span in observed.spans()}
    assert [] == [record for record in caplog.records if record.levelno >= logging.WARNING]  # "failed to detach"


async def _step(items: Any) -> None:
    await anext(items)


async def _read(reader: Any) -> None:
    await reader.read()


async def test_cancelled_operation_ends_its_span(observed: Observed) -> None:
    """It is not an error of the store."""

    class Stuck(DictStore):
        async def get(self, key: str, *, byte_range: object = None) -> bytes:
            await asyncio.Event().wait()
            return b""

    task = asyncio.create_task(observed.store(Stuck()).get("a"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    [span] = observed.spans()
    assert (StatusCode.UNSET, "CancelledError") == (span.status.status_code, (span.attributes or {})["error.type"])


async def test_without_providers_nothing_happens() -> None:
    """The API alone does nothing."""
    store = TelemetryStore(DictStore())
    await store.put("a", b"v")

    assert b"v" == await store.get("a")
    assert ["a"] == [key async for key in store.keys()]


async def test_bytes_of_values_are_not_counted(observed: Observed) -> None:
    """Over a store of values they are not known."""
    store = observed.store(JsonStore(DictStore()))

    await store.put("a", ["one"])

    assert ["one"] == await store.get("a")
    assert [] == observed.points("storage.io")


def test_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra."""
    monkeypatch.setitem(sys.modules, "opentelemetry", None)

    with pytest.raises(ImportError, match=r"pip install 'stackstore\[telemetry\]'"):
        TelemetryStore(DictStore())


def test_synchronous_face_is_observed(observed: Observed) -> None:
    """Stepped in the caller's thread, within the caller's span."""
    store = storage.sync.TelemetryStore(
        storage.sync.DictStore(), tracer_provider=observed.tracers, meter_provider=observed.meters
    )

    with observed.tracers.get_tracer("test").start_as_current_span("mine"):
        store.put("a", b"v")

    put, mine = observed.spans()
    assert store.capabilities.steppable
    assert put.parent is not None
    assert mine.context is not None
    assert ("storage.put", mine.context.span_id) == (put.name, put.parent.span_id)
