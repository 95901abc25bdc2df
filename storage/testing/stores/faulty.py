"""`FaultyStore`: a store whose calls fail as a test requires."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias, TypeVar, cast

from storage.base import ObjectStore
from storage.decorators.bases.interceptor import Call, Interceptor
from storage.decorators.bases.streams import Pull
from storage.errors import StorageError, StoreUnavailableError
from storage.reader import ObjectReader, ReaderDecorator
from storage.types import In, Out

__all__ = ["Failing", "FaultyStore"]

T = TypeVar("T")

#: Makes the exception that a call raises: a class, or a function.
_Error: TypeAlias = Callable[[], BaseException]


def _unavailable() -> StorageError:
    return StoreUnavailableError("made to fail")


def _always(action: str, key: str | None) -> bool:
    return True


@dataclass
class Failing:
    """
    Calls that must fail: the arguments of `FaultyStore.fail`, and a count.

    Attributes:
        actions: the methods; empty for all.
        error: makes the exception that they raise.
        after: whether they fail after they took effect.
        at: how many bytes of a stream pass before it fails; None for a call that fails as a whole.
        skip: how many calls will still be let through.
        times: how many calls will still fail; None for all.
        probability: the probability that a call fails.
        when: returns whether a call may fail, by its action and key.
        failed: how many calls have failed.
    """

    actions: tuple[str, ...]
    error: _Error
    after: bool
    at: int | None
    skip: int
    times: int | None
    probability: float
    when: Callable[[str, str | None], bool]
    failed: int = 0


class FaultyStore(Interceptor[In, Out]):
    """
    Passes calls on, except those that must fail.

    An action is the name of a method; ``"read"`` is a read of an open object, ``"next"`` a step of a listing after the
    first. Each object of a bulk call counts as a call of its own.

    Args:
        base: the store below.
        seed: of the random numbers for failures with a probability: the same calls fail in each run.

    Attributes:
        calls: the calls in order, each an action and a key.
        failures: the calls that failed, likewise.
    """

    _steppable = True

    def __init__(self, base: ObjectStore[In, Out], *, seed: int = 0) -> None:
        super().__init__(base)
        self.calls: list[tuple[str, str | None]] = []
        self.failures: list[tuple[str, str | None]] = []
        self._chance = random.Random(seed)
        self._failing: list[Failing] = []

    def fail(
        self,
        *actions: str,
        error: _Error = _unavailable,
        after: bool = False,
        at: int | None = None,
        skip: int = 0,
        times: int | None = None,
        probability: float = 1.0,
        when: Callable[[str, str | None], bool] | None = None,
    ) -> Failing:
        """
        Let calls fail from now on. If several rules match a call, the first one applies.

        Args:
            actions: the methods; none for all.
            error: the exception that they raise: a class, or a function that makes one. A `StorageError` gets the key.
            after: whether they fail after they took effect, so that only the answer is lost.
            at: let a stream fail after so many bytes: a stream that is put, whose object is then not stored, or an
                open object (the action ``"open"``). A shorter stream fails at its end, and data that is no stream as
                a whole.
            skip: how many calls to let through first.
            times: how many calls fail; None for all of them.
            probability: the probability that a call fails.
            when: returns whether a call may fail, by its action and key.
        """
        failing = Failing(actions, error, after, at, skip, times, probability, when or _always)
        self._failing.append(failing)
        return failing

    def heal(self) -> None:
        """Let all calls work again."""
        self._failing.clear()

    async def _intercept(self, action: str, key: str | None, call: Call[T]) -> T:
        self.calls.append((action, key))
        failing = self._next(action, key)
        if failing is None:
            return await call()
        if failing.at is not None and call.streams:
            await call(_Breaking(failing.at, partial(self._error, failing, action, key)).piece)
        if failing.at is not None and action == "open":
            reader = cast("ObjectReader", await call())
            return cast("T", _BreakingReader(reader, failing.at, partial(self._error, failing, action, key)))
        if failing.after:
            await call()
        raise self._error(failing, action, key)

    def _next(self, action: str, key: str | None) -> Failing | None:
        """Return the rule by which a call must fail, or None."""
        for failing in self._failing:
            if (failing.actions and action not in failing.actions) or not failing.when(action, key):
                continue
            if failing.skip:
                failing.skip -= 1
            elif failing.times != 0 and self._chance.random() < failing.probability:
                if failing.times is not None:
                    failing.times -= 1
                return failing
        return None

    def _error(self, failing: Failing, action: str, key: str | None) -> BaseException:
        failing.failed += 1
        self.failures.append((action, key))
        error = failing.error()
        if isinstance(error, StorageError) and key is not None and error.key is None:
            error.with_key(key)
        return error


class _Breaking:
    """A stream that fails after so many bytes, or at its end."""

    def __init__(self, at: int, error: Callable[[], BaseException]) -> None:
        self._left = at
        self._error = error

    async def piece(self, pull: Pull) -> bytes | None:
        """Return the next piece, or the part of it before the failure."""
        piece = await pull() if self._left else None
        if not piece:
            raise self._error()
        piece = piece[: self._left]
        self._left -= len(piece)
        return piece


class _BreakingReader(ReaderDecorator):
    """A reader that fails after so many bytes, or at its end."""

    def __init__(self, reader: ObjectReader, at: int, error: Callable[[], BaseException]) -> None:
        super().__init__(reader)
        self._left = at
        self._error = error

    async def read(self, size: int = -1, /) -> bytes:
        piece = await self.reader.read(self._left if size < 0 else min(size, self._left)) if self._left else b""
        if size and not piece:
            raise self._error()
        self._left -= len(piece)
        return piece
