"""`Writes`: how a mirror writes to its children, all at once and to the end, and what it makes of their answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence, Set
from contextlib import AsyncExitStack
from functools import partial
from typing import TypeAlias, TypeVar

import anyio

from storage._concurrency.tasks import uninterrupted
from storage.decorators.bases.multi_store import MultiStore
from storage.decorators.mirroring.fan_out import Fan
from storage.decorators.mirroring.repairs import Repairs
from storage.decorators.mirroring.stale_children import Behind
from storage.errors import (
    InvalidKeyError,
    KeyConflictError,
    KeyExistsError,
    KeyNotFoundError,
    MirrorError,
    OutcomeUnknownError,
    PreconditionFailedError,
    StorageError,
    StoreClosedError,
    StoreUnavailableError,
    UnsupportedOperationError,
)
from storage.types import Data

__all__ = ["Writes"]

T = TypeVar("T")

#: What each child gave that was called, by its number: a result or what it raised.
Outcomes: TypeAlias = dict[int, T | Exception]

#: Seconds that a cancelled write gets to end alike on all children, before those that have not ended are cut off.
GRACE = 5.0

#: Seconds that a stream which has come to its end waits for other writes of its key. Those take milliseconds, unless a
#: child lets nobody in before it has the whole stream: then each would wait for the other for ever.
PATIENCE = 60.0

#: What a child says that cannot do this at all. Where it has to, the others must not have done it.
_UNABLE = (InvalidKeyError, KeyConflictError, UnsupportedOperationError)

#: What the children say when the request is at fault, or the caller.
_REFUSALS = (*_UNABLE, KeyExistsError, KeyNotFoundError, PreconditionFailedError, StoreClosedError)

#: The outcome of a call that has begun, until it has another one.
_CUT_OFF = OutcomeUnknownError("the call was cut off")

_log = logging.getLogger("storage")


class Writes:
    """
    The writes of one mirror.

    Args:
        mirror: whose children are written to.
        needed: how many of them have to do a write.
        behind: where it is noted which did not.
        repairs: the locks of keys, and the way to bring a child up to date.
    """

    def __init__(self, mirror: MultiStore, needed: int, behind: Behind, repairs: Repairs) -> None:
        self._mirror = mirror
        self._needed = needed
        self._behind = behind
        self._repairs = repairs
        self._numbers = range(len(mirror.stores))

    async def write(self, action: str, key: str, call: Callable[[int], Awaitable[T]], conditional: bool) -> T:
        """
        Await ``call(number)`` for every child at once, and return what the first gave that succeeded.

        Args:
            action: what it is, for errors.
            key: what is written; its lock is held meanwhile.
            call: makes the call of one child.
            conditional: let the first child judge a condition before the others are called.

        Raises:
            MirrorError: fewer children than needed succeeded.
        """
        async with self._repairs.alone(key):
            return await self.write_alone(action, [key], call, conditional)

    async def write_alone(
        self, action: str, keys: Sequence[str], call: Callable[[int], Awaitable[T]], conditional: bool
    ) -> T:
        """Do as `write` does, with the locks of *keys*, all of which are changed; the first one has the condition."""
        if conditional:
            await self._prepare_judge(keys[0])
        return await uninterrupted(self._carry_out(action, keys, call, conditional), GRACE)

    async def write_stream(
        self, key: str, put: Callable[[int, Data], Awaitable[str]], pieces: AsyncIterator[bytes], conditional: bool
    ) -> str:
        """Put a stream: to each child alike, piece by piece, and its end when the key's lock is there."""
        if conditional:
            async with self._repairs.alone(key):  # a child that judges before the end would judge by an old object
                await self._prepare_judge(key)
        fan = Fan([partial(put, number) for number in self._numbers])
        try:
            async for piece in pieces:
                await self._ready(fan, key, conditional)
                fan.give(piece)
            await self._ready(fan, key, conditional)
            async with AsyncExitStack() as alone:
                with anyio.move_on_after(PATIENCE) as waiting:
                    await alone.enter_async_context(self._repairs.alone(key))
                if waiting.cancelled_caught or (conditional and 0 in self._behind.of(key)):
                    raise StoreUnavailableError("other writes came between; nothing was put", key=key)
                return await uninterrupted(self._carry_out("put", [key], fan.finish, conditional), GRACE)
        finally:
            await fan.abandon()

    async def delete_page(self, page: list[str]) -> dict[str, None | StorageError]:
        """Delete these keys, whose locks are held, with one bulk call to each child."""
        return await uninterrupted(self._delete_page(page), GRACE)

    async def _ready(self, fan: Fan[str], key: str, conditional: bool) -> None:
        """Wait until the children want more; give up as soon as too few of them can still succeed."""
        await fan.ready()
        failed = fan.failed()
        if conditional and 0 in failed:
            raise failed[0]
        if len(self._numbers) - len(failed) < self._needed:
            raise self._shortfall("put", key, [], failed)

    async def _prepare_judge(self, key: str) -> None:
        """See to it that the first child judges by the last version."""
        if 0 in self._behind.of(key) and not await self._repairs.catch_up(key, 0):
            raise StoreUnavailableError("the first child, which judges conditions, missed the last write", key=key)

    async def _carry_out(
        self, action: str, keys: Sequence[str], call: Callable[[int], Awaitable[T]], conditional: bool
    ) -> T:
        outcomes: Outcomes[T] = {}
        before = {key: self._behind.of(key) for key in keys}
        try:
            if conditional:
                await self._call([0], call, outcomes)
                if isinstance(outcomes[0], Exception):
                    raise outcomes[0]
            await self._call([number for number in self._numbers if number not in outcomes], call, outcomes)
        finally:
            for key in keys:
                self._note(key, outcomes)
        succeeded, unable = _succeeded(outcomes), _those(outcomes, _UNABLE)
        if len(succeeded) < self._needed and len(succeeded) + len(unable) == len(outcomes):
            for key in keys:
                await self._take_back(key, unable - before[key], succeeded)
        return self._judged(action, keys[0], outcomes)

    async def _take_back(self, key: str, unable: Set[int], succeeded: Set[int]) -> None:
        """Let the children that have written an object hold again what those hold that cannot write it."""
        right = unable & self._behind.readable
        if right:
            self._behind.written(key, right)
            for number in succeeded:
                await self._repairs.catch_up(key, number)

    async def _delete_page(self, page: list[str]) -> dict[str, None | StorageError]:
        outcomes: Outcomes[dict[str, None | StorageError]] = {}
        by_key: dict[str, Outcomes[None]] = {}
        try:
            await self._call(
                self._numbers,
                lambda number: self._mirror.stores[number].delete_many(page, raise_errors=False),
                outcomes,
            )
        finally:
            for key in page:
                by_key[key] = {
                    number: done if isinstance(done, Exception) else done.get(key) for number, done in outcomes.items()
                }
                self._note(key, by_key[key])
        results: dict[str, None | StorageError] = {}
        for key in page:
            try:
                results[key] = self._judged("delete", key, by_key[key])
            except StorageError as error:
                results[key] = error
        return results

    async def _call(self, numbers: Sequence[int], call: Callable[[int], Awaitable[T]], outcomes: Outcomes[T]) -> None:
        """Call these children at once, and put into *outcomes* what comes of it."""

        async def one(number: int) -> None:
            outcomes[number] = _CUT_OFF
            try:
                outcomes[number] = await call(number)
            except Exception as error:
                outcomes[number] = error

        if len(numbers) == 1:
            await one(numbers[0])
        else:  # half as dear as a task group; cancelled, it also ends only when all of them have
            await asyncio.gather(*map(one, numbers))

    def _note(self, key: str, outcomes: Mapping[int, object]) -> None:
        """Remember which children hold the last version."""
        unknown = {number for number, outcome in outcomes.items() if _is_unknown(outcome)}
        self._behind.written(key, _succeeded(outcomes), unknown, never=_those(outcomes, InvalidKeyError))

    def _judged(self, action: str, key: str, outcomes: Outcomes[T]) -> T:
        """Return the first child's result that there is, or raise what the outcomes come to."""
        failed = {number: outcome for number, outcome in outcomes.items() if isinstance(outcome, Exception)}
        succeeded = [number for number in self._numbers if number not in failed]
        if len(succeeded) < self._needed or not all(isinstance(error, StorageError) for error in failed.values()):
            raise self._shortfall(action, key, succeeded, failed)
        for number, error in failed.items():
            _log.warning("%s missed the %s of %r: %s", self._mirror._name(number), action, key, error)
        result = outcomes[succeeded[0]]
        assert not isinstance(result, Exception)
        return result

    def _shortfall(self, action: str, key: str, succeeded: Sequence[int], failed: Mapping[int, Exception]) -> Exception:
        """Return what to raise for a write that too few children did."""
        errors: dict[int, StorageError] = {}
        for number, error in failed.items():
            if not isinstance(error, StorageError):  # no store may raise it: somebody's mistake, to be seen as it is
                return error
            errors[number] = error
        if all(isinstance(error, _UNABLE if succeeded else _REFUSALS) for error in errors.values()):
            return min(errors.values(), key=lambda error: not isinstance(error, InvalidKeyError))
        did = " and ".join(f"children[{number}]" for number in succeeded) or "none"
        why = "; ".join(f"children[{number}]: {_text(error)}" for number, error in sorted(errors.items()))
        return MirrorError(
            f"a {action} takes {self._needed} of {len(self._numbers)} children, and {did} did it; {why}",
            key=key,
            store=self._mirror,
            succeeded=succeeded,
            failed=errors,
        )


def _succeeded(outcomes: Mapping[int, object]) -> set[int]:
    return {number for number, outcome in outcomes.items() if not isinstance(outcome, Exception)}


def _those(outcomes: Mapping[int, object], kinds: type[Exception] | tuple[type[Exception], ...]) -> set[int]:
    return {number for number, outcome in outcomes.items() if isinstance(outcome, kinds)}


def _is_unknown(outcome: object) -> bool:
    """Return whether a call may have taken effect although it failed. What is refused for good did not."""
    if not isinstance(outcome, StorageError):
        return isinstance(outcome, Exception)
    return outcome.retryable or isinstance(outcome, OutcomeUnknownError | MirrorError)


def _text(error: StorageError) -> str:
    return f"{type(error).__name__}, {error.message}" if error.message else type(error).__name__
