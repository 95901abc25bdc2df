"""
`LoopCaller`: calls async code on the background loop, which all threads share.

It has its own module because asyncio takes twice as long to import as all that a stepped store needs.
"""

from __future__ import annotations

import asyncio
import functools
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

from storage._concurrency.background_loop import Work
from storage._concurrency.forks import renew_after_fork
from storage._concurrency.stepping import THREAD
from storage._sync.callbacks import CALLING
from storage._sync.caller import Caller, EnteredContext, pairs, synchronous
from storage._sync.hosting import HostedContext
from storage._sync.lending import JoinedPieces, LentIterable
from storage.errors import StoreClosedError

__all__ = ["BATCH", "LoopCaller", "run"]

P = ParamSpec("P")
T = TypeVar("T")

#: The most items that a listing transfers in one hop, and seconds after which the next item is the last one: a hop
#: costs some 0.1 ms, so that a wait of 5 ms for more items makes it cheap, and is too short to be noticed.
BATCH = 256
MAX_WAIT = 0.005

#: Collections that run none of the caller's code when they are iterated, in whatever thread.
_PLAIN = (list, tuple, dict, set, frozenset)
_BUFFERS = (bytes, bytearray, memoryview, str)


class LoopCaller(Caller):
    """Runs coroutines on the background loop; meanwhile the calling thread runs the callbacks that they request."""

    def __init__(self) -> None:
        self._requests: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self.serving = False
        self._interrupted = False
        renew_after_fork(self)

    def run(self, coroutine: Coroutine[Any, Any, T], /) -> T:
        work = Work(coroutine, self._ended)
        workers = THREAD.mode.workers
        if workers is None:
            return self._run(work)
        with workers.waiting():
            return self._run(work)

    def _run(self, work: Work[T]) -> T:
        self.serving = True
        try:
            token = CALLING.set(self)
            work.start()
            CALLING.reset(token)
            while (request := self._requests.get()) is not None:
                request()
        except BaseException:  # Ctrl-C, or an error of a callback: raised when the work has ended
            self._interrupted = True
            if not work.is_of_parent:
                work.cancel()
            while not (work.done or work.is_of_parent):
                if request := self._requests.get():
                    request()
            raise
        return work.result()

    def iterate(self, items: AsyncIterator[T]) -> Iterator[T]:
        end: Exception | None = None
        while end is None:  # if it is abandoned here, the loop closes the async generator
            batch, end = self.run(_batch(items))
            yield from batch
        if not isinstance(end, StopAsyncIteration):
            raise end

    def enter(self, manager: AbstractAsyncContextManager[T]) -> EnteredContext[T]:
        return HostedContext(manager, self)

    def data(self, data: Any) -> Any:
        if isinstance(data, (*_BUFFERS, *_PLAIN)) or not isinstance(synchronous(data), Iterable):
            return data  # what is not data at all is passed on too, and the store refuses it
        return LentIterable(JoinedPieces(data), self)

    def iterable(self, items: Iterable[T]) -> Iterable[T] | AsyncIterable[T]:
        return items if isinstance(items, _PLAIN) else LentIterable(synchronous(items), self)

    def items(
        self, items: Mapping[str, Any] | Iterable[tuple[str, Any]]
    ) -> Iterable[tuple[str, Any]] | AsyncIterable[tuple[str, Any]]:
        lent = ((key, self.data(data)) for key, data in pairs(items))
        return list(lent) if isinstance(items, _PLAIN) else LentIterable(lent, self)

    def result_callback(self, callback: Callable[P, T]) -> Callable[P, Awaitable[T]]:
        return functools.partial(self.ask, callback)

    def callback(self, callback: Callable[P, object] | None) -> Callable[P, object] | None:
        if callback is None:
            return None

        def tell(*args: P.args, **kwargs: P.kwargs) -> None:
            self._requests.put(lambda: self._interrupted or callback(*args, **kwargs))

        return tell

    async def ask(self, callback: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if not self.serving:
            raise RuntimeError(
                "an iterable or callback was used after the synchronous call that it was passed to had returned"
            )
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Callable[[], T]] = loop.create_future()

        def give(found: Callable[[], T]) -> None:
            if not answer.done():
                answer.set_result(found)

        def serve() -> None:
            found = _refused if self._interrupted else _outcome(callback, *args, **kwargs)
            loop.call_soon_threadsafe(give, found)

        self._requests.put(serve)
        return (await answer)()

    def _renew(self) -> None:
        """In a forked child: end the call during which a callback or a signal handler of this thread forked."""
        if self.serving:
            self._requests.put(_refuse_in_child)

    def _ended(self) -> None:
        self.serving = False
        self._requests.put(None)


def run(coroutine: Coroutine[Any, Any, T], /) -> T:
    """Return what *coroutine* returns, or raise what it raises; this thread lends it nothing."""
    return LoopCaller().run(coroutine)


async def _batch(items: AsyncIterator[T]) -> tuple[list[T], Exception | None]:
    """Return the next items, and the exception that ended the iteration, if it did: items before an error count."""
    batch: list[T] = []
    enough = time.monotonic() + MAX_WAIT
    try:
        while len(batch) < BATCH and (not batch or time.monotonic() < enough):
            batch.append(await anext(items))
    except Exception as end:
        return batch, end
    return batch, None


def _outcome(callback: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Callable[[], T]:
    """Call *callback* and return a function that returns its result or raises its exception."""
    try:
        value = callback(*args, **kwargs)
    except Exception as raised:
        error = raised
    else:
        return lambda: value

    def fail() -> T:
        raise error

    return fail


def _refuse_in_child() -> None:
    raise StoreClosedError("the process was forked during this call, which goes on in the parent only")


def _refused() -> Any:
    raise asyncio.CancelledError
