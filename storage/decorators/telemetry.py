"""`TelemetryStore`: a span and metrics for every operation, by OpenTelemetry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from storage.base import ObjectStore
from storage.decorators.bases.observer import Observer, Operation
from storage.errors import ANSWERS
from storage.types import In, Out

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, TracerProvider

__all__ = ["TelemetryStore"]

T = TypeVar("T")

#: Upper bounds of the histogram's buckets in seconds: those that OpenTelemetry recommends for databases, and two
#: smaller ones for local stores.
BUCKETS = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)


class TelemetryStore(Observer[In, Out]):
    """
    Every operation has a span, named ``storage.get`` and so on, and is counted in metrics.

    An open object with all its reads is one span, and so is a listing with all its steps, and a bulk call. The span is
    the current one only while the store below works. So the spans of its requests are children of it, but not the spans
    of the caller between two items.

    The metrics are ``storage.operation.duration`` (a histogram in seconds, of the time in the store below),
    ``storage.io`` (bytes, by ``network.io.direction``) and ``storage.operation.errors`` (by ``error.type``). Their
    attributes are the names of the operation and of the store, never a key.

    Without providers, given here or set for the program, it does nothing. Needs ``pip install
    'stackstore[telemetry]'``.

    Args:
        base: the store below.
        tracer_provider: the provider for spans; None for the program's.
        meter_provider: the provider for metrics; None for the program's.
        store_name: the name of the store in spans and metrics.
        record_keys: whether spans contain keys, and the messages of errors, which may contain keys. There can be many
            keys, and they may be private.
    """

    _steppable = True

    def __init__(
        self,
        base: ObjectStore[In, Out],
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        store_name: str | None = None,
        record_keys: bool = False,
    ) -> None:
        try:
            from opentelemetry import context, metrics, trace
        except ImportError as cause:
            raise ImportError("TelemetryStore needs opentelemetry-api: pip install 'stackstore[telemetry]'") from cause
        super().__init__(base)
        self.store_name = store_name
        self.record_keys = record_keys
        self._tracer = trace.get_tracer("storage", tracer_provider=tracer_provider)
        self._attach: Callable[[Span], object] = lambda span: context.attach(trace.set_span_in_context(span))
        self._detach: Callable[..., None] = context.detach
        self._failed = trace.StatusCode.ERROR
        meter = metrics.get_meter("storage", meter_provider=meter_provider)
        self._duration = meter.create_histogram(
            "storage.operation.duration",
            unit="s",
            description="Duration of an operation.",
            explicit_bucket_boundaries_advisory=BUCKETS,
        )
        self._io = meter.create_counter("storage.io", unit="By", description="Bytes put and read.")
        self._errors = meter.create_counter(
            "storage.operation.errors",
            unit="{error}",
            description="Errors of operations and of objects in bulk calls.",
        )

    def _on_begin(self, operation: Operation) -> None:
        attributes = self._common_attributes(operation)
        if self.record_keys and operation.key is not None:
            attributes["storage.key"] = operation.key
        if self.record_keys and operation.target is not None:
            attributes["storage.target"] = operation.target
        operation.span = self._tracer.start_span(f"storage.{operation.action}", attributes=attributes)

    async def _around_step(self, operation: Operation, call: Callable[[], Awaitable[T]]) -> T:
        if not operation.span.get_span_context().is_valid:  # without a provider the span is not recorded
            return await call()
        token = self._attach(operation.span)
        try:
            return await call()
        finally:
            self._detach(token)

    def _on_end(self, operation: Operation) -> None:
        errors = list(_errors_of(operation))
        self._measure(operation, errors)
        span: Span = operation.span
        numbers = {
            "storage.sent": operation.sent,
            "storage.received": operation.received,
            "storage.items": operation.items,
            "storage.failures": len(operation.failures) or None,
        }
        span.set_attributes({name: number for name, number in numbers.items() if number is not None})
        if operation.error is not None:
            span.set_attribute("error.type", type(operation.error).__qualname__)
            if self.record_keys and isinstance(operation.error, Exception):
                span.record_exception(operation.error)
        if errors and any(isinstance(error, Exception) and not isinstance(error, ANSWERS) for error in errors):
            span.set_status(self._failed)
        span.end()

    def _measure(self, operation: Operation, errors: Sequence[BaseException]) -> None:
        """Add an operation to the metrics."""
        common = self._common_attributes(operation)
        failed = {} if operation.error is None else {"error.type": type(operation.error).__qualname__}
        self._duration.record(operation.seconds, {**common, **failed})
        if operation.sent:
            self._io.add(operation.sent, {**common, "network.io.direction": "transmit"})
        if operation.received:
            self._io.add(operation.received, {**common, "network.io.direction": "receive"})
        if errors:
            for name, count in Counter(type(error).__qualname__ for error in errors).items():
                self._errors.add(count, {**common, "error.type": name})

    def _common_attributes(self, operation: Operation) -> dict[str, str]:
        """Return the attributes of both spans and metrics."""
        common = {"storage.operation": operation.action}
        if self.store_name is not None:
            common["storage.store"] = self.store_name
        return common


def _errors_of(operation: Operation) -> Iterator[BaseException]:
    """Yield the error of an operation, and those of single objects of a bulk call."""
    if operation.error is not None:
        yield operation.error
    yield from operation.failures
