"""
How the synchronous face calls async code: by stepping it in the caller's thread, or on the background loop.

A `Caller` is one call from a thread. What the thread lends to it, iterables and callbacks, runs in that thread: in
place when it is stepped; on the loop the thread, which waits anyway, serves what the work asks of it.
"""

from __future__ import annotations

import asyncio
import functools
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
)
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from queue import SimpleQueue
from typing import Any, Generic, ParamSpec, TypeAlias, cast

from storage import portal
from storage.data import as_bytes
from storage.offload import is_stepping, offload, step

if sys.version_info >= (3, 13):
    from typing import TypeVar
else:
    from typing_extensions import TypeVar

__all__ = ["Caller", "Data", "Held", "In", "OnLoop", "Stepped", "kept"]

P = ParamSpec("P")
T = TypeVar("T")

Data: TypeAlias = bytes | bytearray | memoryview | Iterable[bytes]
"""What `put` takes: bytes at once, or in pieces that are streamed in bounded memory. Never ``str``."""

#: What a synchronous store takes: of nearly all stores `Data`.
In = TypeVar("In", default=Data)

#: Items that a listing brings over in one hop at most, and seconds after which it brings what there is: a hop costs
#: some 0.1 ms, so that waiting 5 ms for company makes it cheap and nobody notices the wait.
BATCH = 256
PATIENCE = 0.005

#: Bytes that a thread gathers from its own iterable before it answers the loop: a hop for each line of a file is slow.
SLAB = 1 << 18

#: Collections that run none of the caller's code when they are iterated, in whatever thread.
_PLAIN = (list, tuple, dict, set, frozenset)
_BUFFERS = (bytes, bytearray, memoryview, str)


class Held(ABC, Generic[T]):
    """An async context manager that has been entered: *value* is what it gave."""

    value: T

    @abstractmethod
    def leave(self) -> None:
        """Leave it, and return when that is done."""

    @abstractmethod
    def abandon(self) -> None:
        """Leave it some time soon: for finalizers, which may run in any thread and must not wait."""


class Caller(ABC):
    """One way to call async code and to lend it what is the calling thread's."""

    @abstractmethod
    def run(self, coroutine: Coroutine[Any, Any, T], /) -> T:
        """Return what *coroutine* returns, or raise what it raises."""

    @abstractmethod
    def iterate(self, items: AsyncIterator[T]) -> Iterator[T]:
        """Yield *items*, which is closed when the iteration ends or is abandoned."""

    @abstractmethod
    def hold(self, manager: AbstractAsyncContextManager[T]) -> Held[T]:
        """Enter *manager*."""

    @abstractmethod
    def data(self, data: Any) -> Any:
        """Lend what is to be put, so far as it is an iterable; values and collections are passed as they are."""

    @abstractmethod
    def iterable(self, items: Iterable[T]) -> Iterable[T] | AsyncIterable[T]:
        """Lend an iterable of plain values."""

    @abstractmethod
    def items(
        self, items: Mapping[str, Any] | Iterable[tuple[str, Any]]
    ) -> Iterable[tuple[str, Any]] | AsyncIterable[tuple[str, Any]]:
        """Lend pairs of a key and what is to be put."""

    @abstractmethod
    def asked(self, callback: Callable[P, T]) -> Callable[P, T | Awaitable[T]]:
        """Lend a callback whose result the work uses."""

    @abstractmethod
    def told(self, callback: Callable[P, object] | None) -> Callable[P, object] | None:
        """Lend a callback whose result does not matter."""


class Stepped(Caller):
    """Coroutines that never suspend are run in place, and so is all that is lent."""

    def run(self, coroutine: Coroutine[Any, Any, T], /) -> T:
        return step(coroutine)

    def iterate(self, items: AsyncIterator[T]) -> Iterator[T]:
        try:
            while True:
                try:
                    item = step(_next(items), items)
                except StopAsyncIteration:
                    return
                yield item
        finally:
            if isinstance(items, AsyncGenerator):
                step(items.aclose(), items)

    def hold(self, manager: AbstractAsyncContextManager[T]) -> Held[T]:
        return _SteppedHeld(manager)

    def data(self, data: Any) -> Any:
        return data if type(data) is bytes else _synchronous(data)

    def iterable(self, items: Iterable[T]) -> Iterable[T]:
        return _synchronous(items)

    def items(self, items: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> Iterable[tuple[str, Any]]:
        return ((key, self.data(data)) for key, data in _pairs(items))

    def asked(self, callback: Callable[P, T]) -> Callable[P, T]:
        return callback

    def told(self, callback: Callable[P, object] | None) -> Callable[P, object] | None:
        return callback


class OnLoop(Caller):
    """Coroutines run on the background loop; meanwhile the calling thread serves what they ask of it."""

    def __init__(self) -> None:
        self._requests: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self.serving: bool = False
        self._interrupted = False

    def run(self, coroutine: Coroutine[Any, Any, T], /) -> T:
        work = portal.Work(coroutine, self._ended)
        self.serving = True
        try:
            told = _calling.set(self)
            work.start()
            _calling.reset(told)
            while (request := self._requests.get()) is not None:
                request()
        except BaseException:  # Ctrl-C, or what a callback raised: it leaves when the work is settled
            self._interrupted = True
            work.cancel()
            while not work.done:
                if request := self._requests.get():
                    request()
            raise
        return work.result()

    def iterate(self, items: AsyncIterator[T]) -> Iterator[T]:
        end: Exception | None = None
        while end is None:  # a generator that is abandoned here is closed by the loop, which has an eye on each
            batch, end = self.run(_batch(items))
            yield from batch
        if not isinstance(end, StopAsyncIteration):
            raise end

    def hold(self, manager: AbstractAsyncContextManager[T]) -> Held[T]:
        return _Hosted(manager, self)

    def data(self, data: Any) -> Any:
        if isinstance(data, (*_BUFFERS, *_PLAIN)) or not isinstance(_synchronous(data), Iterable):
            return data  # what is no data at all goes the same way, and the store says so
        return _Lent(_Slabs(data), self)

    def iterable(self, items: Iterable[T]) -> Iterable[T] | AsyncIterable[T]:
        return items if isinstance(items, _PLAIN) else _Lent(_synchronous(items), self)

    def items(
        self, items: Mapping[str, Any] | Iterable[tuple[str, Any]]
    ) -> Iterable[tuple[str, Any]] | AsyncIterable[tuple[str, Any]]:
        lent = ((key, self.data(data)) for key, data in _pairs(items))
        return list(lent) if isinstance(items, _PLAIN) else _Lent(lent, self)

    def asked(self, callback: Callable[P, T]) -> Callable[P, Awaitable[T]]:
        return functools.partial(self.ask, callback)

    def told(self, callback: Callable[P, object] | None) -> Callable[P, object] | None:
        if callback is None:
            return None

        def tell(*args: P.args, **kwargs: P.kwargs) -> None:
            self._requests.put(lambda: self._interrupted or callback(*args, **kwargs))

        return tell

    async def ask(self, question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """On the loop: have the calling thread answer *question*, and return or raise what it returns or raises."""
        if not self.serving:
            raise RuntimeError("what a caller lends to a synchronous call is gone when that call has returned")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Callable[[], T]] = loop.create_future()

        def give(found: Callable[[], T]) -> None:
            if not answer.done():
                answer.set_result(found)

        def serve() -> None:
            found = _refused if self._interrupted else _outcome(question, *args, **kwargs)
            loop.call_soon_threadsafe(give, found)

        self._requests.put(serve)
        return (await answer)()

    def _ended(self) -> None:
        self.serving = False
        self._requests.put(None)


#: On the loop: the call on whose behalf the current task runs.
_calling: ContextVar[OnLoop | None] = ContextVar("calling", default=None)


def kept(callback: Callable[P, T] | None) -> Callable[P, Awaitable[T]] | None:
    """
    Return what an async store may keep of a synchronous *callback*.

    It runs in the thread that makes the call which it is about; in a worker thread when nobody is waiting for one.
    """
    if callback is None:
        return None

    async def answer(*args: P.args, **kwargs: P.kwargs) -> T:
        caller = _calling.get()
        if is_stepping() or caller is None or not caller.serving:
            return await offload(callback, *args, **kwargs)
        return await caller.ask(callback, *args, **kwargs)

    vars(answer)["_steppable"] = True  # it is async in form only: where there is no loop it is a plain call
    return answer


class _SteppedHeld(Held[T]):
    def __init__(self, manager: AbstractAsyncContextManager[T]) -> None:
        self._manager = manager
        self.value = step(manager.__aenter__())

    def leave(self) -> None:
        step(self._manager.__aexit__(None, None, None))

    abandon = leave


class _Hosted(Held[T]):
    """Entered and left in one task of the loop, as cancel scopes and task groups want it."""

    def __init__(self, manager: AbstractAsyncContextManager[T], caller: Caller) -> None:
        self._manager = manager
        self._caller = caller
        self._process = os.getpid()
        self.value = caller.run(self._enter())

    def leave(self) -> None:
        if self._process == os.getpid():  # the host stayed behind in the parent, which leaves for itself
            self._caller.run(self._leave())

    def abandon(self) -> None:
        if self._process == os.getpid():
            portal.post(self._leave())

    async def _enter(self) -> T:
        loop = asyncio.get_running_loop()
        self._word = loop.create_future()
        entered: asyncio.Future[T] = loop.create_future()
        self._host = portal.keep(self._live(entered))
        try:
            await asyncio.wait((self._host, entered), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._host.cancel()
            await asyncio.wait([self._host])
            raise
        if not entered.done():
            await self._host  # raises what entering raised
        return entered.result()

    async def _live(self, entered: asyncio.Future[T]) -> None:
        async with self._manager as value:
            entered.set_result(value)
            await self._word

    async def _leave(self) -> None:
        if not self._word.done():
            self._word.set_result(None)
        await self._host


class _Lent(AsyncIterable[T]):
    """The caller's iterable, whose every step is taken in the caller's thread."""

    def __init__(self, items: Iterable[T], caller: OnLoop) -> None:
        self._items = items
        self._caller = caller

    async def __aiter__(self) -> AsyncIterator[T]:
        ask = self._caller.ask
        iterator = await ask(iter, self._items)
        while (item := await ask(next, iterator, _END)) is not _END:
            yield item


_END: Any = object()


async def _next(items: AsyncIterator[T]) -> T:
    return await anext(items)


async def _batch(items: AsyncIterator[T]) -> tuple[list[T], Exception | None]:
    """Return the next items, and what ended the iteration if it did: an error must not swallow what came before it."""
    batch: list[T] = []
    enough = time.monotonic() + PATIENCE
    try:
        while len(batch) < BATCH and (not batch or time.monotonic() < enough):
            batch.append(await anext(items))
    except Exception as end:
        return batch, end
    return batch, None


class _Slabs(Iterable[bytes]):
    """The pieces of an iterable, joined to at least `SLAB` bytes; as often as the iterable can be iterated."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        gathered = bytearray()
        for piece in self._pieces:
            gathered += as_bytes(piece)
            if len(gathered) >= SLAB:
                yield bytes(gathered)
                gathered.clear()
        if gathered:
            yield bytes(gathered)


def _pairs(items: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> Iterable[tuple[str, Any]]:
    if isinstance(items, Mapping):
        return cast("Mapping[str, Any]", items).items()
    return _synchronous(items)


def _synchronous(items: T) -> T:
    """Refuse an async iterable: the synchronous face has nothing to run it in."""
    if isinstance(items, AsyncIterable):
        raise TypeError(f"the synchronous face takes iterables, not the async iterable {type(items).__name__}")
    return items


def _outcome(question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Callable[[], T]:
    """Return a function that does again what *question* does now: return a value or raise an exception."""
    try:
        value = question(*args, **kwargs)
    except Exception as raised:
        error = raised
    else:
        return lambda: value

    def fail() -> T:
        raise error

    return fail


def _refused() -> Any:
    raise asyncio.CancelledError
