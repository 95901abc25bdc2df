"""`MultiStore`: the base of the decorators whose objects are each in some or all of several stores."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
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
from storage.types import ByteRange, In, ObjectInfo, Out

__all__ = ["Found", "MultiStore", "marked"]

T = TypeVar("T")

_log = logging.getLogger("storage")


class Found(NamedTuple, Generic[T]):
    """
    What a store of several gave.

    Attributes:
        value: what it is.
        number: the store's.
        errors: why it did not come from one of the others that were asked before, by their numbers.
    """

    value: T
    number: int
    errors: Mapping[int, StorageError]


def marked(etag: str, number: int) -> str:
    """
    Return an etag of the store of this number as one of all of them.

    Etags are compared within one store only: the other stores' are marked, so that none is taken for the first one's.
    """
    return f"{etag}@{number}" if number else etag


class MultiStore(StoreDecorator[In, Out]):
    """
    A decorator whose objects are each in some or all of several stores, and are read from the first that has them.

    A subclass decides what is written where, and what it means that no store gives an object: `_verdict`.

    Attributes:
        stores: the children; the contract has a method of that name.
        base: the first of them.

    Raises:
        ConfigError: there is no child, or one twice.
    """

    _steppable = True

    def __init__(self, children: Sequence[ObjectStore[In, Out]]) -> None:
        name = type(self).__name__
        if isinstance(children, ObjectStore):
            raise TypeError(f"{name} goes over a list of stores: {name}([first, second])")
        self.stores: tuple[ObjectStore[In, Out], ...] = tuple(children)
        if not self.stores:
            raise ConfigError(f"{name} needs one child at least")
        super().__init__(self.stores[0])
        for store in self.stores[1:]:
            check_order(self, store)
        if len({id(store) for store in self.stores}) < len(self.stores):
            raise ConfigError(f"{name} has the same store twice among its children; leave it out once")
        self._numbers = range(len(self.stores))
        self._failing: set[int] = set()  # stores whose last answer was a failure, which is told once

    # -- what a subclass decides ---------------------------------------------------------------------------------

    def _order(self, key: str) -> Sequence[int]:
        """Return the numbers of the stores to ask for an object, in order."""
        return self._numbers

    @abstractmethod
    def _verdict(self, key: str, errors: Mapping[int, StorageError]) -> StorageError:
        """Return what to raise when no store gave the object, but these *errors*."""

    async def _served(self, key: str, errors: Mapping[int, StorageError]) -> None:
        """Do what is to be done after an object was read, or found missing, which some stores met with *errors*."""

    def _is_plain(self, key: str) -> bool:
        """Return whether the first store may answer for this object without more ado."""
        return True

    # -- reading -------------------------------------------------------------------------------------------------

    async def _read(
        self,
        key: str,
        call: Callable[[ObjectStore[In, Out]], Awaitable[T]],
        known: Mapping[int, StorageError] | None = None,
    ) -> Found[T]:
        """Return what *call* gives of the first store that does not fail, but for those whose errors are *known*."""
        errors = dict(known or {})
        for number in self._order(key):
            if number in errors:
                continue
            try:
                value = await call(self.stores[number])
            except RangeNotSatisfiableError:  # the object is there
                raise
            except (KeyNotFoundError, InvalidKeyError) as error:
                errors[number] = error
            except StorageError as error:
                errors[number] = error
                self._tell(number, error)
            else:
                self._failing.discard(number)
                return Found(value, number, errors)
        raise self._verdict(key, errors)

    async def get(self, key: str, *, byte_range: ByteRange | None = None) -> Out:
        return await self._get(key, byte_range)

    async def _get(
        self, key: str, byte_range: ByteRange | None = None, known: Mapping[int, StorageError] | None = None
    ) -> Out:
        try:
            found = await self._read(key, lambda store: store.get(key, byte_range=byte_range), known)
        except KeyNotFoundError:
            await self._served(key, {})
            raise
        await self._served(key, found.errors)
        return found.value

    async def get_many(self, keys: Iterable[str] | AsyncIterable[str]) -> dict[str, Out | StorageError]:
        wanted = dict.fromkeys([key async for key in stream(keys)])
        plain = [key for key in wanted if self._is_plain(key)]
        results: dict[str, Out | StorageError]
        try:
            results = await self.base.get_many(plain)
        except StorageError as error:
            results = dict.fromkeys(plain, error)

        async def elsewhere(key: str) -> Out:
            failed = results.get(key)
            if isinstance(failed, StorageError) and not isinstance(failed, KeyNotFoundError | InvalidKeyError):
                self._tell(0, failed)
            return await self._get(key, known={0: failed} if isinstance(failed, StorageError) else None)

        rest = [key for key in wanted if key not in results or isinstance(results[key], StorageError)]
        found = await results_of(rest, elsewhere)
        return {key: found[key] if key in found else results[key] for key in wanted}

    @asynccontextmanager
    async def open(self, key: str, *, byte_range: ByteRange | None = None) -> AsyncIterator[ObjectReader]:
        async with AsyncExitStack() as opened:
            try:
                found = await self._read(
                    key, lambda store: opened.enter_async_context(store.open(key, byte_range=byte_range))
                )
            except KeyNotFoundError:
                await self._served(key, {})
                raise
            reader = found.value
            reader.info = _marked_info(reader.info, found.number)
            yield reader
        await self._served(key, found.errors)

    async def head(self, key: str) -> ObjectInfo:
        found = await self._read(key, lambda store: store.head(key))
        return _marked_info(found.value, found.number)

    async def exists(self, key: str) -> bool:
        try:
            await self._read(key, partial(_known, key))
        except KeyNotFoundError:
            return False
        return True

    # -- listing -------------------------------------------------------------------------------------------------

    def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
        return self._union([store.keys(prefix, start_after=start_after) for store in self.stores], str)

    def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        scans = [store.scan(prefix, start_after=start_after) for store in self.stores]
        return self._union([scans[0], *map(_marked_infos, scans[1:], self._numbers[1:])], attrgetter("key"))

    def children(self, prefix: str = "", delimiter: str = "/") -> AsyncIterator[str]:
        return self._union([store.children(prefix, delimiter) for store in self.stores], str)

    def _union(self, listings: Sequence[AsyncIterator[T]], key: Callable[[T], str]) -> AsyncIterator[T]:
        """Return one listing of all the stores' listings."""
        return merged(listings, key)

    # -- about itself --------------------------------------------------------------------------------------------

    def _tell(self, number: int, error: StorageError) -> None:
        """Log that a store failed: its first failure since it last gave something is a warning."""
        level = logging.DEBUG if number in self._failing else logging.WARNING
        self._failing.add(number)
        _log.log(level, "%s failed and is passed over: %s", self._name(number), error)

    def _name(self, number: int) -> str:
        return f"children[{number}] of {type(self).__name__}, {self.stores[number]!r},"

    def _parts(self) -> dict[str, ObjectStore[Any, Any]]:
        return {f"children[{number}]": store for number, store in enumerate(self.stores)}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self.stores)!r})"


async def _known(key: str, store: ObjectStore[Any, Any]) -> None:
    """Return if the store has the object, as `get` would."""
    if not await store.exists(key):
        raise KeyNotFoundError(key, store=store)


def _marked_info(info: ObjectInfo, number: int) -> ObjectInfo:
    return replace(info, etag=marked(info.etag, number)) if number else info


async def _marked_infos(infos: AsyncIterator[ObjectInfo], number: int) -> AsyncIterator[ObjectInfo]:
    async for info in infos:
        yield _marked_info(info, number)
