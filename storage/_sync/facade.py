"""`SyncStore`: the base of all synchronous stores, whose methods `storage.sync` adds."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

from storage._concurrency.stepping import step
from storage._core.claims import claimed
from storage._sync.caller import Caller, EnteredContext
from storage._sync.stepped import SteppingCaller
from storage.types import Out

if TYPE_CHECKING:
    from storage.base import ObjectStore

__all__ = ["SyncStore", "async_store_of", "caller_for"]

T = TypeVar("T")


class _Run(Protocol):
    def __call__(self, coroutine: Coroutine[Any, Any, T], /) -> T: ...


_STEPPED = SteppingCaller()


class SyncStore(Generic[Out]):
    """
    An async store, called without ``await``.

    A stack that never suspends is stepped in the caller's thread; every other one, and with ``stepped=False`` any, runs
    on one background event loop, which all such stores share.

    Args:
        store: the async store, with all its decorators.
        stepped: False to use the background loop even if the stack could be stepped.
    """

    def __init__(self, store: ObjectStore[Any, Out], *, stepped: bool = True) -> None:
        if isinstance(store, SyncStore):
            raise TypeError(f"{store!r} is already synchronous: use it as it is")
        self._store = store
        self._stepped = stepped and claimed(store).steppable
        self._run: _Run
        self._call: Callable[[], Caller]
        if self._stepped:
            self._run, self._call = step, _same
        else:
            from storage._sync import on_loop  # which imports asyncio

            self._run, self._call = on_loop.run, on_loop.LoopCaller
        self._entered: list[EnteredContext[object]] = []

    @property
    def async_store(self) -> ObjectStore[Any, Out]:
        """The store that this one calls; unless it is stepped, it runs on the background loop."""
        return self._store

    def close(self) -> None:
        """Close the store now, even if others have entered it. What it did not open stays open. May be repeated."""
        self._run(self._store.aclose())

    def __enter__(self) -> Self:
        self._entered.append(self._call().enter(self._store))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._entered.pop().leave()

    def __repr__(self) -> str:
        name, inner = type(self).__name__, repr(self._store)
        return f"storage.sync.{inner}" if name == type(self._store).__name__ else f"storage.sync.{name}({inner})"


def async_store_of(store: SyncStore[Out]) -> ObjectStore[Any, Out]:
    """Return the async store of a synchronous one."""
    if not isinstance(store, SyncStore):
        raise TypeError(f"{store!r} is not a store of storage.sync: wrap it: storage.sync.ObjectStore(store)")
    return store.async_store


def caller_for(*stores: SyncStore[Any]) -> Caller:
    """Return the caller for a function on these stores, which steps if all of them can be stepped."""
    if all(store._stepped for store in stores):
        return _STEPPED
    from storage._sync.on_loop import LoopCaller

    return LoopCaller()


def _same() -> Caller:
    return _STEPPED
