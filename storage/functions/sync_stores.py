"""`sync_stores`: makes one store hold the same objects as another."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, NamedTuple, TypeVar

from storage._concurrency.tasks import CONCURRENCY, for_each
from storage._core.data import CHUNK
from storage._core.deadlines import CARRIED, copied_attributes, known_deadline
from storage.base import ObjectStore
from storage.errors import (
    CorruptObjectError,
    IncompleteListingError,
    KeyNotFoundError,
    PreconditionFailedError,
    UnsupportedOperationError,
)
from storage.functions.copy_object import copy_object
from storage.functions.damaged import Damaged
from storage.functions.progress import Progress, Track, check_concurrency
from storage.types import Attributes, Capabilities, ObjectInfo

__all__ = ["Change", "sync_stores"]

T = TypeVar("T")

#: The attribute in which `sync_stores` keeps the etag of the version that was copied.
SOURCE_ETAG = "source-etag"

#: The attributes that a copy may have more than its original; they are not compared.
_OF_COPIES = {SOURCE_ETAG: "", CARRIED: ""}

#: Deadlines are equal within it: a store may keep them in milliseconds, and count by the clock of a server.
TOLERANCE = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Change:
    """
    What `sync_stores` does, or with ``dry_run`` would do, to one object of the target.

    Attributes:
        action: whether the object is created, replaced or deleted.
        key: the key of the object.
        size: the bytes that are copied or, for a delete, freed.
        why: the reason in a few words.
    """

    action: Literal["create", "replace", "delete"]
    key: str
    size: int
    why: str


async def sync_stores(
    source: ObjectStore,
    target: ObjectStore,
    delete: bool = False,
    *,
    compare: Literal["checksum", "etag", "size"] = "checksum",
    dry_run: bool = False,
    prefix: str = "",
    start_after: str = "",
    concurrency: int = CONCURRENCY,
    progress: Callable[[Progress], object] | None = None,
    on_change: Callable[[Change], object] | None = None,
) -> Progress:
    """
    Make the target hold the objects of the source, copying only those that are missing or different there.

    Both stores are listed side by side, in order, and objects above 1 MiB are streamed: memory does not grow with the
    number of keys. A damaged object of the source is passed over, and its copy in the target stays; a damaged one of
    the target is replaced. If the listing of the source is incomplete, nothing is deleted. Any other error stops the
    call and is raised as it is. To continue, call again with the ``key`` of the last progress as *start_after*.

    Args:
        source: the store to read from.
        target: the store to put into.
        delete: delete objects of the target that the source does not have (with *prefix*, only such keys); else they
            stay. The keys of the source are listed once more for this, before anything is changed.
        compare: how objects of the same key and size are compared. ``"checksum"`` reads both and compares bytes and
            attributes. ``"etag"`` keeps the source's etag with each copy, in the attribute ``source-etag``, and reads
            only objects whose etag has changed; the target must keep attributes. ``"size"`` takes them as equal.
        dry_run: change nothing; only count and report what would be done.
        prefix: only keys that start with this.
        start_after: only keys that sort after this one.
        concurrency: objects copied concurrently; one when run without an event loop.
        progress: called after each object; its ``key`` never goes back. An exception that it raises stops the call.
        on_change: called with each `Change` before it is made.

    Raises:
        BulkError: at the end, after all others: some objects are damaged; its ``results`` have their errors.
        StorageError: an object could not be read or written; the error has its ``key``.
        UnsupportedOperationError: *compare* is ``"etag"`` and the target keeps no attributes.
        ValueError: *concurrency* is less than 1, or *compare* is none of the three.
    """
    check_concurrency(concurrency)
    if compare not in ("checksum", "etag", "size"):
        raise ValueError(f"compare must be 'checksum', 'etag' or 'size', not {compare!r}")
    able = target.capabilities
    if compare == "etag" and not able.attributes:
        raise UnsupportedOperationError("compare='etag' needs a target that supports attributes", store=target)
    track = Track(start_after, progress)
    note = _with_etag if compare == "etag" else None

    delete = delete and await _lists_all(source, prefix, start_after)
    damaged, damaged_there = Damaged(source), Damaged(target)

    async def sync(pair: _Pair) -> None:
        copied, deleted = await damaged.result_of(pair.key, make(pair)) or (None, False)
        track.done(pair.key, copied=copied, deleted=deleted)

    async def make(pair: _Pair) -> tuple[int | None, bool]:
        """Make the change that a pair needs; return the bytes that were copied, and whether an object was deleted."""
        ours, key = pair.source, pair.key
        change = await _change(source, target, able, compare, delete, pair)
        if change is None:
            return None, False
        if on_change is not None:
            on_change(change)
        if ours is None:
            return None, dry_run or await _delete(target, able, pair)
        return ours.size if dry_run else await copy_object(source, target, able, key, note=note), False

    pairs = _side_by_side(
        damaged.listed(source.scan(prefix, start_after=start_after)),
        damaged_there.listed(target.scan(prefix, start_after=start_after)),
    )
    await for_each(track.follow(pairs, lambda pair: pair.key), sync, limit=concurrency)
    damaged.check()
    await damaged_there.recheck(target.head)
    damaged_there.check()
    return track.reached


async def _lists_all(source: ObjectStore, prefix: str, start_after: str) -> bool:
    """Return whether a listing leaves nothing out, so that a key that is not listed is not there."""
    try:
        async for _ in source.keys(prefix, start_after=start_after):
            pass
    except IncompleteListingError:
        return False
    return True


def _with_etag(info: ObjectInfo) -> Attributes:
    return {**copied_attributes(info), SOURCE_ETAG: info.etag}


class _Pair(NamedTuple):
    """The descriptions of one key's objects in both stores; one of them may be None."""

    source: ObjectInfo | None
    target: ObjectInfo | None

    @property
    def key(self) -> str:
        info = self.source or self.target
        assert info is not None
        return info.key


async def _side_by_side(source: AsyncIterator[ObjectInfo], target: AsyncIterator[ObjectInfo]) -> AsyncIterator[_Pair]:
    """Yield the pairs of two listings, in the order of keys."""
    ours, theirs = await anext(source, None), await anext(target, None)
    while ours is not None or theirs is not None:
        if theirs is None or (ours is not None and ours.key < theirs.key):
            yield _Pair(ours, None)
            ours = await anext(source, None)
        elif ours is None or theirs.key < ours.key:
            yield _Pair(None, theirs)
            theirs = await anext(target, None)
        else:
            yield _Pair(ours, theirs)
            ours, theirs = await anext(source, None), await anext(target, None)


async def _change(
    source: ObjectStore, target: ObjectStore, able: Capabilities, compare: str, delete: bool, pair: _Pair
) -> Change | None:
    """Return the change that a pair needs, or None."""
    ours, theirs = pair
    if ours is None:
        assert theirs is not None
        if not delete or await source.exists(theirs.key):  # it may have been created since the listing
            return None
        return Change("delete", theirs.key, theirs.size, "not in the source")
    if theirs is None:
        return Change("create", ours.key, ours.size, "not in the target")
    why = await _difference(source, target, able, compare, ours, theirs)
    return None if why is None else Change("replace", ours.key, ours.size, why)


async def _delete(target: ObjectStore, able: Capabilities, pair: _Pair) -> bool:
    """Delete an object of the target, and return whether it still was the version that was listed, if that matters."""
    assert pair.target is not None
    if able.conditional_delete:
        try:
            await target.delete(pair.key, if_match=pair.target.etag)
        except PreconditionFailedError:  # somebody has put another version since, or deleted it
            return False
        except UnsupportedOperationError:  # as a server may turn out to do: see `BucketStore.probe`
            pass
        else:
            return True
    await target.delete(pair.key)
    return True


async def _difference(
    source: ObjectStore, target: ObjectStore, able: Capabilities, compare: str, ours: ObjectInfo, theirs: ObjectInfo
) -> str | None:
    """Return the difference between two objects of one key, or None."""
    if ours.size != theirs.size:
        return f"{theirs.size} bytes, not {ours.size}"
    if compare == "etag":
        return None if theirs.attributes.get(SOURCE_ETAG) == ours.etag else "not the source's etag"
    if able.attributes and _expires_later(theirs, ours):
        return "a later deadline"
    if compare == "checksum":
        if able.attributes and {**theirs.attributes, **_OF_COPIES} != {**ours.attributes, **_OF_COPIES}:
            return "other attributes"
        if not await _same_bytes(source, target, ours.key):
            return "other bytes"
    return None


def _expires_later(theirs: ObjectInfo, ours: ObjectInfo) -> bool:
    """Return whether the copy outlives its original. It may end sooner, in a store with a shorter lifetime."""
    original, copy = known_deadline(ours), known_deadline(theirs)
    return original is not None and (copy is None or copy - original > TOLERANCE)


async def _same_bytes(source: ObjectStore, target: ObjectStore, key: str) -> bool:
    """Return whether two objects have the same bytes; a deleted one has not, nor has a damaged one of the target."""
    try:
        async with source.open(key) as ours, AsyncExitStack() as opened:
            theirs = await _unless_damaged(opened.enter_async_context(target.open(key)))
            if theirs is None or ours.info.size != theirs.info.size:
                return False
            while piece := await ours.read(CHUNK):
                if piece != await _unless_damaged(theirs.read(CHUNK)):
                    return False
    except KeyNotFoundError:
        return False
    return True


async def _unless_damaged(work: Awaitable[T]) -> T | None:
    """Return what *work* returns; None if the object is damaged."""
    try:
        return await work
    except CorruptObjectError:
        return None
