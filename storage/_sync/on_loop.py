"""
The other way to call async code from a thread: on the background loop, which serves as many threads as there are.

A module of its own, because asyncio takes twice as long to import as all that a stepped store needs.
"""

from __future__ import annotations

import asyncio
import functools
import os
import time
from collections.abc import (
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
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

from storage._concurrency import background_loop as portal
from storage._core.data import as_bytes
from storage._sync.caller import CALLING, Caller, Held, pairs, synchronous

__all__ = ["BATCH", "SLAB", "OnLoop", "run"]

P = ParamSpec("P")
T = TypeVar("T")

#: Items that a listing brings over in one hop at most, and seconds after which it brings what there is: a hop costs
#: some 0.1 ms, so that waiting 5 ms for company makes it cheap and nobody notices the wait.
BATCH = 256
PATIENCE = 0.005

#: Bytes that a thread gathers from its own iterable before it answers the loop: a hop for each line of a file is slow.
SLAB = 1 << 18

#: Collections that run none of the caller's code when they are iterated, in whatever thread.
_PLAIN = (list, tuple, dict, set, frozenset)
_BUFFERS = (bytes, bytearray, memoryview, str)


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
            told = CALLING.set(self)
            work.start()
            CALLING.reset(told)
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
        if isinstance(data, (*_BUFFERS, *_PLAIN)) or not isinstance(synchronous(data), Iterable):
            return data  # what is no data at all goes the same way, and the store says so
        return _Lent(_Slabs(data), self)

    def iterable(self, items: Iterable[T]) -> Iterable[T] | AsyncIterable[T]:
        return items if isinstance(items, _PLAIN) else _Lent(synchronous(items), self)

    def items(
        self, items: Mapping[str, Any] | Iterable[tuple[str, Any]]
    ) -> Iterable[tuple[str, Any]] | AsyncIterable[tuple[str, Any]]:
        lent = ((key, self.data(data)) for key, data in pairs(items))
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


def run(coroutine: Coroutine[Any, Any, T], /) -> T:
    """Return what *coroutine* returns, or raise what it raises; it has nothing of this thread's lent to it."""
    return OnLoop().run(coroutine)


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
