"""`Bounds`: limits on the number and size of a store's objects, enforced before a put returns."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, Generic, cast

import anyio

from storage._concurrency.per_loop import PerLoop
from storage._concurrency.stepping import is_stepping
from storage._concurrency.tasks import CONCURRENCY, for_each
from storage._core.data import is_stream
from storage._core.lazy import lazy
from storage._core.left_out import LeftOut
from storage.base import ObjectStore
from storage.decorators.bases.stacking import stack
from storage.decorators.bases.streams import Pull, WatchedStream, size_of
from storage.decorators.expiring.pace import Pace
from storage.decorators.expiring.usage import Entry, Usage, Write
from storage.errors import KeyNotFoundError, PreconditionFailedError, StorageError, StoreFullError
from storage.types import Data, In

__all__ = ["Bounds"]

_log = logging.getLogger("storage")

#: The time of objects whose store does not know when they were written: before all others.
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Bounds(Usage, Generic[In]):
    """
    Keeps only the most recently used objects of a store, as many as the bounds allow.

    Puts, copies and renames go through it; reads and deletes are reported to it by the methods of `Usage`. Without
    bounds it only forwards calls.

    Where several processes may use the store, and listing it reads no object and asks for none singly, the store is
    counted again now and then, so that the bounds hold for all processes together: see `Pace`.

    Args:
        base: the store of the objects.
        max_count: maximum number of objects; None for no bound.
        max_bytes: maximum total size in bytes; None for no bound.
        owner: the store that errors name.
        is_own: returns whether the object of a key may be deleted; else it stays, and is not counted. None for all.

    Raises:
        ValueError: a bound is less than 1.
    """

    def __init__(
        self,
        base: ObjectStore[In, Any],
        max_count: int | None,
        max_bytes: int | None,
        owner: object,
        *,
        is_own: Callable[[str], Awaitable[bool]] | None = None,
    ) -> None:
        for name, bound in (("max_count", max_count), ("max_bytes", max_bytes)):
            if bound is not None and bound < 1:
                raise ValueError(f"{name} must be at least 1, or None for no bound, not {bound!r}")
        super().__init__(max_count, max_bytes)
        self._base = base
        self._owner = owner
        self._is_own = is_own
        self._counting = PerLoop(lambda: anyio.Lock(fast_acquire=True))

    @lazy
    def _conditional(self) -> bool:
        return self._base.capabilities.conditional_delete

    @lazy
    def _pace(self) -> Pace | None:
        able = self._base.capabilities
        return Pace() if able.multi_process and able.cheap_head and _lists_cheaply(self._base) else None

    async def put(self, key: str, data: In, send: Callable[[In], Awaitable[str]]) -> str:
        """
        Put an object by ``send(data)``, make room for it, and return the etag that ``send`` returned.

        Raises:
            StoreFullError: the object is larger than the bound; a stream is aborted there, so that nothing is put.
        """
        if not self.bounded:
            return await send(data)
        await self._count()
        with self.writing(key) as write:
            etag = write.etag = await self._send_measured(write, key, data, send)
        await self._trim(write.size)
        return etag

    async def add_copy(
        self, key: str, copy: Callable[[], Awaitable[str]], *, size: int, moved_from: str | None = None
    ) -> str:
        """
        Copy or rename an object by ``copy()``, make room for the new one, and return the etag that ``copy`` returned.

        Args:
            key: the key of the new object.
            copy: copies or renames in the store below.
            size: bytes of the source.
            moved_from: the key of the source if it is renamed.
        """
        if not self.bounded:
            return await copy()
        await self._count()
        with self.writing(key) as write:
            write.size = size
            with self.deleting(moved_from) if moved_from is not None else nullcontext():
                etag = write.etag = await copy()
            write.size = await self._size(key, otherwise=size)
        await self._trim(write.size)
        return etag

    async def _count(self) -> None:
        """Count the objects that the store already has, before the first put."""
        if self.counted:
            return
        async with nullcontext() if is_stepping() else self._counting.get():
            if not self.counted:
                self.add_existing(await self._found())

    async def _recount(self, pace: Pace) -> None:
        """Count again what the store has: other processes put objects into it and delete some, too."""
        if not self.begin_recount():
            return
        try:
            pace.counted(self.end_recount(await self._found()))
        except StorageError as error:  # the put has succeeded
            _log.warning("%r may be over its bounds until the next put: %s", self._owner, error)
        finally:
            self.cancel_recount()

    async def _found(self) -> list[Entry]:
        """Return the objects of the store, the latest written last."""
        objects = LeftOut(self._owner).reading(self._base.scan())  # a damaged object must not stop all puts
        found = [(info.modified or _LONG_AGO, Entry(info.key, info.size, info.etag)) async for info in objects]
        found.sort(key=itemgetter(0))
        return [entry for _, entry in found]

    async def _send_measured(self, write: Write, key: str, data: In, send: Callable[[In], Awaitable[str]]) -> str:
        """Put *data*, and record its size in *write*."""
        if self.max_bytes is None:
            return await send(data)
        size = size_of(data)
        if size is None and is_stream(cast("Data", data)):

            async def watch(pull: Pull) -> bytes | None:
                piece = await pull()
                self._add(write, key, len(piece or b""))
                return piece

            return await send(cast("In", WatchedStream(data, watch)))
        self._add(write, key, size or 0)
        return await send(data)

    def _add(self, write: Write, key: str, size: int) -> None:
        write.size += size
        if self.max_bytes is not None and write.size > self.max_bytes:
            raise StoreFullError(f"the object is larger than max_bytes={self.max_bytes}", key=key, store=self._owner)

    async def _size(self, key: str, *, otherwise: int) -> int:
        """Return the size of a copied object; the source may have changed since its size was read."""
        if self.max_bytes is None:
            return otherwise
        try:
            return (await self._base.head(key)).size
        except StorageError:
            return otherwise

    async def _trim(self, added: int) -> None:
        """
        Make room after an object of *added* bytes was put; first count again, if that is due.

        Objects that cannot be deleted are tried again with the next put.
        """
        if self._pace is not None and self._pace.add(self.share(1, added)):
            await self._recount(self._pace)
        surplus = self.pop_surplus()
        if not surplus:
            return
        left = {entry.key: entry for entry in surplus}

        async def evict(entry: Entry) -> None:
            try:
                await self._evict(entry)
                del left[entry.key]
            except (
                PreconditionFailedError
            ):  # the key has another version now, which is counted if it was put through this store
                left[entry.key] = entry._replace(etag=None)

        try:
            await for_each(surplus, evict, limit=1 if len(surplus) == 1 else CONCURRENCY)
        except StorageError as error:
            _log.warning("%r is over its bounds until the next put: %s", self._owner, error)
        finally:
            self.end_eviction(surplus, left.values())

    async def _evict(self, entry: Entry) -> None:
        """Delete this version; without conditional deletes, whatever version is there."""
        if self._is_own is not None and not await self._is_own(entry.key):
            return
        etag = entry.etag
        if self._conditional and etag is None:
            try:
                etag = (await self._base.head(entry.key)).etag
            except KeyNotFoundError:
                return
        await self._base.delete(entry.key, if_match=etag if self._conditional else None)


def _lists_cheaply(store: ObjectStore[Any, Any]) -> bool:
    """Return whether a scan is a listing, and not a call for each object."""
    return all(type(each).scan is not ObjectStore.scan for each in stack(store) if not each._parts())
