"""`ExpiringStore`: objects with a limited lifetime, and limits on their number and size."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import cast

from storage._concurrency.stepping import is_stepping
from storage._core.claims import claimed
from storage._core.conditions import WriteConditions
from storage._core.deadlines import WrongLifetimeError, lifetime, with_deadline, without_carried, without_deadline
from storage._core.durations import seconds
from storage._core.traits import Trait
from storage.base import ATTEMPTS, ObjectStore
from storage.decorators.bases.store_decorator import StoreDecorator
from storage.decorators.bases.streams import takes_bytes
from storage.decorators.expiring.bounds import Bounds
from storage.decorators.expiring.expiry import NO_DEADLINES, Expiry, expires_by_itself
from storage.decorators.expiring.sweeper import Sweeper
from storage.errors import (
    ConfigError,
    KeyNotFoundError,
    PreconditionFailedError,
    RangeNotSatisfiableError,
    StorageError,
    StoreUnavailableError,
)
from storage.reader import ObjectReader, ReaderDecorator
from storage.types import Attributes, ByteRange, Capabilities, In, Items, Keys, ObjectInfo, Out

__all__ = ["ExpiringStore"]

_log = logging.getLogger("storage")


class ExpiringStore(StoreDecorator[In, Out]):
    """
    Objects expire after a time, and the least recently used ones are deleted when there are too many.

    An object that has expired is gone for every method, even before its bytes are removed. They are removed when the
    object is next used, and by `sweep`, which runs regularly inside ``async with``.

    A put sets the lifetime of its object by ``ttl=``, or through other decorators by the attribute ``expires-in``
    (seconds as text); the default is the store's *ttl*. Copies and renamed objects keep the deadline. The store below
    keeps it as the attribute ``expires-at``, which callers do not see. Objects that were put into that store directly
    have no deadline and do not expire.

    Args:
        base: the store below; for a *ttl* it needs the capability ``attributes``.
        ttl: lifetime of objects in seconds or as a timedelta, from the start of the put; None for no limit.
        max_count: maximum number of objects. The least recently used ones are deleted; reading and putting is use.
            Processes that share *base* keep the bound together, within a fifth, if its capabilities have
            ``multi_process`` and its listing is not a call for each object, as that of a bucket; else each process
            keeps it for the objects that it has counted when it began, and those that it has put since.
        max_bytes: maximum total size in bytes, likewise; putting a larger object is a `StoreFullError`.
        sweep_interval: seconds or a timedelta between sweeps; None for no sweeps. A sweep lists the whole store. Over a
            store that removes expired objects by itself, as `RedisStore` does, there are no sweeps.

    Raises:
        ConfigError: the store below lacks a capability that is needed. Whether a file system can keep deadlines is
            found out on entering, or at the first put.
        ValueError: an option is not more than 0.
    """

    _steppable = True
    _traits = frozenset({Trait.EXPIRES, Trait.DATES})

    def __init__(
        self,
        base: ObjectStore[In, Out],
        ttl: float | timedelta | None = None,
        *,
        max_count: int | None = None,
        max_bytes: int | None = None,
        sweep_interval: float | timedelta | None = 300.0,
    ) -> None:
        super().__init__(base)
        self._bounds = Bounds(base, max_count, max_bytes, self)
        self.ttl = ttl
        self.max_count = max_count
        self.max_bytes = max_bytes
        self.sweep_interval = sweep_interval
        self._ttl = lifetime("ttl", ttl)
        self._has_values = not takes_bytes(base)
        able = claimed(base)
        self._check(able)
        self._expiry = Expiry(base, self._ttl, self._bounds, self)
        # Over a network one request is faster, `open`; elsewhere a `head` and a `get` are faster than `open`.
        self._looks_first = able.steppable or self._has_values
        self._sweeper: Sweeper | None = None
        interval = None if sweep_interval is None else seconds("sweep_interval", sweep_interval)
        if interval is not None and not expires_by_itself(base):
            self._sweeper = Sweeper(self, self.sweep, interval)

    def _check(self, able: Capabilities) -> None:
        name = type(self).__name__
        if not (able.readable and able.writable):
            text = f"{name} must read and write, which {self.base!r} refuses: put the store that refuses it on top"
        elif self._ttl is not None and not able.attributes:
            text = NO_DEADLINES.format(name, repr(self.base))
        elif self.max_bytes is not None and self._has_values:
            text = (
                f"{name} with max_bytes counts bytes, but {self.base!r} takes values: "
                "put it below the store that encodes them"
            )
        else:
            return
        raise ConfigError(text)

    # -- expiry --------------------------------------------------------------------------------------------------

    async def expires(self, key: str) -> datetime | None:
        """
        Return when the object expires; None if it never does.

        Raises:
            KeyNotFoundError: there is no such object.
        """
        below = await self._expiry.head(key)
        return self._expiry.deadline_of(below) or below.expires

    async def touch(self, key: str, *, ttl: float | timedelta | None = None) -> str:
        """
        Give the object the deadline that it would have if it were put now, and return its new etag.

        The object is read and written again, because stores keep attributes together with the bytes.

        Args:
            key: the object.
            ttl: the lifetime, as in `put`.

        Raises:
            KeyNotFoundError: there is no such object.
        """
        for _ in range(ATTEMPTS):
            try:
                if self._has_values:
                    info, value = await self.head(key), cast("In", await self.get(key))
                    attributes = without_carried(info.attributes)
                    return await self.put(key, value, if_match=info.etag, attributes=attributes, ttl=ttl)
                async with self._reading(key, None) as reader:
                    data, info = cast("In", reader), reader.info
                    attributes = without_carried(info.attributes)
                    return await self.put(key, data, if_match=info.etag, attributes=attributes, ttl=ttl)
            except PreconditionFailedError:  # it was written by another call meanwhile
                continue
            except WrongLifetimeError as error:
                raise error.of_copy(key, self) from error
        raise StoreUnavailableError(
            "the object changed during each attempt to touch it; try again", key=key, store=self
        )

    async def sweep(self, prefix: str = "") -> int:
        """
        Remove all expired objects, a page at a time, and return their number.

        Args:
            prefix: only objects whose keys start with this.

        Raises:
            StorageError: some objects could not be removed, after all were tried; this is the first error.
            UnsupportedOperationError: the store below cannot delete a single version of an object.
        """
        return await self._expiry.sweep(prefix)

    # -- reading -------------------------------------------------------------------------------------------------

    async def get(self, key: str, *, byte_range: ByteRange | None = None) -> Out:
        if not self._expiry.supported:
            data = await self.base.get(key, byte_range=byte_range)
            self._bounds.mark_used(key)
            return data
        if self._looks_first:  # an object that replaces this one in between is younger, and not expired either
            self._bounds.mark_used(key, await self._expiry.head(key))
            return await self.base.get(key, byte_range=byte_range)
        async with self._reading(key, byte_range) as reader:
            return cast("Out", await reader.read())

    async def exists(self, key: str) -> bool:
        if not self._expiry.supported:
            return await self.base.exists(key)
        try:
            await self._expiry.head(key)
        except KeyNotFoundError:
            return False
        return True

    async def head(self, key: str) -> ObjectInfo:
        return without_deadline(await self._expiry.head(key))

    def open(self, key: str, *, byte_range: ByteRange | None = None) -> AbstractAsyncContextManager[ObjectReader]:
        return self._reading(key, byte_range)

    async def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
        if not self._expiry.supported:
            async for key in self.base.keys(prefix, start_after=start_after):
                yield key
        else:
            async for below in self._expiry.scan(prefix, start_after):
                yield below.key

    async def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        async for below in self._expiry.scan(prefix, start_after):
            yield without_deadline(below)

    # -- writing -------------------------------------------------------------------------------------------------

    async def put(
        self,
        key: str,
        data: In,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        attributes: Attributes | None = None,
        ttl: float | timedelta | None = None,
    ) -> str:
        """
        Store *data* like `ObjectStore.put`, with a deadline.

        Args:
            key: the name of the object.
            data: its bytes, or an iterable or async iterable of them.
            if_absent: create only; an expired object counts as absent.
            if_match: replace only the version of this etag.
            attributes: text to keep with the bytes; ``expires-in`` is the lifetime in seconds.
            ttl: the lifetime in seconds or as a timedelta, ``math.inf`` for no limit; None for that of the attribute
                ``expires-in``, or else that of the store.

        Raises:
            StoreFullError: the object is larger than *max_bytes*.
        """
        conditions = WriteConditions.of(if_absent, if_match)
        life = self._expiry.lifetime(key, attributes, ttl)
        if ttl is not None:
            attributes = without_carried(attributes)
        if conditions:
            await self._expiry.remove_if_expired(key, if_match)

        async def send(data: In) -> str:
            dated = with_deadline(attributes, self._expiry.deadline(attributes, life))
            return await self.base.put(key, data, if_absent=if_absent, if_match=if_match, attributes=dated)

        return await self._bounds.put(key, data, send)

    async def put_many(
        self,
        items: Items[In],
        *,
        raise_errors: bool = True,
    ) -> dict[str, str | StorageError]:
        if self._ttl is None and not self._bounds.bounded:
            return await self.base.put_many(items, raise_errors=raise_errors)
        return await ObjectStore[In, Out].put_many(self, items, raise_errors=raise_errors)

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        if if_match is None:
            with self._bounds.deleting(key):
                await self.base.delete(key)
        else:
            await self._expiry.remove_if_expired(key, if_match)
            await self.base.delete(key, if_match=if_match)
            self._bounds.mark_removed(key, if_match)

    async def delete_many(self, keys: Keys, *, raise_errors: bool = True) -> dict[str, None | StorageError]:
        if not self._bounds.bounded:
            return await self.base.delete_many(keys, raise_errors=raise_errors)
        return await ObjectStore[In, Out].delete_many(self, keys, raise_errors=raise_errors)

    async def copy(self, source: str, target: str, *, if_absent: bool = False) -> str:
        below = await self._expiry.head(source)
        self._bounds.mark_used(source, below)
        if if_absent:
            await self._expiry.remove_if_expired(target)
        copy = partial(self.base.copy, source, target, if_absent=if_absent)
        return await self._bounds.add_copy(target, copy, size=below.size)

    async def rename(self, source: str, target: str, *, if_absent: bool = False) -> str:
        below = await self._expiry.head(source)
        if if_absent:
            await self._expiry.remove_if_expired(target)
        rename = partial(self.base.rename, source, target, if_absent=if_absent)
        if source == target:
            return await rename()
        return await self._bounds.add_copy(target, rename, size=below.size, moved_from=source)

    async def clear(self, prefix: str = "") -> None:
        if self._bounds.bounded:
            await ObjectStore[In, Out].clear(self, prefix)
        else:
            await self.base.clear(prefix)

    # -- life ----------------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        self._expiry.check()
        await super()._open()
        if self._sweeper is not None and self._expiry.removes and not is_stepping():
            self._sweeper.start()

    async def _close(self) -> None:
        if self._sweeper is not None:
            await self._sweeper.stop()
        self._bounds.reset()
        await super()._close()

    def __repr__(self) -> str:
        options = "" if self.ttl is None else f", ttl={self.ttl!r}"
        return f"{type(self).__name__}({self.base!r}{options})"

    @asynccontextmanager
    async def _reading(self, key: str, byte_range: ByteRange | None) -> AsyncIterator[ObjectReader]:
        async with AsyncExitStack() as opened:
            try:
                reader = await opened.enter_async_context(self.base.open(key, byte_range=byte_range))
            except RangeNotSatisfiableError:
                await self._expiry.head(key)  # an expired object is missing, whatever its size
                raise
            below = reader.info
            if not self._expiry.is_expired(below):
                self._bounds.mark_used(key, below)
                info = without_deadline(below)
                yield reader if info is below else ReaderDecorator(reader, info)
                return
        await self._expiry.try_remove(below)
        raise KeyNotFoundError(key, store=self)
