"""`copy_store`: every object of one store into another."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TypeVar

from storage.base import ObjectStore
from storage.concurrency import CONCURRENCY, each
from storage.data import CHUNK
from storage.errors import KeyExistsError, KeyNotFoundError
from storage.types import Attributes, Capabilities, Data, ObjectInfo

__all__ = ["Progress", "Track", "check_concurrency", "copy_object", "copy_store"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Progress:
    """
    How far a `copy_store` or a `sync_stores` has come.

    Attributes:
        objects: how many it has copied.
        bytes: how many bytes these have, as they are read from the source.
        skipped: how many it left alone: they were in the target already, or went from the source meanwhile.
        key: all objects up to this key are done. As ``start_after=`` it lets another call go on from here.
        deleted: how many it has deleted from the target.
    """

    objects: int = 0
    bytes: int = 0
    skipped: int = 0
    key: str = ""
    deleted: int = 0


class Track:
    """
    What has been done of many things that are under way at once.

    Attributes:
        reached: the sum so far; its key never goes back, for all up to it is done.
    """

    def __init__(self, start_after: str, told: Callable[[Progress], object] | None) -> None:
        self.reached: Progress = Progress(key=start_after)
        self._told = told
        self._listed = start_after
        self._before: dict[str, str] = {}  # of each object under way, in order: the key that was listed before it

    async def follow(self, items: AsyncIterator[T], key: Callable[[T], str]) -> AsyncIterator[T]:
        """Yield *items*, which come in the order of their keys."""
        async for item in items:
            name = key(item)
            self._before[name], self._listed = self._listed, name
            yield item

    def done(self, key: str, *, copied: int | None = None, deleted: bool = False) -> None:
        """Count one object: that it was *copied*, and how many bytes; that it was *deleted*; or that it was skipped."""
        del self._before[key]
        sofar = self.reached
        self.reached = Progress(
            objects=sofar.objects + (copied is not None),
            bytes=sofar.bytes + (copied or 0),
            skipped=sofar.skipped + (copied is None and not deleted),
            deleted=sofar.deleted + deleted,
            key=next(iter(self._before.values()), self._listed),
        )
        if self._told is not None:
            self._told(self.reached)


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
    Copy every object to the same key of another store and return how many, and how many bytes, that were.

    Attributes go along where the target keeps some. Objects of up to 1 MiB are handed over whole, larger ones are
    streamed: with stores that stream, memory stays below *concurrency* times a few MiB, for any number of keys.

    The first error stops the copy and is raised as it is. What was copied stays; call again with the last progress's
    ``key`` as *start_after*, or with ``overwrite=False``, to go on.

    Args:
        source: where objects are read.
        target: where they are put; what else it holds stays.
        overwrite: replace objects that the target has already; else they are skipped unread.
        prefix: copy only keys that start with this.
        start_after: copy only keys that sort behind this one.
        concurrency: objects under way at once; one at a time when run without an event loop.
        progress: called after each object; its ``key`` never goes back. What it raises stops the copy.

    Raises:
        StorageError: an object could not be read or written; the error's ``key`` says which.
        ValueError: *concurrency* is less than 1.
    """
    check_concurrency(concurrency)
    able = target.capabilities  # asked once: a store on files asks its file system
    track = Track(start_after, progress)

    async def copy(key: str) -> None:
        track.done(key, copied=await copy_object(source, target, able, key, overwrite))

    keys = source.keys(prefix, start_after=start_after)
    await each(track.follow(keys, str), copy, limit=concurrency)
    return track.reached


def check_concurrency(concurrency: int) -> None:
    """Raise `ValueError` where nothing could be under way."""
    if concurrency < 1:
        raise ValueError(f"concurrency is at least 1, not {concurrency}")


async def copy_object(
    source: ObjectStore,
    target: ObjectStore,
    able: Capabilities,
    key: str,
    overwrite: bool = True,
    *,
    note: Callable[[ObjectInfo], Attributes] | None = None,
) -> int | None:
    """Copy one object, with the attributes that *note* makes of its own, and return its size; None if skipped."""
    if not overwrite and await target.exists(key):
        return None
    try:
        async with source.open(key) as reader:
            size = reader.info.size
            data: Data = await reader.read() if size <= CHUNK else reader
            attributes = reader.info.attributes if note is None else note(reader.info)
            await target.put(
                key,
                data,
                if_absent=not overwrite and able.conditional_put,
                attributes=attributes if able.attributes else None,
            )
    except (KeyNotFoundError, KeyExistsError):  # gone since it was listed, or made in the target since we looked
        return None
    return size
