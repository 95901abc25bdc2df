"""Keeping a store within bounds: what is over them is deleted before the put that brought it returns."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, Generic, cast

import anyio

from storage._concurrency.stepping import is_stepping
from storage._concurrency.tasks import CONCURRENCY, for_each
from storage._core.data import is_stream
from storage.base import ObjectStore
from storage.decorators.bases.streams import Pull, WatchedStream, size_of
from storage.decorators.expiring.usage import Entry, Usage, Write
from storage.errors import KeyNotFoundError, PreconditionFailedError, StorageError, StoreFullError
from storage.types import Data, In

__all__ = ["Bounds"]

_log = logging.getLogger("storage")

#: When an object was written whose store does not know: before all others.
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Bounds(Usage, Generic[In]):
    """
    The most recently used objects of a store, as many as its bounds allow; without bounds it only passes calls on.

    Puts, copies and renames go through it; reads and deletes are reported to it by the methods of `Usage`.

    Args:
        base: the store that has the objects.
        max_count: objects to hold at most; None for any number.
        max_bytes: bytes to hold at most; None for any number.
        owner: the store that errors come from.

    Raises:
        ValueError: a bound is less than 1.
    """

    def __init__(self, base: ObjectStore[In, Any], max_count: int | None, max_bytes: int | None, owner: object) -> None:
        for name, bound in (("max_count", max_count), ("max_bytes", max_bytes)):
            if bound is not None and bound < 1:
                raise ValueError(f"{name} must be at least 1, or None for no bound, not {bound!r}")
        super().__init__(max_count, max_bytes)
        self._base = base
        self._owner = owner
        self._conditional = base.capabilities.conditional_delete
        self._counting = anyio.Lock(fast_acquire=True)

    async def put(self, key: str, data: In, send: Callable[[In], Awaitable[str]]) -> str:
        """
        Return the etag that ``send(data)`` gives, after making room for the object.

        Raises:
            StoreFullError: it is larger than the bound; a stream is broken off where it is, and so nothing is put.
        """
        if not self.bounded:
            return await send(data)
        await self._count()
        with self.writing(key) as write:
            etag = write.etag = await self._send_measured(write, key, data, send)
        await self._trim()
        return etag

    async def add_copy(
        self, key: str, copy: Callable[[], Awaitable[str]], *, size: int, moved_from: str | None = None
    ) -> str:
        """
        Return the etag that ``copy()`` gives, which makes an object below from another one, and make room for it.

        Args:
            key: the new object.
            copy: copies or renames.
            size: bytes of the other object.
            moved_from: its key, if it is no longer there then.
        """
        if not self.bounded:
            return await copy()
        await self._count()
        with self.writing(key) as write:
            write.size = size
            with self.deleting(moved_from) if moved_from is not None else nullcontext():
                etag = write.etag = await copy()
            write.size = await self._size(key, otherwise=size)
        await self._trim()
        return etag

    async def _count(self) -> None:
        """Before the first put, take into account what the store holds."""
        if self.counted:
            return
        async with nullcontext() if is_stepping() else self._counting:
            if not self.counted:
                found = [
                    (info.modified or _LONG_AGO, Entry(info.key, info.size, info.etag))
                    async for info in self._base.scan()
                ]
                self.add_existing(entry for _, entry in sorted(found, key=itemgetter(0)))

    async def _send_measured(self, write: Write, key: str, data: In, send: Callable[[In], Awaitable[str]]) -> str:
        """Send what is to be put, such that the write knows its size in the end."""
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
        """Return the size of an object that was made below; the one it was made from may have changed before."""
        if self.max_bytes is None:
            return otherwise
        try:
            return (await self._base.head(key)).size
        except StorageError:
            return otherwise

    async def _trim(self) -> None:
        """Delete what is over the bounds; what cannot be deleted now is tried again with the next put."""
        surplus = self.pop_surplus()
        if not surplus:
            return
        left = {entry.key: entry for entry in surplus}

        async def evict(entry: Entry) -> None:
            try:
                await self._evict(entry)
                del left[entry.key]
            except PreconditionFailedError:  # it is another version by now, and counted if it was put through here
                left[entry.key] = entry._replace(etag=None)

        try:
            await for_each(surplus, evict, limit=1 if len(surplus) == 1 else CONCURRENCY)
        except StorageError as error:
            _log.warning("%r is over its bounds until the next put: %s", self._owner, error)
        finally:
            self.restore(left.values())

    async def _evict(self, entry: Entry) -> None:
        """Delete this version, so far as the store below can tell versions apart."""
        etag = entry.etag
        if self._conditional and etag is None:
            try:
                etag = (await self._base.head(entry.key)).etag
            except KeyNotFoundError:
                return
        await self._base.delete(entry.key, if_match=etag if self._conditional else None)
