"""`ExpiringStore`: objects for a time, and no more of them than there is room for."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import cast

from storage._concurrency.stepping import is_stepping
from storage._core.conditions import WriteConditions
from storage._core.deadlines import deadline_of, lifetime, with_deadline, without_deadline
from storage._core.durations import seconds
from storage._core.traits import Trait
from storage.base import ATTEMPTS, ObjectStore
from storage.decorators.bases.store_decorator import StoreDecorator
from storage.decorators.bases.streams import takes_bytes
from storage.decorators.expiring.bounds import Bounds
from storage.decorators.expiring.expiry import Expiry, expires_by_itself
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
from storage.types import Attributes, ByteRange, In, Items, Keys, ObjectInfo, Out

__all__ = ["ExpiringStore"]

_log = logging.getLogger("storage")


class ExpiringStore(StoreDecorator[In, Out]):
    """
    Objects live for a time, and those that were not used for longest make way when there are too many.

    From the moment that its time is up an object is gone for every method, whether or not its bytes are removed
    already. They are when it is next asked for, and by a sweep: `sweep`, which inside ``async with`` runs by itself.

    A put says how long its object lives by ``ttl=``, or through other decorators by the attribute ``expires-in``
    (seconds as text); else it is the store's *ttl*. Copies and renamed objects keep the deadline. It is an attribute
    below, ``expires-at``, which callers do not see; objects put there past this store have none and live for ever.

    Args:
        base: the store below; for a *ttl* it needs the capability ``attributes``.
        ttl: seconds or a timedelta that an object lives, counted from the beginning of its put; None for ever.
        max_count: objects to hold at most. The least recently used go first; to read or put one is to use it.
        max_bytes: bytes to hold at most, likewise; a larger object is a `StoreFullError`.
        sweep_interval: seconds or a timedelta between sweeps; None for none. A sweep lists the whole store. Over a
            store that removes what has expired by itself, as `RedisStore` does, there are none.

    Raises:
        ConfigError: the store below cannot do what is needed of it.
        ValueError: an option is not more than 0.
    """

    _steppable = True
    _traits = frozenset({Trait.EXPIRES})

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
        self._base_capabilities = base.capabilities  # asked once: a store on files asks its file system
        self._check()
        self._expiry = Expiry(base, self._base_capabilities, self._ttl, self._bounds, self)
        # One request where requests cost; a store that needs no wire has shorter ways to the bytes than `open`.
        self._looks_first = self._base_capabilities.steppable or self._has_values
        self._sweeper: Sweeper | None = None
        interval = None if sweep_interval is None else seconds("sweep_interval", sweep_interval)
        if interval is not None and not expires_by_itself(base):
            self._sweeper = Sweeper(self, self.sweep, interval)

    def _check(self) -> None:
        able, name = self._base_capabilities, type(self).__name__
        if not (able.readable and able.writable):
            text = f"{name} must read and write, which {self.base!r} refuses: put the store that refuses it on top"
        elif self._ttl is not None and not able.attributes:
            text = (
                f"{name} stores deadlines as attributes, which {self.base!r} does not support: "
                "use a store with the capability 'attributes', such as SqliteStore"
            )
        elif self.max_bytes is not None and self._has_values:
            text = (
                f"{name} with max_bytes counts bytes, but {self.base!r} takes values: "
                "put it below the store that encodes them"
            )
        else:
            return
        raise ConfigError(text)

    # -- of its own ----------------------------------------------------------------------------------------------

    async def expires(self, key: str) -> datetime | None:
        """
        Return the moment from which the object is gone, or None when it lives for ever.

        Raises:
            KeyNotFoundError: there is no such object.
        """
        return deadline_of((await self._expiry.head(key)).attributes)

    async def touch(self, key: str, *, ttl: float | timedelta | None = None) -> str:
        """
        Let the object live as long as if it were put now, and return its new etag.

        It is read and written again for that, as stores keep attributes together with the bytes.

        Args:
            key: the object.
            ttl: as that of `put`.

        Raises:
            KeyNotFoundError: there is no such object.
        """
        for _ in range(ATTEMPTS):
            try:
                if self._has_values:
                    info, value = await self.head(key), cast("In", await self.get(key))
                    return await self.put(key, value, if_match=info.etag, attributes=info.attributes, ttl=ttl)
                async with self._reading(key, None) as reader:
                    data, info = cast("In", reader), reader.info
                    return await self.put(key, data, if_match=info.etag, attributes=info.attributes, ttl=ttl)
            except PreconditionFailedError:  # somebody else wrote it meanwhile
                continue
        raise StoreUnavailableError(
            "the object changed during each attempt to touch it; try again", key=key, store=self
        )

    async def sweep(self, prefix: str = "") -> int:
        """
        Remove all objects whose time is up, a page at a time, and return how many that were.

        Args:
            prefix: only those whose keys start with this.

        Raises:
            StorageError: some could not be removed, all were tried; it is the first one's error.
            UnsupportedOperationError: the store below cannot delete one version of an object and no other.
        """
        return await self._expiry.sweep(prefix)

    # -- reading -------------------------------------------------------------------------------------------------

    async def get(self, key: str, *, byte_range: ByteRange | None = None) -> Out:
        if not self._expiry.supported:
            data = await self.base.get(key, byte_range=byte_range)
            self._bounds.mark_used(key)
            return data
        if self._looks_first:  # and what has taken the object's place since is younger, and lives as well
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
        Store *data* as every store does, for a time.

        Args:
            key: the name of the object.
            data: its bytes, or an iterable or async iterable of them.
            if_absent: create only; an object whose time is up is not there.
            if_match: replace only the version of this etag.
            attributes: text to keep beside the bytes; ``expires-in`` says how long the object lives.
            ttl: seconds or a timedelta that the object lives, ``math.inf`` for ever; None leaves it to the attribute
                ``expires-in``, and without that to the store.

        Raises:
            StoreFullError: the object is larger than *max_bytes*.
        """
        conditions = WriteConditions.of(if_absent, if_match)
        life = self._expiry.lifetime(key, attributes, ttl)
        if conditions:
            await self._expiry.remove_if_expired(key, if_match)

        async def send(data: In) -> str:
            dated = with_deadline(attributes, None if life is None else self._expiry.clock.now() + life)
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
        return await ObjectStore.put_many(self, items, raise_errors=raise_errors)

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
        return await ObjectStore.delete_many(self, keys, raise_errors=raise_errors)

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
            await ObjectStore.clear(self, prefix)
        else:
            await self.base.clear(prefix)

    # -- life ----------------------------------------------------------------------------------------------------

    async def _open(self) -> None:
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
                await self._expiry.head(key)  # what has expired has no end that the range could lie behind
                raise
            below = reader.info
            if not self._expiry.is_expired(below):
                self._bounds.mark_used(key, below)
                info = without_deadline(below)
                yield reader if info is below else ReaderDecorator(reader, info)
                return
        await self._expiry.try_remove(below)
        raise KeyNotFoundError(key, store=self)
