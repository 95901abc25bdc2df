"""A store that fails when it is told to, before or after it did what was asked, and a clock that goes as tests want."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import pytest

from storage import DictStore, Interceptor, ObjectStore, StorageError, StoreUnavailableError
from storage._core import retry
from storage.decorators.bases.interceptor import Call
from storage.decorators.retrying import reader as retrying_reader
from storage.types import Data, In, Out

__all__ = ["Clock", "FlakyStore", "UnmarkedStore"]

T = TypeVar("T")


class FlakyStore(Interceptor[In, Out]):
    """
    A store whose next calls of each action fail as *plan* says, in turn: ``"before"`` or ``"after"`` they took effect,
    so that only the answer is lost, or ``""`` not at all, as those behind the plan.

    Attributes:
        calls: the actions that were asked for, each with its key.
        plan: for an action when its next calls fail.
        error: makes what they fail with.
        after: called after a call, with its action, before that fails or returns.
    """

    _steppable = True

    def __init__(self, base: ObjectStore[In, Out], **plan: Sequence[str]) -> None:
        super().__init__(base)
        self.plan = {action: list(when) for action, when in plan.items()}
        self.calls: list[tuple[str, str | None]] = []
        self.error: Callable[[], StorageError] = lambda: StoreUnavailableError("busy")
        self.after: Callable[[str], None] = lambda action: None

    async def _intercept(self, action: str, key: str | None, call: Call[T]) -> T:
        self.calls.append((action, key))
        fails = self.plan[action].pop(0) if self.plan.get(action) else ""
        if fails == "before":
            self.after(action)
            raise self.error()
        result = await call()
        self.after(action)
        if fails == "after":
            raise self.error()
        return result

    def count(self, action: str) -> int:
        """Return how often an action was asked for."""
        return sum(each == action for each, _ in self.calls)


class UnmarkedStore(DictStore):
    """A store with conditions and without attributes."""

    async def put(  # type: ignore[override]  # to leave the option out is the point
        self, key: str, data: Data, *, if_absent: bool = False, if_match: str | None = None
    ) -> str:
        return await super().put(key, data, if_absent=if_absent, if_match=if_match)


class Clock:
    """
    Time for stores that try again, which passes only when one of them waits.

    Attributes:
        now: seconds since some moment.
        waits: how long each wait was.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.waits: list[float] = []
        monkeypatch.setattr(retry, "monotonic", self.monotonic)
        monkeypatch.setattr(retry, "pause", self.sleep)
        monkeypatch.setattr(retrying_reader, "monotonic", self.monotonic)

    def monotonic(self) -> float:
        """Return the time."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Let the time pass."""
        self.waits.append(seconds)
        self.now += seconds
