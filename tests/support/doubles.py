"""Stores, gates and clocks that tests use in place of real ones, and control."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from typing import TypeVar

from storage import (
    Attributes,
    Data,
    DictStore,
    ObjectStore,
    StoreDecorator,
    StoreUnavailableError,
)
from storage._core.clock import Clock
from storage.decorators.bases.interceptor import Call
from storage.decorators.bases.streams import Around
from storage.testing import FaultyStore
from storage.testing.stores.faulty import Failing
from storage.types import In, Out

T = TypeVar("T")

__all__ = ["Gate", "HandClock", "LoopClock", "ScriptedStore", "UnmarkedStore", "WatchedStore", "scripted"]


class Gate:
    """Where calls wait until a test opens it."""

    def __init__(self) -> None:
        self._reached = asyncio.Event()
        self._opened = asyncio.Event()

    async def reached(self) -> None:
        """Wait until a call waits here."""
        await self._reached.wait()

    def open(self) -> None:
        """Let the calls go on."""
        self._opened.set()

    def close(self) -> None:
        """Let calls wait again from now on."""
        self._opened.clear()

    async def wait(self) -> None:
        """Wait until the gate is open."""
        self._reached.set()
        await self._opened.wait()


class ScriptedStore(FaultyStore[In, Out]):
    """
    A store whose calls fail and wait as a test says.

    `fail` and `heal` are those of `FaultyStore`; ``"enter"``, which is opening the store, fails only by its name.

    Args:
        base: the store below, a new `DictStore` by default.
        waits: the actions whose every call waits at `gate`.
        plan: for an action how its next calls fail, in turn: ``"before"`` or ``"after"`` they took effect, so that only
            the answer is lost, or ``""`` not at all, as all later ones.

    Attributes:
        plan: see above.
        error: makes what calls fail with by the plan.
        after: called after a call, with its action, before that fails or returns.
        gate: where calls of the actions in *waits* wait.
        inside: the calls that have begun and not ended, in the order in which they began.
        most: how many there were at most.
    """

    _steppable = True

    def __init__(self, base: ObjectStore[In, Out] | None = None, *waits: str, **plan: Sequence[str]) -> None:
        super().__init__(base or DictStore())  # type: ignore[arg-type]  # who needs values hands a store of them
        self.plan = {action: list(when) for action, when in plan.items()}
        self.error: Callable[[], BaseException] = lambda: StoreUnavailableError("busy")
        self.after: Callable[[str], None] = lambda action: None
        self.gate = Gate()
        self.inside: list[tuple[str, str | None]] = []
        self.most = 0
        self._waits = waits
        self._held: dict[tuple[str, bool], Gate] = {}
        self._changed = asyncio.Event()

    def hold(self, action: str, *, after: bool = False) -> Gate:
        """Let the next call of an action wait: before it does anything, or after it took effect, before it returns."""
        gate = self._held[action, after] = Gate()
        return gate

    def asked(self, *actions: str) -> list[str | None]:
        """Return the keys for which these actions were asked for."""
        return [key for action, key in self.calls if action in actions]

    def count(self, *actions: str) -> int:
        """Return how often these actions were asked for."""
        return len(self.asked(*actions))

    async def until(self, number: int) -> None:
        """Wait until so many calls have begun."""
        while len(self.calls) < number:
            self._changed.clear()
            await self._changed.wait()

    async def _open(self) -> None:
        if any("enter" in failing.actions for failing in self._failing):
            await self._intercept("enter", None, Call(super()._open))
        else:
            await super()._open()

    async def _intercept(self, action: str, key: str | None, call: Call[T]) -> T:
        self.inside.append((action, key))
        self.most = max(self.most, len(self.inside))
        self._changed.set()
        gate = self._held.pop((action, False), self.gate if action in self._waits else None)
        try:
            return await super()._intercept(action, key, call if gate is None else _Waiting(call, gate))
        finally:
            if late := self._held.pop((action, True), None):
                await late.wait()
            self.after(action)
            self.inside.remove((action, key))

    def _next(self, action: str, key: str | None) -> Failing | None:
        planned = self.plan.get(action)
        if not planned:
            return super()._next(action, key)
        when = planned.pop(0)
        if not when:
            return None
        return Failing((action,), self.error, when == "after", None, 0, None, 1.0, lambda action, key: True)


class _Waiting(Call[T]):
    """A call that begins when a gate is open."""

    __slots__ = ("_call", "_gate")

    def __init__(self, call: Call[T], gate: Gate) -> None:
        self._call = call
        self._gate = gate

    @property
    def size(self) -> int:
        return self._call.size

    @property
    def streams(self) -> bool:
        return self._call.streams

    async def __call__(self, around: Around | None = None) -> T:
        await self._gate.wait()
        return await self._call(around)


def scripted(count: int) -> list[ScriptedStore[Data, bytes]]:
    """Return so many scripted stores over dicts."""
    return [ScriptedStore() for _ in range(count)]


class UnmarkedStore(DictStore):
    """A store with conditions and without attributes."""

    async def put(  # type: ignore[override]  # to leave the option out is the point
        self, key: str, data: Data, *, if_absent: bool = False, if_match: str | None = None
    ) -> str:
        return await super().put(key, data, if_absent=if_absent, if_match=if_match)


class WatchedStore(StoreDecorator):
    """
    A store that writes down what is put, deleted and listed through it, as a user's decorator would.

    Attributes:
        seen: what was done, each method with its key or prefix, and with ``stream`` where one was put.
    """

    def __init__(self, base: ObjectStore) -> None:
        super().__init__(base)
        self.seen: list[str] = []

    def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
        self.seen.append(f"keys {prefix}")
        return super().keys(prefix, start_after=start_after)

    def children(self, prefix: str = "", delimiter: str = "/") -> AsyncIterator[str]:
        self.seen.append(f"children {prefix}")
        return super().children(prefix, delimiter)

    async def put(
        self,
        key: str,
        data: Data,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        attributes: Attributes | None = None,
    ) -> str:
        self.seen.append(f"put {key}{' stream' * isinstance(data, AsyncIterable)}")
        return await super().put(key, data, if_absent=if_absent, if_match=if_match, attributes=attributes)

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        self.seen.append(f"delete {key}")
        await super().delete(key, if_match=if_match)


class HandClock(Clock):
    """
    A clock that stands still until it is moved, or until somebody sleeps by it.

    Attributes:
        day: what the system's clock shows; a test sets it, as an administrator would.
        waits: how long each sleep was, in seconds.
    """

    def __init__(self, day: float = 1_000_000_000.0) -> None:
        self.day = day
        self.waits: list[float] = []
        self._seconds = 1000.0
        super().__init__()

    def wall(self) -> float:
        return self.day

    def monotonic(self) -> float:
        return self._seconds

    def go_on(self, seconds: float) -> None:
        """Let time pass."""
        self._seconds += seconds
        self.day += seconds

    async def sleep(self, seconds: float) -> None:
        """Let the time pass immediately: nobody else uses the clock."""
        self.waits.append(seconds)
        self.go_on(seconds)


class LoopClock(HandClock):
    """A clock that goes on by itself when all tasks sleep by it: each wakes in its turn, which takes an event loop."""

    def __init__(self) -> None:
        super().__init__()
        self._sleeping: list[tuple[float, asyncio.Future[None]]] = []

    async def sleep(self, seconds: float) -> None:
        """Wait until the time has come."""
        self.waits.append(seconds)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (self.monotonic() + seconds, future)
        self._sleeping.append(entry)
        self._advance(after=20)
        try:
            await future
        finally:
            if entry in self._sleeping:
                self._sleeping.remove(entry)

    def _advance(self, after: int) -> None:
        """Go on to the next one who is to wake, after so many turns of the loop: others may be about to sleep."""
        if after:
            asyncio.get_running_loop().call_soon(self._advance, after - 1)
        elif self._sleeping:
            when, future = min(self._sleeping, key=lambda entry: entry[0])
            self._sleeping.remove((when, future))
            self.go_on(max(0.0, when - self.monotonic()))
            if not future.done():
                future.set_result(None)
