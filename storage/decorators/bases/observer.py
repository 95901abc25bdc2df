"""`Observer`: the base of the decorators that watch every operation, from its beginning to its end."""

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

    An open object is one operation with all that is read of it, a listing one with all its steps, and a bulk call one.

    Attributes:
        action: the method's name.
        key: the object; of a listing or `clear` the prefix; None for a bulk call.
        target: of a copy or rename, the key that it makes.
        seconds: how long the store below was at it, without what its caller did meanwhile.
        sent: bytes put, None where they are not known.
        received: bytes read, likewise.
        items: keys listed, or objects of a bulk call.
        failures: the errors of single objects of a bulk call.
        error: what it failed with.
        span: what an observer keeps for it.
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
    """A decorator that is told of every operation: a subclass overrides `_begun`, `_ended` and `_at_work`, or some."""

    _steppable = True

    def __init__(self, base: ObjectStore[In, Out]) -> None:
        super().__init__(base)
        self._watches = takes_bytes(base)

    def _begun(self, operation: Operation) -> None:
        """Take note of an operation that begins; of a listing when its first item is asked for."""

    def _ended(self, operation: Operation) -> None:
        """Take note of an operation that has come to its end; of one that nobody reads to its end when it is left."""

    async def _at_work(self, operation: Operation, call: Callable[[], Awaitable[T]]) -> T:
        """Await ``call()`` and return what it gives: all of an operation, or each of its steps."""
        return await call()

    async def get(self, key: str, *, byte_range: ByteRange | None = None) -> Out:
        operation = Operation("get", key)
        return await self._all(operation, partial(self.base.get, key, byte_range=byte_range), self._note_received)

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
        data = self._counted(operation, data)
        call = partial(self.base.put, key, data, if_absent=if_absent, if_match=if_match, attributes=attributes)
        return await self._all(operation, call)

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        await self._all(Operation("delete", key), partial(self.base.delete, key, if_match=if_match))

    async def exists(self, key: str) -> bool:
        return await self._all(Operation("exists", key), partial(self.base.exists, key))

    async def head(self, key: str) -> ObjectInfo:
        return await self._all(Operation("head", key), partial(self.base.head, key))

    @asynccontextmanager
    async def open(self, key: str, *, byte_range: ByteRange | None = None) -> AsyncIterator[ObjectReader]:
        operation = Operation("open", key, received=0)
        self._begun(operation)
        try:
            async with AsyncExitStack() as opened:

                def begin() -> Awaitable[ObjectReader]:
                    return opened.enter_async_context(self.base.open(key, byte_range=byte_range))

                reader = await self._step(operation, begin)
                yield _ObservedReader(reader, operation, self._step)
        finally:
            self._ended(operation)

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
            operation.received = sum(size_of(data) or 0 for data in results.values()) if self._watches else None

        return await self._all(operation, partial(self.base.get_many, keys), note)

    async def put_many(
        self,
        items: Items[In],
        *,
        raise_errors: bool = True,
    ) -> dict[str, str | StorageError]:
        operation = Operation("put_many")
        counted = changed_items(items, lambda key, data: self._counted(operation, data))
        results = await self._all(operation, partial(self.base.put_many, counted, raise_errors=False), _note_results)
        return raise_failures(results, self, raise_errors)

    async def delete_many(self, keys: Keys, *, raise_errors: bool = True) -> dict[str, None | StorageError]:
        call = partial(self.base.delete_many, keys, raise_errors=False)
        return raise_failures(await self._all(Operation("delete_many"), call, _note_results), self, raise_errors)

    async def copy(self, source: str, target: str, *, if_absent: bool = False) -> str:
        call = partial(self.base.copy, source, target, if_absent=if_absent)
        return await self._all(Operation("copy", source, target), call)

    async def rename(self, source: str, target: str, *, if_absent: bool = False) -> str:
        call = partial(self.base.rename, source, target, if_absent=if_absent)
        return await self._all(Operation("rename", source, target), call)

    async def clear(self, prefix: str = "") -> None:
        await self._all(Operation("clear", prefix), partial(self.base.clear, prefix))

    # -- how -----------------------------------------------------------------------------------------------------

    async def _step(self, operation: Operation, call: Callable[[], Awaitable[T]]) -> T:
        """Do a part of an operation."""
        begun = perf_counter()
        try:
            return await self._at_work(operation, call)
        except BaseException as error:
            operation.error = error
            raise
        finally:
            operation.seconds += perf_counter() - begun

    async def _all(
        self,
        operation: Operation,
        call: Callable[[], Awaitable[T]],
        note: Callable[[Operation, T], None] | None = None,
    ) -> T:
        """Do an operation that is one part; *note* takes down what its result tells."""
        self._begun(operation)
        try:
            result = await self._step(operation, call)
            if note is not None:
                note(operation, result)
            return result
        finally:
            self._ended(operation)

    async def _listing(self, action: str, prefix: str, items: AsyncIterator[T]) -> AsyncIterator[T]:
        """Yield *items*; nothing is held between two of them, and their reader's time is not counted."""
        operation = Operation(action, prefix)
        listed = 0

        async def step() -> T:
            return await anext(items, _END)

        self._begun(operation)
        try:
            while (item := await self._step(operation, step)) is not _END:
                listed += 1
                yield item
        finally:
            operation.items = listed
            self._ended(operation)

    def _note_received(self, operation: Operation, data: Out) -> None:
        operation.received = size_of(data) if self._watches else None

    def _counted(self, operation: Operation, data: In) -> In:
        """Return *data*, whose bytes are added to those that were sent: at once, or when they are asked for."""
        if not self._watches:
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
    """A reader each of whose reads is a part of the operation that opened it."""

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
