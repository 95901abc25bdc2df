"""`RetryingStore`: calls that failed for the moment are retried, and nothing takes effect twice."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from operator import attrgetter
from typing import Any, TypeVar

from storage._concurrency.tasks import stream
from storage._core.bulk import pairs_of, raise_failures, results_of
from storage._core.conditions import UNCONDITIONAL, WriteConditions
from storage._core.durations import seconds
from storage._core.lazy import lazy
from storage._core.retry import ATTEMPTS, BASE_DELAY, BUDGET, MAX_DELAY, Attempts, RetryPolicy
from storage._core.traits import Trait
from storage.base import ObjectStore
from storage.decorators.bases.store_decorator import StoreDecorator
from storage.decorators.bases.streams import Pull, WatchedStream, is_one_shot, takes_bytes
from storage.decorators.retrying.nonce import hidden, marked, new_nonce, nonce_of
from storage.decorators.retrying.reader import ResumingReader, after, resumed
from storage.decorators.retrying.repeats import repeat
from storage.errors import ANSWERS, KeyExistsError, KeyNotFoundError, OutcomeUnknownError, StorageError
from storage.reader import ObjectReader
from storage.types import Attributes, ByteRange, Capabilities, In, Items, Keys, ObjectInfo, Out

__all__ = ["RetryingStore"]

T = TypeVar("T")


class RetryingStore(StoreDecorator[In, Out]):
    """
    A decorator that retries calls after errors that are `retryable`, after pauses that are random and grow.

    Perhaps only the answer to a failed call was lost. So before a write is retried, the object is looked up. A put or
    delete without a condition is repeated on the condition that the object has not changed since; if it has, another
    write came later, and the call returns. For a conditional put or delete and a rename, `OutcomeUnknownError` is
    raised if the object does not tell whether the call took effect; for this, objects that are put conditionally get a
    nonce in an attribute, which the caller does not see.

    Another write can still be undone that falls between the first attempt and the look after it, for instance while a
    timeout is awaited; by a first attempt that the network delivers late; and, in a store without conditions, by every
    repeated put or delete. `copy` and `delete_many` are repeated without a condition. Where that matters, write
    conditionally.

    A stream is put again only if nothing of it was read. After a failed read, the object is opened again and read on if
    it is still the same version; a listing continues after its last key.

    Args:
        base: the store below.
        attempts: the most attempts of one call, the first included.
        budget: seconds, pauses included, after which no further attempt begins; None for no such limit.
        base_delay: the longest first pause in seconds; the limit doubles for each further pause.
        max_delay: the longest pause in seconds.
    """

    _steppable = True
    _traits = frozenset({Trait.RETRIES})

    def __init__(
        self,
        base: ObjectStore[In, Out],
        *,
        attempts: int = ATTEMPTS,
        budget: float | timedelta | None = BUDGET,
        base_delay: float | timedelta = BASE_DELAY,
        max_delay: float | timedelta = MAX_DELAY,
    ) -> None:
        if attempts < 1:
            raise ValueError(f"attempts must be at least 1, not {attempts}")
        self.attempts = attempts
        self.budget: float | None = None if budget is None else seconds("budget", budget)
        self.base_delay: float = seconds("base_delay", base_delay, allow_zero=True)
        self.max_delay: float = seconds("max_delay", max_delay, allow_zero=True)
        super().__init__(base)
        limit = math.inf if self.budget is None else self.budget
        policy = RetryPolicy(attempts, limit, self.base_delay, self.max_delay)
        self._attempts = partial(Attempts, policy)
        self._watches = takes_bytes(base)

    # -- calls that can be repeated ------------------------------------------------------------------------------

    async def get(self, key: str, *, byte_range: ByteRange | None = None) -> Out:
        return await self._attempts("get", key).retry(partial(self.base.get, key, byte_range=byte_range))

    async def exists(self, key: str) -> bool:
        return await self._attempts("exists", key).retry(partial(self.base.exists, key))

    async def head(self, key: str) -> ObjectInfo:
        return hidden(await self._attempts("head", key).retry(partial(self.base.head, key)))

    @asynccontextmanager
    async def open(self, key: str, *, byte_range: ByteRange | None = None) -> AsyncIterator[ObjectReader]:
        async with AsyncExitStack() as opened:

            def begin() -> Awaitable[ObjectReader]:
                return opened.enter_async_context(self.base.open(key, byte_range=byte_range))

            reader = await self._attempts("open", key).retry(begin)
            yield ResumingReader(self.base, reader, byte_range, opened, self._attempts)

    def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
        def begin(last: str | None) -> AsyncIterator[str]:
            return self.base.keys(prefix, start_after=last or start_after)

        return resumed(begin, str, partial(self._attempts, "keys", None), self)

    async def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        def begin(last: str | None) -> AsyncIterator[ObjectInfo]:
            return self.base.scan(prefix, start_after=last or start_after)

        async for info in resumed(begin, attrgetter("key"), partial(self._attempts, "scan", None), self):
            yield hidden(info)

    def children(self, prefix: str = "", delimiter: str = "/") -> AsyncIterator[str]:
        def begin(last: str | None) -> AsyncIterator[str]:
            return after(last, self.base.children(prefix, delimiter))

        return resumed(begin, str, partial(self._attempts, "children", None), self)

    async def get_many(self, keys: Keys) -> dict[str, Out | StorageError]:
        wanted = {key: None async for key in stream(keys)}
        return await self._many("get_many", wanted, self.base.get_many)

    async def put_many(
        self,
        items: Items[In],
        *,
        raise_errors: bool = True,
    ) -> dict[str, str | StorageError]:
        if not isinstance(items, Collection):  # items that arrive one by one are not all kept for another attempt
            return await ObjectStore[In, Out].put_many(self, items, raise_errors=raise_errors)

        attempts = self._attempts("put_many", None)
        payloads = {key: _Payload(data, self._watches) async for key, data in stream(pairs_of(items))}
        results: dict[str, str | StorageError]
        try:
            data = {key: payload.data for key, payload in payloads.items()}
            results = await self.base.put_many(data, raise_errors=False)
        except StorageError as error:
            if not error.retryable:
                raise
            results = dict.fromkeys(payloads, error)
        failed = {key: error for key, error in results.items() if isinstance(error, StorageError) and error.retryable}

        def again(key: str) -> Awaitable[str]:
            return self._put_again(attempts.of("put", key), key, payloads[key], None, failed[key])

        results |= await results_of(failed, again)
        return raise_failures(results, self, raise_errors)

    async def delete_many(self, keys: Keys, *, raise_errors: bool = True) -> dict[str, None | StorageError]:
        async def delete(left: Iterable[str]) -> dict[str, None | StorageError]:
            return await self.base.delete_many(left, raise_errors=False)

        wanted = {key: None async for key in stream(keys)}
        return raise_failures(await self._many("delete_many", wanted, delete), self, raise_errors)

    # -- calls that can be repeated only if they took no effect --------------------------------------------------

    async def put(
        self,
        key: str,
        data: In,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        attributes: Attributes | None = None,
    ) -> str:
        attempts = self._attempts("put", key)
        payload = _Payload(data, self._watches)
        conditional = if_absent or if_match is not None
        nonce = new_nonce() if conditional and self._able.attributes else None

        def begin() -> Awaitable[str]:
            below = marked(attributes, nonce)
            return self.base.put(key, payload.data, if_absent=if_absent, if_match=if_match, attributes=below)

        async def look(refusal: StorageError | None) -> str | None:
            info = await self._find(key, attempts)
            if info is not None and nonce is not None and nonce_of(info) == nonce:
                return info.etag
            if if_absent and info is None:
                return None
            if if_absent and nonce is not None:
                raise refusal or KeyExistsError(key, store=self)
            if info is None or info.etag != if_match:
                raise _UndecidedError
            return None

        if conditional:
            return await self._once(attempts, key, begin, look, payload)
        try:
            return await begin()
        except StorageError as error:
            return await self._put_again(attempts, key, payload, attributes, error)

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        attempts = self._attempts("delete", key)
        begin = partial(self.base.delete, key, if_match=if_match)

        async def look(refusal: StorageError | None) -> None:
            info = await self._find(key, attempts)
            if info is None or info.etag != if_match:
                raise _UndecidedError

        if if_match is not None:
            return await self._once(attempts, key, begin, look)
        try:
            await begin()
        except StorageError as error:
            await self._delete_again(attempts, key, error)

    async def copy(self, source: str, target: str, *, if_absent: bool = False) -> str:
        attempts = self._attempts("copy", source)
        begin = partial(self.base.copy, source, target, if_absent=if_absent)

        async def look(refusal: StorageError | None) -> None:
            if await self._find(target, attempts) is not None:
                raise _UndecidedError

        return await (self._once(attempts, target, begin, look) if if_absent else attempts.retry(begin))

    async def rename(self, source: str, target: str, *, if_absent: bool = False) -> str:
        attempts = self._attempts("rename", source)
        begin = partial(self.base.rename, source, target, if_absent=if_absent)
        before = None
        if self._able.cheap_head:  # to know later whether the source is still the same version
            before = await attempts.of("head", source).retry(partial(self.base.head, source))

        async def look(refusal: StorageError | None) -> None:
            now = await self._find(source, attempts)
            if now is None or before is None or now.etag != before.etag:
                raise _UndecidedError

        return await self._once(attempts, source, begin, look)

    # -- how -----------------------------------------------------------------------------------------------------

    @lazy
    def _able(self) -> Capabilities:
        """The capabilities of the store below, computed once: a store on files checks its file system for them."""
        return self.base.capabilities

    async def _once(
        self,
        attempts: Attempts,
        key: str,
        begin: Callable[[], Awaitable[T]],
        look: Callable[[StorageError | None], Awaitable[T | None]],
        payload: _Payload | None = None,
    ) -> T:
        """
        Return the result of a call that must not take effect twice.

        *look* is awaited after an attempt that may have taken effect. It returns the call's result if it has, and None
        if it has not; or it raises the error of the call, which may be the refusal of a later attempt.
        """
        lost = False
        while True:
            try:
                return await begin()
            except StorageError as error:
                refusal = error if isinstance(error, ANSWERS) else None  # perhaps because of an earlier attempt
                if (payload and error is payload.raised) or not (error.retryable or (refusal and lost)):
                    raise
                lost = True
                again = _is_fresh(payload) and await attempts.another(error)
                try:
                    result = await look(refusal)
                except _UndecidedError:
                    raise OutcomeUnknownError(
                        f"{attempts.action} may or may not have taken effect: check before you repeat it",
                        key=key,
                        store=self,
                    ) from error
                if result is not None:
                    return result
                if not again:
                    raise

    async def _put_again(
        self, attempts: Attempts, key: str, payload: _Payload, attributes: Attributes | None, error: StorageError
    ) -> str:
        """Put an object without a condition after a first attempt that failed, unless another writer has put one."""
        below = marked(attributes, None)

        async def write(seen: WriteConditions) -> str:
            if not self._able.conditional_put:
                seen = UNCONDITIONAL
            return await self.base.put(
                key, payload.data, if_absent=seen.if_absent, if_match=seen.if_match, attributes=below
            )

        head = partial(self.base.head, key)
        return await repeat(attempts, error, head, write, new_nonce(), partial(_is_fresh, payload))

    async def _delete_again(self, attempts: Attempts, key: str, error: StorageError) -> None:
        """Delete an object without a condition after a first attempt that failed, unless another one was put."""

        async def write(seen: WriteConditions) -> None:
            if not seen.if_absent:
                await self.base.delete(key, if_match=seen.if_match if self._able.conditional_delete else None)

        await repeat(attempts, error, partial(self.base.head, key), write, None)

    async def _find(self, key: str, attempts: Attempts) -> ObjectInfo | None:
        """Return the description of an object in the store below, None if it does not exist."""
        if attempts.over:
            raise _UndecidedError
        try:
            return await attempts.of("head", key).retry(partial(self.base.head, key))
        except KeyNotFoundError:
            return None
        except StorageError as error:
            raise _UndecidedError from error

    async def _many(
        self,
        action: str,
        keys: Mapping[str, None],
        call: Callable[[Mapping[str, None]], Awaitable[dict[str, T | StorageError]]],
    ) -> dict[str, T | StorageError]:
        """Return the results of a bulk call, which is repeated for the keys that failed."""
        attempts = self._attempts(action, None)
        results: dict[str, T | StorageError] = {}
        left = keys
        while True:
            try:
                results.update(await call(left))
            except StorageError as error:
                if not await attempts.another(error):
                    if not results:
                        raise
                    return results  # with the errors of the previous attempt
                continue
            failed = {key: result for key in left if isinstance(result := results.get(key), StorageError)}
            left = dict.fromkeys(key for key, error in failed.items() if error.retryable)
            if not left or not await attempts.another(failed[next(iter(left))]):
                return results


class _UndecidedError(Exception):
    """It cannot be found out whether a call took effect."""


class _Payload:
    """
    The data of a put, which may be sent more than once.

    Attributes:
        data: what to put.
        fresh: whether it can still be put: a stream that has been read from cannot.
        raised: the error that the caller's stream raised.
    """

    def __init__(self, data: Any, watched: bool) -> None:
        one_shot = is_one_shot(data)
        self.fresh = watched or not one_shot
        self.raised: Exception | None = None
        self.data: Any = WatchedStream(data, self._take) if watched and one_shot else data

    async def _take(self, pull: Pull) -> bytes | None:
        self.fresh = False
        try:
            return await pull()
        except Exception as error:
            self.raised = error
            raise


def _is_fresh(payload: _Payload | None) -> bool:
    return payload is None or payload.fresh
