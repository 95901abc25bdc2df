"""`copy_store`: every object of one store into another."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from storage._concurrency.tasks import CONCURRENCY, for_each, limiter
from storage._core.bulk import pages
from storage._core.deadlines import WrongLifetimeError
from storage.base import ObjectStore
from storage.errors import StorageError
from storage.functions.copy_object import copy_object
from storage.functions.damaged import Damaged
from storage.functions.progress import Progress, Track, check_concurrency
from storage.types import Attributes, Capabilities

__all__ = ["copy_store"]

#: Keys whose objects are read and written together. CPU time per object, from files into SQLite: 95 us with pages of
#: 16, 48 us with 64, 34 us with 256, 32 us with 1,000.
PAGE = 256


async def copy_store(
    source: ObjectStore,
    target: ObjectStore,
    overwrite: bool = True,
    *,
    prefix: str = "",
    start_after: str = "",
    concurrency: int = CONCURRENCY,
    progress: Callable[[Progress], object] | None = None,
) -> Progress:
    """
    Copy every object to the same key of another store, and return the number of objects and bytes.

    Attributes are copied if the target keeps attributes. Objects of up to 1 MiB are copied whole, larger ones are
    streamed: with stores that stream, memory stays below *concurrency* times a few MiB, for any number of keys. Small
    objects are copied in pages of some hundred if a store reads or writes many in one call, and one page is read while
    others are written.

    A damaged object is passed over, and does not stop the copy of the others; so is one whose attribute ``expires-in``
    the target does not take. Any other error stops the copy and is raised as it is. Objects that were copied stay. To
    continue, call again with the ``key`` of the last progress as *start_after*, or with ``overwrite=False``.

    Args:
        source: the store to read from.
        target: the store to put into; its other objects stay.
        overwrite: replace objects that exist in the target; else they are skipped without being read.
        prefix: copy only keys that start with this.
        start_after: copy only keys that sort after this one.
        concurrency: objects, or pages of small ones, copied concurrently; one when run without an event loop.
        progress: called after each object; its ``key`` never goes back. An exception that it raises stops the copy.

    Raises:
        BulkError: at the end, after all others: some objects are damaged; its ``results`` have their errors.
        StorageError: an object could not be read or written; the error has its ``key``.
        ValueError: *concurrency* is less than 1.
    """
    check_concurrency(concurrency)
    able = target.capabilities  # read once: a store on files queries its file system
    track = Track(start_after, progress)
    damaged = Damaged(source)
    keys = track.follow(damaged.listed(source.keys(prefix, start_after=start_after)), str)

    async def copy(key: str) -> None:
        copied = await damaged.result_of(key, copy_object(source, target, able, key, overwrite))
        track.done(key, copied=copied)

    if _has(source, "_get_small") and overwrite:
        await _copy_pages(source, target, able, keys, copy, track, damaged, concurrency)
    else:
        await for_each(keys, copy, limit=concurrency)
    damaged.check()
    return track.reached


def _has(store: ObjectStore, shortcut: str) -> bool:
    """Return whether a store's class has an optional method of its own."""
    return getattr(type(store), shortcut) is not getattr(ObjectStore, shortcut)


async def _copy_pages(
    source: ObjectStore,
    target: ObjectStore,
    able: Capabilities,
    keys: AsyncIterator[str],
    copy: Callable[[str], Awaitable[None]],
    track: Track,
    damaged: Damaged,
    concurrency: int,
) -> None:
    """
    Copy the small objects of a page of keys together, and the others, also missing ones, one by one with *copy*.

    While one page is written and another one waits, the next one is read: up to three pages are in memory.
    """
    write = target._put_small if _has(target, "_put_small") else None
    places = limiter(concurrency)  # shared by all pages, which overlap

    async def put(item: tuple[str, bytes, Attributes | None]) -> None:
        key, data, _ = item
        async with places:
            etag = await damaged.result_of(key, put_small(*item))
        track.done(key, copied=None if etag is None else len(data))

    async def put_small(key: str, data: bytes, attributes: Attributes | None) -> str:
        try:
            return await target.put(key, data, attributes=attributes)
        except WrongLifetimeError as error:
            raise error.of_copy(key, source) from error

    async def copy_one(key: str) -> None:
        async with places:
            await copy(key)

    async def copy_page(page: list[tuple[str, tuple[bytes, Attributes] | None]]) -> None:
        small = [(key, found[0], found[1] if able.attributes else None) for key, found in page if found is not None]
        if write is None:
            await for_each(small, put, limit=concurrency)
        else:
            failures = []
            for (key, data, _), result in zip(small, await write(small), strict=True):
                if isinstance(result, StorageError):
                    failures.append(result)
                else:
                    track.done(key, copied=len(data))
            if failures:
                raise failures[0]
        await for_each((key for key, found in page if found is None), copy_one, limit=concurrency)

    async def read_pages() -> AsyncIterator[list[tuple[str, tuple[bytes, Attributes] | None]]]:
        async for page in pages(keys, PAGE):
            yield list(zip(page, await source._get_small(page), strict=True))

    await for_each(read_pages(), copy_page, limit=min(concurrency, 2))
