"""What one does with stores, as functions over the contract: they work on every store, a user's own included."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import anyio

from storage.base import ObjectStore
from storage.concurrency import CONCURRENCY, each
from storage.data import CHUNK
from storage.errors import KeyExistsError, KeyNotFoundError, PreconditionFailedError, StorageError
from storage.offload import is_stepping
from storage.types import Capabilities, Data

__all__ = ["Progress", "clear_store", "copy_store", "get_or", "update"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Progress:
    """
    How far a `copy_store` has come.

    Attributes:
        objects: how many it has copied.
        bytes: how many bytes these have, as they are read from the source.
        skipped: how many it left alone: they were in the target already, or went from the source meanwhile.
        key: all objects up to this key are done. As ``start_after=`` it lets another call go on from here.
    """

    objects: int = 0
    bytes: int = 0
    skipped: int = 0
    key: str = ""


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
    if concurrency < 1:
        raise ValueError(f"concurrency is at least 1, not {concurrency}")
    able = target.capabilities  # asked once: a store on files asks its file system
    reached = Progress(key=start_after)
    listed = start_after
    before: dict[str, str] = {}  # of each object under way, in order: the key that was listed before it

    async def keys() -> AsyncIterator[str]:
        nonlocal listed
        async for key in source.keys(prefix, start_after=start_after):
            before[key], listed = listed, key
            yield key

    async def copy(key: str) -> None:
        nonlocal reached
        size = await _copy_object(source, target, able, key, overwrite)
        del before[key]
        reached = Progress(
            objects=reached.objects + (size is not None),
            bytes=reached.bytes + (size or 0),
            skipped=reached.skipped + (size is None),
            key=next(iter(before.values()), listed),
        )
        if progress is not None:
            progress(reached)

    await each(keys(), copy, limit=concurrency)
    return reached


async def _copy_object(
    source: ObjectStore, target: ObjectStore, able: Capabilities, key: str, overwrite: bool
) -> int | None:
    """Copy one object and return its size, or None when it was skipped."""
    if not overwrite and await target.exists(key):
        return None
    try:
        async with source.open(key) as reader:
            size = reader.info.size
            data: Data = await reader.read() if size <= CHUNK else reader
            await target.put(
                key,
                data,
                if_absent=not overwrite and able.conditional_put,
                attributes=reader.info.attributes if able.attributes else None,
            )
    except (KeyNotFoundError, KeyExistsError):  # gone since it was listed, or made in the target since we looked
        return None
    return size


async def clear_store(store: ObjectStore, prefix: str = "") -> None:
    """
    Delete every object, or every one whose key starts with *prefix*: `ObjectStore.clear` as a function.

    Raises:
        BulkError: some could not be deleted; all were tried.
    """
    await store.clear(prefix)


async def get_or(store: ObjectStore, key: str, default: T) -> bytes | T:
    """Return the object's bytes, or *default* where there is none."""
    try:
        return await store.get(key)
    except KeyNotFoundError:
        return default


async def update(
    store: ObjectStore, key: str, fn: Callable[[bytes | None], bytes | Awaitable[bytes]], *, attempts: int = 100
) -> bytes:
    """
    Replace the object's bytes with ``fn(bytes)`` and return them; no concurrent writer's change is lost.

    This is a compare-and-swap loop: when another writer came between the read and the write, *fn* is called again with
    the new bytes, after a short random pause. The object keeps its attributes.

    Args:
        store: one whose capabilities have ``conditional_put``.
        key: the object; where there is none, *fn* gets None and the object is created.
        fn: a function from the old bytes to the new, or an async one; what it raises passes unchanged, and nothing is
            written then.
        attempts: how often to try.

    Raises:
        PreconditionFailedError: others were faster each time.
        UnsupportedOperationError: the store cannot put on a condition.
        ValueError: *attempts* is less than 1.
    """
    if attempts < 1:
        raise ValueError(f"attempts is at least 1, not {attempts}")
    beaten: StorageError | None = None
    for attempt in range(attempts):
        if beaten is not None:
            await _pause(attempt)
        try:
            async with store.open(key) as reader:
                current, info = await reader.read(), reader.info
        except KeyNotFoundError:
            current, info = None, None
        made = fn(current)
        changed = await made if isinstance(made, Awaitable) else made
        try:
            if info is None:
                await store.put(key, changed, if_absent=True)
            else:
                await store.put(key, changed, if_match=info.etag, attributes=info.attributes or None)
            return changed
        except (PreconditionFailedError, KeyExistsError) as error:
            beaten = error
    raise PreconditionFailedError(
        key, store=store, message=f"others changed the object during each of {attempts} attempts"
    ) from beaten


async def _pause(attempt: int) -> None:
    """Wait up to 1 ms, 2 ms, 4 ms ... 1 s, at random: writers that keep in step would beat each other every time."""
    seconds = random.uniform(0, min(0.001 * 2**attempt, 1))
    if is_stepping():
        time.sleep(seconds)  # noqa: ASYNC251  # there is no event loop that this could block
    else:
        await anyio.sleep(seconds)
