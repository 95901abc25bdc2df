"""`MultiStore`: the base of the decorators over several stores, each of which may hold an object."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from operator import attrgetter
from typing import Any, Generic, NamedTuple, TypeVar

from storage._concurrency.tasks import stream
from storage._core.bulk import results_of
from storage._core.merging import merged
from storage.base import ObjectStore
from storage.decorators.bases.stacking import check_order
from storage.decorators.bases.store_decorator import StoreDecorator
from storage.errors import ConfigError, InvalidKeyError, KeyNotFoundError, RangeNotSatisfiableError, StorageError
from storage.reader import ObjectReader
from storage.types import ByteRange, In, Keys, ObjectInfo, Out

__all__ = ["MultiStore", "ReadResult", "tag_etag"]

T = TypeVar("T")

_log = logging.getLogger("storage")


class ReadResult(NamedTuple, Generic[T]):
    """
    The result of a read, and the store that it came from.

    Attributes:
        value: what the store returned.
        number: the number of that store.
        errors: the errors of the stores that were tried before it, by their numbers.
    """

    value: T
    number: int
    errors: Mapping[int, StorageError]


def tag_etag(etag: str, number: int) -> str:
    """
    Return an etag of the store of this number, with the number added; the first store's etag stays as it is.

    An etag can be compared only with etags of the same store. The number keeps an etag of another store from being
    taken for one of the first.
    """
    return f"{etag}@{number}" if number else etag


class MultiStore(StoreDecorator[In, Out]):
    """
    A decorator over several stores. An object may be in any of them, and is read from the first that has it.

    A subclass decides which stores are written to, and which error is raised when no store returns an object:
    `_not_found_error`.

    Attributes:
        stores: the stores; not `children`, which is a method of the contract.
        base: the first of them.

    Raises:
        ConfigError: there is no child, or one twice.
    """

    _steppable = True

    def __init__(self, children: Sequence[ObjectStore[In, Out]]) -> None:
        name = type(self).__name__
        if isinstance(children, ObjectStore):
            raise TypeError(f"{name} must be built over a list of stores: {name}([first, second])")
        self.stores: tuple[ObjectStore[In, Out], ...] = tuple(children)
        if not self.stores:
            raise ConfigError(f"{name} needs at least one child")
        super().__init__(self.stores[0])
        for store in self.stores[1:]:
            check_order(self, store)
        if len({id(store) for store in self.stores}) < len(self.stores):
            raise ConfigError(f"{name} has the same store twice among its children; remove one of them")
        self._numbers = range(len(self.stores))
        self._failing: set[int] = set()  # stores whose last call failed; it is logged as a warning once

    # -- what a subclass decides ---------------------------------------------------------------------------------

    def _order(self, key: str) -> Sequence[int]:
        """Return the numbers of the stores to read an object from, in the order in which to try them."""
        return self._numbers

    @abstractmethod
    def _not_found_error(self, key: str, errors: Mapping[int, StorageError]) -> StorageError:
        """Return what to raise when every store that was tried failed, or lacks the object, with these *errors*."""

    async def _after_read(self, key: str, errors: Mapping[int, StorageError]) -> None:
        """Run after an object was read, or found missing; *errors* are those of the stores that failed or lacked it."""

    def _first_may_answer(self, key: str) -> bool:
        """Return whether a bulk read may take this object from the first store."""
        return True

    # -- reading -------------------------------------------------------------------------------------------------

    async def _read(
        self,
        key: str,
        call: Callable[[ObjectStore[In, Out]], Awaitable[T]],
        known: Mapping[int, StorageError] | None = None,
    ) -> ReadResult[T]:
        """Return the result of *call* on the first store that does not fail; those with *known* errors are skipped."""
        errors = dict(known or {})
        for number in self._order(key):
            if number in errors:
                continue
            try:
                value = await call(self.stores[number])
            except RangeNotSatisfiableError:  # the store has the object
                raise
            except (KeyNotFoundError, InvalidKeyError) as error:
                errors[number] = error
            except StorageError as error:
                errors[number] = error
                self._log_failure(number, error)
            else:
                self._failing.discard(number)
                return ReadResult(value, number, errors)
        raise self._not_found_error(key, errors)

    async def get(self, key: str, *, byte_range: ByteRange | None = None) -> Out:
        return await self._get(key, byte_range)

    async def _get(
        self, key: str, byte_range: ByteRange | None = None, known: Mapping[int, StorageError] | None = None
    ) -> Out:
        try:
            found = await self._read(key, lambda store: store.get(key, byte_range=byte_range), known)
        except KeyNotFoundError:
            await self._after_read(key, {})
            raise
        await self._after_read(key, found.errors)
        return found.value

    async def get_many(self, keys: Keys) -> dict[str, Out | StorageError]:
        wanted = dict.fromkeys([key async for key in stream(keys)])
        from_first = [key for key in wanted if self._first_may_answer(key)]
        results: dict[str, Out | StorageError]
        try:
            results = await self.base.get_many(from_first)
        except StorageError as error:
            results = dict.fromkeys(from_first, error)

        async def from_others(key: str) -> Out:
            failed = results.get(key)
            if isinstance(failed, StorageError) and not isinstance(failed, KeyNotFoundError | InvalidKeyError):
                self._log_failure(0, failed)
            return await self._get(key, known={0: failed} if isinstance(failed, StorageError) else None)

        rest = [key for key in wanted if key not in results or isinstance(results[key], StorageError)]
        found = await results_of(rest, from_others)
        return {key: found[key] if key in found else results[key] for key in wanted}

    @asynccontextmanager
    async def open(self, key: str, *, byte_range: ByteRange | None = None) -> AsyncIterator[ObjectReader]:
        async with AsyncExitStack() as opened:
            try:
                found = await self._read(
                    key, lambda store: opened.enter_async_context(store.open(key, byte_range=byte_range))
                )
            except KeyNotFoundError:
                await self._after_read(key, {})
                raise
            reader = found.value
            reader.info = _tag_info(reader.info, found.number)
            yield reader
        await self._after_read(key, found.errors)

    async def head(self, key: str) -> ObjectInfo:
        found = await self._read(key, lambda store: store.head(key))
        return _tag_info(found.value, found.number)

    async def exists(self, key: str) -> bool:
        try:
            await self._read(key, partial(_check_exists, key))
        except KeyNotFoundError:
            return False
        return True

    # -- listing -------------------------------------------------------------------------------------------------

    def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
        return self._union([store.keys(prefix, start_after=start_after) for store in self.stores], str)

    def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        scans = [store.scan(prefix, start_after=start_after) for store in self.stores]
        return self._union([scans[0], *map(_tag_infos, scans[1:], self._numbers[1:])], attrgetter("key"))

    def children(self, prefix: str = "", delimiter: str = "/") -> AsyncIterator[str]:
        return self._union([store.children(prefix, delimiter) for store in self.stores], str)

    def _union(self, listings: Sequence[AsyncIterator[T]], key: Callable[[T], str]) -> AsyncIterator[T]:
        """Return the listings of all stores as one listing."""
        return merged(listings, key, store=self, recheck=self.head)

    # -- description ---------------------------------------------------------------------------------------------

    def _log_failure(self, number: int, error: StorageError) -> None:
        """Log that a store failed: as a warning if its last call succeeded, else as a debug message."""
        level = logging.DEBUG if number in self._failing else logging.WARNING
        self._failing.add(number)
        _log.log(level, "%s failed and is skipped: %s", self._name(number), error)

    def _name(self, number: int) -> str:
        return f"children[{number}] of {type(self).__name__}, {self.stores[number]!r},"

    def _parts(self) -> dict[str, ObjectStore[Any, Any]]:
        return {f"children[{number}]": store for number, store in enumerate(self.stores)}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self.stores)!r})"


async def _check_exists(key: str, store: ObjectStore[Any, Any]) -> None:
    """Raise the error of `get` if the store does not have the object."""
    if not await store.exists(key):
        raise KeyNotFoundError(key, store=store)


def _tag_info(info: ObjectInfo, number: int) -> ObjectInfo:
    return replace(info, etag=tag_etag(info.etag, number)) if number else info


async def _tag_infos(infos: AsyncIterator[ObjectInfo], number: int) -> AsyncIterator[ObjectInfo]:
    async for info in infos:
        yield _tag_info(info, number)
