"""`Observer`: the base of the decorators that observe every operation, from its beginning to its end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any, TypeVar, cast

from storage._core.bulk import raise_failures
from storage.base import ObjectStore
from storage.decorators.bases.store_decorator import StoreDecorator
from storage.decorators.bases.streams import Pull, WatchedStream, changed_items, is_one_shot, size_of, takes_bytes
from storage.errors import StorageError
from storage.reader import ObjectReader, ReaderDecorator
from storage.types import Attributes, ByteRange, In, Items, Keys, ObjectInfo, Out

__all__ = ["Observer", "Operation"]

T = TypeVar("T")


@dataclass(slots=True)
class Operation:
    """
    One operation, and what is known of it so far.

    `open` with all reads of the object is one operation, a listing with all its steps is one, and a bulk call is one.

    Attributes:
        action: the method's name.
        key: the key of the object; the prefix of a listing or `clear`; None for a bulk call.
        target: the new key of a copy or rename.
        seconds: the time spent in the store below, without the time that the caller took between the steps.
        sent: the bytes that were put; None if that is not known.
        received: the bytes that were read, likewise.
        items: the number of keys listed, or of objects in a bulk call.
        failures: the errors of single objects of a bulk call.
        error: the error with which the operation failed.
        span: an object that a subclass may attach.
    """

    action: str
    key: str | None = None
    target: str | None = None
    seconds: float = 0.0
    sent: int | None = None
    received: int | None = None
    items: int | None = None
    failures: Sequence[StorageError] = ()
    error: BaseException | None = None
    span: Any = None


class Observer(StoreDecorator[In, Out]):
    """A decorator that observes every operation. A subclass overrides `_on_begin`, `_on_end` or `_around_step`."""

    _steppable = True

    def __init__(self, base: ObjectStore[In, Out]) -> None:
        super().__init__(base)
        self._takes_bytes = takes_bytes(base)

    def _on_begin(self, operation: Operation) -> None:
        """Run when an operation begins; a listing begins when its first item is requested."""

    def _on_end(self, operation: Operation) -> None:
        """Run when an operation has ended; a listing or reader that is not read to its end ends when it is closed."""

    async def _around_step(self, operation: Operation, call: Callable[[], Awaitable[T]]) -> T:
        """Await ``call()`` and return its result: that of a whole operation, or of one of its steps."""
        return await call()

    async def get(self, key: str, *, byte_range: ByteRange | None = None) -> Out:
        operation = Operation("get", key)
        return await self._run(operation, partial(self.base.get, key, byte_range=byte_range), self._note_received)

    async def put(
        self,
        key: str,
        data: In,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        attributes: Attributes | None = None,
    ) -> str:
        operation = Operation("put", key)
        data = self._count_sent(operation, data)
        call = partial(self.base.put, key, data, if_absent=if_absent, if_match=if_match, attributes=attributes)
        return await self._run(operation, call)

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        await self._run(Operation("delete", key), partial(self.base.delete, key, if_match=if_match))

    async def exists(self, key: str) -> bool:
        return await self._run(Operation("exists", key), partial(self.base.exists, key))

    async def head(self, key: str) -> ObjectInfo:
        return await self._run(Operation("head", key), partial(self.base.head, key))

    @asynccontextmanager
    async def open(self, key: str, *, byte_range: ByteRange | None = None) -> AsyncIterator[ObjectReader]:
        operation = Operation("open", key, received=0)
        self._on_begin(operation)
        try:
            async with AsyncExitStack() as opened:

                def begin() -> Awaitable[ObjectReader]:
                    return opened.enter_async_context(self.base.open(key, byte_range=byte_range))

                reader = await self._step(operation, begin)
                yield _ObservedReader(reader, operation, self._step)
        finally:
            self._on_end(operation)

    def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
        return self._listing("keys", prefix, self.base.keys(prefix, start_after=start_after))

    def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        return self._listing("scan", prefix, self.base.scan(prefix, start_after=start_after))

    def children(self, prefix: str = "", delimiter: str = "/") -> AsyncIterator[str]:
        return self._listing("children", prefix, self.base.children(prefix, delimiter))

    async def get_many(self, keys: Keys) -> dict[str, Out | StorageError]:
        operation = Operation("get_many", received=0)

        def note(operation: Operation, results: dict[str, Out | StorageError]) -> None:
            _note_results(operation, results)
            operation.received = sum(size_of(data) or 0 for data in results.values()) if self._takes_bytes else None

        return await self._run(operation, partial(self.base.get_many, keys), note)

    async def put_many(
        self,
        items: Items[In],
        *,
        raise_errors: bool = True,
    ) -> dict[str, str | StorageError]:
        operation = Operation("put_many")
        counted = changed_items(items, lambda key, data: self._count_sent(operation, data))
        results = await self._run(operation, partial(self.base.put_many, counted, raise_errors=False), _note_results)
        return raise_failures(results, self, raise_errors)

    async def delete_many(self, keys: Keys, *, raise_errors: bool = True) -> dict[str, None | StorageError]:
        call = partial(self.base.delete_many, keys, raise_errors=False)
        return raise_failures(await self._run(Operation("delete_many"), call, _note_results), self, raise_errors)

    async def copy(self, source: str, target: str, *, if_absent: bool = False) -> str:
        call = partial(self.base.copy, source, target, if_absent=if_absent)
        return await self._run(Operation("copy", source, target), call)

    async def rename(self, source: str, target: str, *, if_absent: bool = False) -> str:
        call = partial(self.base.rename, source, target, if_absent=if_absent)
        return await self._run(Operation("rename", source, target), call)

    async def clear(self, prefix: str = "") -> None:
        await self._run(Operation("clear", prefix), partial(self.base.clear, prefix))

    # -- steps ---------------------------------------------------------------------------------------------------

    async def _step(self, operation: Operation, call: Callable[[], Awaitable[T]]) -> T:
        """Run one step of an operation, and measure it."""
        begun = perf_counter()
        try:
            return await self._around_step(operation, call)
        except BaseException as error:
            operation.error = error
            raise
        finally:
            operation.seconds += perf_counter() - begun

    async def _run(
        self,
        operation: Operation,
        call: Callable[[], Awaitable[T]],
        note: Callable[[Operation, T], None] | None = None,
    ) -> T:
        """Run an operation that is one step; *note* records what its result shows."""
        self._on_begin(operation)
        try:
            result = await self._step(operation, call)
            if note is not None:
                note(operation, result)
            return result
        finally:
            self._on_end(operation)

    async def _listing(self, action: str, prefix: str, items: AsyncIterator[T]) -> AsyncIterator[T]:
        """Yield *items*; each is one step, and the time that the caller takes between two of them is not counted."""
        operation = Operation(action, prefix)
        listed = 0

        async def step() -> T:
            return await anext(items, _END)

        self._on_begin(operation)
        try:
            while (item := await self._step(operation, step)) is not _END:
                listed += 1
                yield item
        finally:
            operation.items = listed
            self._on_end(operation)

    def _note_received(self, operation: Operation, data: Out) -> None:
        operation.received = size_of(data) if self._takes_bytes else None

    def _count_sent(self, operation: Operation, data: In) -> In:
        """Return *data*, and count its bytes as sent: now if the size is known, else piece by piece."""
        if not self._takes_bytes:
            return data
        size = size_of(data)
        if size is not None:
            operation.sent = (operation.sent or 0) + size
            return data

        async def count(pull: Pull) -> bytes | None:
            piece = await pull()
            operation.sent = (operation.sent or 0) + len(piece or b"")
            return piece

        return cast("In", WatchedStream(data, count)) if is_one_shot(data) else data


_END: Any = object()


def _note_results(operation: Operation, results: Mapping[str, object]) -> None:
    operation.items = len(results)
    operation.failures = [result for result in results.values() if isinstance(result, StorageError)]


class _ObservedReader(ReaderDecorator):
    """A reader whose reads are steps of the operation that opened it."""

    def __init__(
        self,
        reader: ObjectReader,
        operation: Operation,
        step: Callable[[Operation, Callable[[], Awaitable[bytes]]], Awaitable[bytes]],
    ) -> None:
        super().__init__(reader)
        self._operation = operation
        self._step = step

    async def read(self, size: int = -1, /) -> bytes:
        data = await self._step(self._operation, partial(self.reader.read, size))
        self._operation.received = (self._operation.received or 0) + len(data)
        return data
