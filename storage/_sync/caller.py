"""
How the synchronous face calls async code: by stepping it in the caller's thread, or on the background loop.

A `Caller` is one call from a thread. What the thread lends to it, iterables and callbacks, runs in that thread: in
place when it is stepped (`Stepped`); on the loop (`storage._sync.on_loop.OnLoop`) the thread, which waits anyway,
serves what the work asks of it.
"""

from __future__ import annotations

import sys
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
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeAlias, cast

from storage._concurrency.offload import is_stepping, offload, step

if sys.version_info >= (3, 13):
    from typing import TypeVar
else:
    from typing_extensions import TypeVar

if TYPE_CHECKING:
    from storage._sync.on_loop import OnLoop

__all__ = ["CALLING", "Caller", "Data", "Held", "In", "Items", "Keys", "Stepped", "kept", "pairs", "synchronous"]

P = ParamSpec("P")
T = TypeVar("T")

Data: TypeAlias = bytes | bytearray | memoryview | Iterable[bytes]
"""What `put` takes: bytes at once, or in pieces that are streamed in bounded memory. Never ``str``."""

#: What a synchronous store takes: of nearly all stores `Data`.
In = TypeVar("In", default=Data)

Keys: TypeAlias = Iterable[str]
"""The keys that a bulk call takes."""

Items: TypeAlias = Mapping[str, In] | Iterable[tuple[str, In]]
"""What `put_many` takes: a mapping of keys to data, or pairs of them."""


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
        advance: Any = items.__anext__  # a coroutine, or what steps like one: an async generator's own
        try:
            while True:
                try:
                    item = step(advance(), items)
                except StopAsyncIteration:
                    return
                yield item
        finally:
            if isinstance(items, AsyncGenerator):
                step(items.aclose(), items)

    def hold(self, manager: AbstractAsyncContextManager[T]) -> Held[T]:
        return _SteppedHeld(manager)

    def data(self, data: Any) -> Any:
        return data if type(data) is bytes else synchronous(data)

    def iterable(self, items: Iterable[T]) -> Iterable[T]:
        return synchronous(items)

    def items(self, items: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> Iterable[tuple[str, Any]]:
        return ((key, self.data(data)) for key, data in pairs(items))

    def asked(self, callback: Callable[P, T]) -> Callable[P, T]:
        return callback

    def told(self, callback: Callable[P, object] | None) -> Callable[P, object] | None:
        return callback


#: On the loop: the call on whose behalf the current task runs.
CALLING: ContextVar[OnLoop | None] = ContextVar("calling", default=None)


def kept(callback: Callable[P, T] | None) -> Callable[P, Awaitable[T]] | None:
    """
    Return what an async store may keep of a synchronous *callback*.

    It runs in the thread that makes the call which it is about; in a worker thread when nobody is waiting for one.
    """
    if callback is None:
        return None

    async def answer(*args: P.args, **kwargs: P.kwargs) -> T:
        caller = CALLING.get()
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


def pairs(items: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> Iterable[tuple[str, Any]]:
    """Return the pairs of what `put_many` takes."""
    if isinstance(items, Mapping):
        return cast("Mapping[str, Any]", items).items()
    return synchronous(items)


def synchronous(items: T) -> T:
    """Refuse an async iterable: the synchronous face has nothing to run it in."""
    if isinstance(items, AsyncIterable):
        raise TypeError(f"the synchronous face takes iterables, not the async iterable {type(items).__name__}")
    return items
