"""`Writes`: how a mirror writes to all its children, and decides from their results whether a write succeeded."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence, Set
from contextlib import AsyncExitStack
from functools import partial
from typing import TypeAlias, TypeVar

import anyio

from storage._concurrency.tasks import uninterrupted
from storage._core.outcomes import may_take_effect
from storage.decorators.bases.multi_store import MultiStore
from storage.decorators.mirroring.fan_out import FanOut
from storage.decorators.mirroring.marks import AheadMarks
from storage.decorators.mirroring.repairs import Repairs
from storage.decorators.mirroring.stale_children import StaleChildren
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

#: What each child that was called returned or raised, by its number.
Outcomes: TypeAlias = dict[int, T | Exception]

#: Seconds for which a cancelled write goes on, so that it ends the same on all children. Then the calls that still run
#: are cancelled.
GRACE = 5.0

#: Seconds that a stream waits at its end for the lock of its key. Others hold it for milliseconds. But a child that
#: accepts no other write before it has the whole stream lets the holder wait for the stream: a deadlock.
LOCK_TIMEOUT = 60.0

#: The errors of a child that can never do this write. If its success is needed, the write is undone on the others.
_UNSUPPORTED = (InvalidKeyError, KeyConflictError, UnsupportedOperationError)

#: The errors that are caused by the request, not by a failing child.
_REFUSED = (*_UNSUPPORTED, KeyExistsError, KeyNotFoundError, PreconditionFailedError, StoreClosedError)

#: The outcome of a call that has begun and not ended.
_INTERRUPTED = OutcomeUnknownError("the call was cancelled before its result was known")

_log = logging.getLogger("storage")


class Writes:
    """
    The writes of one mirror.

    Args:
        mirror: the store whose children are written to.
        needed: the number of children on which a write must succeed.
        stale: records which children missed a write.
        repairs: has the locks of keys, and brings children up to date.
        marks: what tells the next process that children missed a write.
    """

    def __init__(
        self, mirror: MultiStore, needed: int, stale: StaleChildren, repairs: Repairs, marks: AheadMarks
    ) -> None:
        self._mirror = mirror
        self._needed = needed
        self._stale = stale
        self._repairs = repairs
        self._marks = marks
        self._numbers = range(len(mirror.stores))

    async def write(self, action: str, key: str, call: Callable[[int], Awaitable[T]], conditional: bool) -> T:
        """
        Await ``call(number)`` for all children concurrently, and return the result of the first that succeeded.

        Args:
            action: the name of the write in errors.
            key: the object; its lock is held during the write.
            call: writes to the child of the number that it is given.
            conditional: whether the write has a condition: then the first child is called before the others, and they
                are called only if it succeeds.

        Raises:
            MirrorError: the write succeeded on fewer children than needed.
        """
        async with self._repairs.locked(key):
            return await self.write_locked(action, [key], call, conditional)

    async def write_locked(
        self, action: str, keys: Sequence[str], call: Callable[[int], Awaitable[T]], conditional: bool
    ) -> T:
        """Do the same for a write that changes all *keys*, whose locks are held. A condition is on the first key."""
        if conditional:
            await self._update_first_child(keys[0])
        return await uninterrupted(self._call_all(action, keys, call, conditional), GRACE)

    async def write_stream(
        self, key: str, put: Callable[[int, Data], Awaitable[str]], pieces: AsyncIterator[bytes], conditional: bool
    ) -> str:
        """
        Put a stream to all children, piece by piece. The lock of the key is held only from the end of the stream on.

        A child publishes the object when it gets the end of the stream, so that until then no lock is needed.
        """
        if conditional:
            async with self._repairs.locked(key):  # a child may check the condition before the end of the stream
                await self._update_first_child(key)
        fan_out = FanOut([partial(put, number) for number in self._numbers])
        try:
            async for piece in pieces:
                await self._ready(fan_out, key, conditional)
                fan_out.send(piece)
            await self._ready(fan_out, key, conditional)
            async with AsyncExitStack() as lock:
                with anyio.move_on_after(LOCK_TIMEOUT) as waiting:
                    await lock.enter_async_context(self._repairs.locked(key))
                if waiting.cancelled_caught or (conditional and 0 in self._stale.of(key)):
                    raise StoreUnavailableError("other writes came first; nothing was put, try again", key=key)
                return await uninterrupted(self._call_all("put", [key], fan_out.finish, conditional), GRACE)
        finally:
            await fan_out.cancel()

    async def delete_page(self, page: list[str]) -> dict[str, None | StorageError]:
        """Delete these keys with one bulk call to each child. The caller holds their locks."""
        return await uninterrupted(self._delete_page(page), GRACE)

    async def _ready(self, fan_out: FanOut[str], key: str, conditional: bool) -> None:
        """Wait until the children are ready for the next piece; raise if too few of them can still succeed."""
        await fan_out.ready()
        failed = fan_out.errors()
        if conditional and 0 in failed:
            raise failed[0]
        if len(self._numbers) - len(failed) < self._needed:
            raise self._too_few_error("put", key, [], failed)

    async def _update_first_child(self, key: str) -> None:
        """Bring the first child up to date, so that it checks a condition against the last version."""
        if 0 in self._stale.of(key) and not await self._repairs.catch_up(key, 0):
            raise StoreUnavailableError(
                "children[0], which checks conditions, missed the last write; try again", key=key
            )

    async def _call_all(
        self, action: str, keys: Sequence[str], call: Callable[[int], Awaitable[T]], conditional: bool
    ) -> T:
        outcomes: Outcomes[T] = {}
        before = {key: self._stale.of(key) for key in keys}
        try:
            if conditional:
                await self._call([0], call, outcomes)
                if isinstance(outcomes[0], Exception):
                    raise outcomes[0]
            await self._call([number for number in self._numbers if number not in outcomes], call, outcomes)
        finally:
            for key in keys:
                self._record(key, outcomes)
        succeeded, unsupported = _succeeded(outcomes), _that_raised(outcomes, _UNSUPPORTED)
        if len(succeeded) < self._needed and len(succeeded) + len(unsupported) == len(outcomes):
            for key in keys:
                await self._undo(key, unsupported - before[key], succeeded)
        result = self._result(action, keys[0], outcomes)
        await self._mark(keys, all_succeeded=len(succeeded) == len(outcomes))
        return result

    async def _mark(self, keys: Sequence[str], *, all_succeeded: bool) -> None:
        """Before a write is acknowledged: let a restart know which children missed it, or that none is stale."""
        if all_succeeded:
            await self._marks.remove()
        else:
            await self._marks.place(keys)

    async def _undo(self, key: str, unsupported: Set[int], succeeded: Set[int]) -> None:
        """Undo a write where it succeeded: copy back the version of the children that do not support the write."""
        current = unsupported & self._stale.readable
        if current:
            self._stale.record_write(key, current)
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
                self._record(key, by_key[key])
        results: dict[str, None | StorageError] = {}
        for key in page:
            try:
                results[key] = self._result("delete", key, by_key[key])
            except StorageError as error:
                results[key] = error
        await self._mark(page, all_succeeded=not any(map(self._stale.of, page)))
        return results

    async def _call(self, numbers: Sequence[int], call: Callable[[int], Awaitable[T]], outcomes: Outcomes[T]) -> None:
        """Call these children concurrently, and put what they return or raise into *outcomes*."""

        async def one(number: int) -> None:
            outcomes[number] = _INTERRUPTED
            try:
                outcomes[number] = await call(number)
            except Exception as error:
                outcomes[number] = error

        if len(numbers) == 1:
            await one(numbers[0])
        else:  # takes half the time of a task group; when cancelled, it too ends only after all of its calls
            await asyncio.gather(*map(one, numbers))

    def _record(self, key: str, outcomes: Mapping[int, object]) -> None:
        """Record which children hold the last version of an object."""
        unknown = {number for number, outcome in outcomes.items() if _is_unknown(outcome)}
        self._stale.record_write(key, _succeeded(outcomes), unknown, never=_that_raised(outcomes, InvalidKeyError))

    def _result(self, action: str, key: str, outcomes: Outcomes[T]) -> T:
        """Return the result of the first child that succeeded; raise an error if too few did."""
        failed = {number: outcome for number, outcome in outcomes.items() if isinstance(outcome, Exception)}
        succeeded = [number for number in self._numbers if number not in failed]
        if len(succeeded) < self._needed or not all(isinstance(error, StorageError) for error in failed.values()):
            raise self._too_few_error(action, key, succeeded, failed)
        for number, error in failed.items():
            _log.warning("%s missed the %s of %r: %s", self._mirror._name(number), action, key, error)
        result = outcomes[succeeded[0]]
        assert not isinstance(result, Exception)
        return result

    def _too_few_error(
        self, action: str, key: str, succeeded: Sequence[int], failed: Mapping[int, Exception]
    ) -> Exception:
        """Return the error of a write that succeeded on too few children."""
        errors: dict[int, StorageError] = {}
        for number, error in failed.items():
            if not isinstance(error, StorageError):  # not an error of a store but a bug: it is raised unchanged
                return error
            errors[number] = error
        if all(isinstance(error, _UNSUPPORTED if succeeded else _REFUSED) for error in errors.values()):
            return min(errors.values(), key=lambda error: not isinstance(error, InvalidKeyError))
        did = " and ".join(f"children[{number}]" for number in succeeded) or "none"
        why = "; ".join(f"children[{number}]: {_text(error)}" for number, error in sorted(errors.items()))
        return MirrorError(
            f"{action} must succeed on {self._needed} of {len(self._numbers)} children, and succeeded on {did}; {why}",
            key=key,
            store=self._mirror,
            succeeded=succeeded,
            failed=errors,
        )


def _succeeded(outcomes: Mapping[int, object]) -> set[int]:
    return {number for number, outcome in outcomes.items() if not isinstance(outcome, Exception)}


def _that_raised(outcomes: Mapping[int, object], kinds: type[Exception] | tuple[type[Exception], ...]) -> set[int]:
    return {number for number, outcome in outcomes.items() if isinstance(outcome, kinds)}


def _is_unknown(outcome: object) -> bool:
    """Return whether a call that raised this may have taken effect; so may one that raised no error of a store."""
    return isinstance(outcome, Exception) and (not isinstance(outcome, StorageError) or may_take_effect(outcome))


def _text(error: StorageError) -> str:
    return f"{type(error).__name__}, {error.message}" if error.message else type(error).__name__
