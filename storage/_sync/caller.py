"""
How the synchronous face calls async code: by stepping it in the caller's thread, or on the background loop.

A `Caller` is one call from a thread. The iterables and callbacks that the thread lends to it run in that thread: in
place when the call is stepped (`storage._sync.stepped`); on the loop (`storage._sync.on_loop`) the thread, which waits
anyway, runs them on request.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
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
from typing import Any, Generic, ParamSpec, TypeAlias, cast

if sys.version_info >= (3, 13):
    from typing import TypeVar
else:
    from typing_extensions import TypeVar

__all__ = ["Caller", "Data", "EnteredContext", "In", "Items", "Keys", "pairs", "synchronous"]

P = ParamSpec("P")
T = TypeVar("T")

Data: TypeAlias = bytes | bytearray | memoryview | Iterable[bytes]
"""What `put` takes: all bytes, or pieces of bytes, which are streamed in bounded memory. Never ``str``."""

#: What a synchronous store takes: of nearly all stores `Data`.
In = TypeVar("In", default=Data)

Keys: TypeAlias = Iterable[str]
"""The keys that a bulk call takes."""

Items: TypeAlias = Mapping[str, In] | Iterable[tuple[str, In]]
"""What `put_many` takes: a mapping of keys to data, or pairs of them."""


class EnteredContext(ABC, Generic[T]):
    """
    An async context manager that has been entered.

    Attributes:
        value: what entering it returned.
    """

    value: T

    @abstractmethod
    def leave(self) -> None:
        """Leave the context manager, and wait until that is done."""

    @abstractmethod
    def abandon(self) -> None:
        """Leave it soon, without waiting; for finalizers, which may run in any thread and must not wait."""


class Caller(ABC):
    """A way to call async code, and to pass it iterables and callbacks that run in the calling thread."""

    #: Whether the calling thread waits for a call, and so can run callbacks for it.
    serving: bool = False

    @abstractmethod
    def run(self, coroutine: Coroutine[Any, Any, T], /) -> T:
        """Return what *coroutine* returns, or raise what it raises."""

    @abstractmethod
    def iterate(self, items: AsyncIterator[T]) -> Iterator[T]:
        """Yield *items*; they are closed when the iteration ends or is abandoned."""

    @abstractmethod
    def enter(self, manager: AbstractAsyncContextManager[T]) -> EnteredContext[T]:
        """Enter *manager*."""

    @abstractmethod
    def data(self, data: Any) -> Any:
        """Lend the data of a `put`, if it is an iterable; values and collections are passed as they are."""

    @abstractmethod
    def iterable(self, items: Iterable[T]) -> Iterable[T] | AsyncIterable[T]:
        """Lend an iterable of plain values."""

    @abstractmethod
    def items(
        self, items: Mapping[str, Any] | Iterable[tuple[str, Any]]
    ) -> Iterable[tuple[str, Any]] | AsyncIterable[tuple[str, Any]]:
        """Lend pairs of a key and its data."""

    @abstractmethod
    def result_callback(self, callback: Callable[P, T]) -> Callable[P, T | Awaitable[T]]:
        """Lend a callback whose result the async code uses."""

    @abstractmethod
    def callback(self, callback: Callable[P, object] | None) -> Callable[P, object] | None:
        """Lend a callback whose result is ignored."""

    @abstractmethod
    async def ask(self, callback: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """From within the call: run *callback* in the calling thread, and return its result or raise its exception."""


def pairs(items: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> Iterable[tuple[str, Any]]:
    """Return the pairs of what `put_many` takes."""
    if isinstance(items, Mapping):
        return cast("Mapping[str, Any]", items).items()
    return synchronous(items)


def synchronous(items: T) -> T:
    """Return *items*; refuse an async iterable, which the synchronous face cannot run."""
    if isinstance(items, AsyncIterable):
        raise TypeError(f"a synchronous store takes iterables, not the async iterable {type(items).__name__}")
    return items
