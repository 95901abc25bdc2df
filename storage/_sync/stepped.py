"""`SteppingCaller`: calls async code that never suspends in the caller's thread, without an event loop."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, ParamSpec, TypeVar

from storage._concurrency.stepping import step
from storage._sync.caller import Caller, EnteredContext, pairs, synchronous

__all__ = ["SteppingCaller"]

P = ParamSpec("P")
T = TypeVar("T")


class SteppingCaller(Caller):
    """Runs coroutines that never suspend in place, and so the iterables and callbacks that they are lent."""

    def run(self, coroutine: Coroutine[Any, Any, T], /) -> T:
        return step(coroutine)

    def iterate(self, items: AsyncIterator[T]) -> Iterator[T]:
        advance: Any = items.__anext__  # it returns a coroutine, or what steps like one: that of an async generator
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

    def enter(self, manager: AbstractAsyncContextManager[T]) -> EnteredContext[T]:
        return _SteppedContext(manager)

    def data(self, data: Any) -> Any:
        return data if type(data) is bytes else synchronous(data)

    def iterable(self, items: Iterable[T]) -> Iterable[T]:
        return synchronous(items)

    def items(self, items: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> Iterable[tuple[str, Any]]:
        return ((key, self.data(data)) for key, data in pairs(items))

    def result_callback(self, callback: Callable[P, T]) -> Callable[P, T]:
        return callback

    def callback(self, callback: Callable[P, object] | None) -> Callable[P, object] | None:
        return callback

    async def ask(self, callback: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return callback(*args, **kwargs)


class _SteppedContext(EnteredContext[T]):
    def __init__(self, manager: AbstractAsyncContextManager[T]) -> None:
        self._manager = manager
        self.value = step(manager.__aenter__())

    def leave(self) -> None:
        step(self._manager.__aexit__(None, None, None))

    abandon = leave
