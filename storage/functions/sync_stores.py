"""`sync_stores`: one store made to hold what another does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from storage._concurrency.tasks import CONCURRENCY, for_each
from storage._core.data import CHUNK
from storage.base import ObjectStore
from storage.errors import KeyNotFoundError, UnsupportedOperationError
from storage.functions.copy_object import copy_object
from storage.functions.progress import Progress, Track, check_concurrency
from storage.types import Attributes, Capabilities, ObjectInfo

__all__ = ["Change", "sync_stores"]

#: The attribute by which `sync_stores` knows of a copy which version it is of.
SOURCE_ETAG = "source-etag"


@dataclass(frozen=True, slots=True)
class Change:
    """
    What `sync_stores` does to one object of the target, or would do.

    Attributes:
        action: the object is created, replaced or deleted.
        key: which one it is.
        size: its bytes: those that are copied, or that are freed.
        why: what was found, in a few words.
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
    Make another store hold what this one does, copying only objects that are missing or different there.

    Both are listed side by side, in order, and objects above 1 MiB are streamed: memory does not grow with the number
    of keys. The first error stops it and is raised as it is; call again, with the last progress's ``key`` as
    *start_after* to go on where it stopped.

    Args:
        source: where objects are read.
        target: where they are put.
        delete: delete from the target what the source has not (below *prefix*); else that stays.
        compare: how an object of the same key and size is found to be different. ``"checksum"`` reads both and compares
            bytes and attributes. ``"etag"`` keeps the source's etag with each copy, as the attribute ``source-etag``,
            and reads only what has another one since; the target must keep attributes. ``"size"`` takes it for the
            same.
        dry_run: change nothing, only count and tell what would be done.
        prefix: only keys that start with this.
        start_after: only keys that sort behind this one.
        concurrency: objects under way at once; one at a time when run without an event loop.
        progress: called after each object; its ``key`` never goes back. What it raises stops the work.
        on_change: called with each `Change` before it is made.

    Raises:
        StorageError: an object could not be read or written; the error's ``key`` says which.
        UnsupportedOperationError: ``compare="etag"``, and the target keeps no attributes.
        ValueError: *concurrency* is less than 1, or *compare* none of the three.
    """
    check_concurrency(concurrency)
    if compare not in ("checksum", "etag", "size"):
        raise ValueError(f"compare must be 'checksum', 'etag' or 'size', not {compare!r}")
    able = target.capabilities
    if compare == "etag" and not able.attributes:
        raise UnsupportedOperationError("compare='etag' needs a target that keeps attributes", store=target)
    track = Track(start_after, progress)
    note = _with_etag if compare == "etag" else None

    async def sync(pair: _Pair) -> None:
        ours, key = pair.source, pair.key
        change = await _change(source, target, able, compare, delete, pair)
        if change is None:
            track.done(key)
            return
        if on_change is not None:
            on_change(change)
        if ours is None:
            if not dry_run:
                await target.delete(key)
            track.done(key, deleted=True)
        elif dry_run:
            track.done(key, copied=ours.size)
        else:
            track.done(key, copied=await copy_object(source, target, able, key, note=note))

    pairs = _side_by_side(source.scan(prefix, start_after=start_after), target.scan(prefix, start_after=start_after))
    await for_each(track.follow(pairs, lambda pair: pair.key), sync, limit=concurrency)
    return track.reached


def _with_etag(info: ObjectInfo) -> Attributes:
    return {**info.attributes, SOURCE_ETAG: info.etag}


class _Pair(NamedTuple):
    """What two stores have of one key; one of them may have nothing."""

    source: ObjectInfo | None
    target: ObjectInfo | None

    @property
    def key(self) -> str:
        info = self.source or self.target
        assert info is not None
        return info.key


async def _side_by_side(source: AsyncIterator[ObjectInfo], target: AsyncIterator[ObjectInfo]) -> AsyncIterator[_Pair]:
    """Yield what two listings have, key by key, in order."""
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
    """Return what is to be done about a pair, None where it is nothing."""
    ours, theirs = pair
    if ours is None:
        assert theirs is not None
        if not delete or await source.exists(theirs.key):  # it may have come since it was not listed
            return None
        return Change("delete", theirs.key, theirs.size, "not in the source")
    if theirs is None:
        return Change("create", ours.key, ours.size, "not in the target")
    why = await _difference(source, target, able, compare, ours, theirs)
    return None if why is None else Change("replace", ours.key, ours.size, why)


async def _difference(
    source: ObjectStore, target: ObjectStore, able: Capabilities, compare: str, ours: ObjectInfo, theirs: ObjectInfo
) -> str | None:
    """Return what differs between two objects of one key."""
    if ours.size != theirs.size:
        return f"{theirs.size} bytes, not {ours.size}"
    if compare == "etag":
        return None if theirs.attributes.get(SOURCE_ETAG) == ours.etag else "not the source's etag"
    if compare == "checksum":
        if able.attributes and {**theirs.attributes, SOURCE_ETAG: ""} != {**ours.attributes, SOURCE_ETAG: ""}:
            return "other attributes"
        if not await _same_bytes(source, target, ours.key):
            return "other bytes"
    return None


async def _same_bytes(source: ObjectStore, target: ObjectStore, key: str) -> bool:
    """Compare two objects, piece by piece; what is gone is not the same."""
    try:
        async with source.open(key) as ours, target.open(key) as theirs:
            if ours.info.size != theirs.info.size:
                return False
            while piece := await ours.read(CHUNK):
                if piece != await theirs.read(CHUNK):
                    return False
    except KeyNotFoundError:
        return False
    return True
