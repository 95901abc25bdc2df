"""What the derived methods of `ObjectStore` do where a store has nothing better: functions over the five."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast

from storage._concurrency.tasks import CONCURRENCY, each
from storage._core.data import etag_of
from storage.errors import (
    BulkError,
    KeyNotFoundError,
    PreconditionFailedError,
    StorageError,
    StoreUnavailableError,
)
from storage.reader import BytesReader, ObjectReader
from storage.types import ByteRange, In, ObjectInfo, Out, revised

if TYPE_CHECKING:
    import anyio

    from storage.base import ObjectStore

T = TypeVar("T")

#: Keys that `clear` deletes in one bulk call; S3 takes no more in one request.
PAGE = 1000

#: How often an object that keeps changing is read again before `open_whole` gives up; with 10, eight tasks that did
#: nothing but replace one object kept another from reading it once in some hundred runs.
ATTEMPTS = 100


@asynccontextmanager
async def open_whole(
    store: ObjectStore[Any, Any], key: str, byte_range: ByteRange | None
) -> AsyncIterator[ObjectReader]:
    """Open an object by reading all of it."""
    data, info = await _described(store, key)
    yield BytesReader(info, data, byte_range)


async def _described(store: ObjectStore[Any, Any], key: str) -> tuple[bytes, ObjectInfo]:
    """
    Return an object's bytes and the description of that very version.

    A class that has a `head` of its own but overrides `get` is asked before and after: the etag must be the one that
    `put` understands, the size that of the bytes. A store with the five methods only is read once.
    """
    describe = type(store)._described_by
    if describe is None:
        data = await store.get(key)
        return data, ObjectInfo(key, len(data), etag_of(data))
    for _ in range(ATTEMPTS):
        before = await describe(store, key)
        data = await store.get(key)
        if before.etag == (await describe(store, key)).etag:
            return data, revised(before, size=len(data))
    raise StoreUnavailableError(f"the object changed during each of {ATTEMPTS} reads; try again", key=key, store=store)


async def get_many(
    store: ObjectStore[Any, Out], keys: Iterable[str] | AsyncIterable[str]
) -> dict[str, Out | StorageError]:
    """Get each key by itself."""
    return await outcomes(keys, store.get)


async def put_many(
    store: ObjectStore[In, Any],
    items: Mapping[str, In] | Iterable[tuple[str, In]] | AsyncIterable[tuple[str, In]],
    *,
    raise_errors: bool,
) -> dict[str, str | StorageError]:
    """Put each item by itself."""
    import anyio

    results: dict[str, str | StorageError] = {}
    last: dict[str, anyio.Event] = {}

    async def put(item: tuple[str, In]) -> None:
        key, data = item
        before = last.get(key)
        last[key] = done = anyio.Event()
        try:
            if before is not None:  # the same key again: the last one wins, so they go in turn
                await before.wait()
            results[key] = await outcome(store.put(key, data))
        finally:
            if last.get(key) is done:
                del last[key]
            done.set()

    await each(items_of(items), put)
    return checked(results, store, raise_errors)


async def delete_many(
    store: ObjectStore[Any, Any], keys: Iterable[str] | AsyncIterable[str], *, raise_errors: bool
) -> dict[str, None | StorageError]:
    """Delete each key by itself."""
    return checked(await outcomes(keys, store.delete), store, raise_errors)


async def children(store: ObjectStore[Any, Any], prefix: str, delimiter: str) -> AsyncIterator[str]:
    """Cut every key behind the first delimiter."""
    if not delimiter:
        raise ValueError("a delimiter is not empty")
    last = None
    async for key in store.keys(prefix):
        head, found, _ = key[len(prefix) :].partition(delimiter)
        child = prefix + head + found
        if child != last:
            yield child
            last = child


async def copy(store: ObjectStore[Any, Any], source: str, target: str, *, if_absent: bool) -> str:
    """Stream the object from itself to the copy, attributes included."""
    async with store.open(source) as reader:
        return await store.put(target, reader, if_absent=if_absent, attributes=reader.info.attributes)


async def rename(store: ObjectStore[Any, Any], source: str, target: str, *, if_absent: bool) -> str:
    """Copy, then delete the version that was copied; one that was put meanwhile is moved as well, and not lost."""
    if source == target and not if_absent:
        return (await store.head(source)).etag
    conditional = store.capabilities.conditional_delete
    for _ in range(ATTEMPTS):
        copied = (await store.head(source)).etag if conditional else None
        etag = await store.copy(source, target, if_absent=if_absent)
        try:
            await store.delete(source, if_match=copied)
        except PreconditionFailedError:
            if not await store.exists(source):
                return etag
            if_absent = False  # the target is the copy that we have just made
        else:
            return etag
    raise StoreUnavailableError(
        f"the object changed during each of {ATTEMPTS} attempts to rename it; try again", key=source, store=store
    )


async def clear(store: ObjectStore[Any, Any], prefix: str) -> None:
    """List and delete, a page at a time."""
    failed: dict[str, None | StorageError] = {}
    async for page in pages(store.keys(prefix)):
        results = await store.delete_many(page, raise_errors=False)
        failed.update((key, result) for key, result in results.items() if result is not None)
    checked(failed, store, raise_errors=True)


async def scan(store: ObjectStore[Any, Any], prefix: str, start_after: str) -> AsyncIterator[ObjectInfo]:
    """Ask for the head of every key."""
    async for key in store.keys(prefix, start_after=start_after):
        try:
            info = await store.head(key)
        except KeyNotFoundError:
            continue
        yield info


# -- bulk calls with a result or an error per item, for stores with bulk calls of their own too ---------------------


async def outcome(call: Awaitable[T]) -> T | StorageError:
    """Return what *call* gives, or its `StorageError` as a value."""
    try:
        return await call
    except StorageError as error:
        return error


async def outcomes(
    keys: Iterable[str] | AsyncIterable[str], call: Callable[[str], Awaitable[T]], *, limit: int = CONCURRENCY
) -> dict[str, T | StorageError]:
    """
    Return per key what *call* gives for it, or its `StorageError`; each key is asked for once.

    Args:
        keys: the keys.
        call: what to await for each.
        limit: how many calls are under way at once; with 1 there are no tasks.
    """
    results: dict[str, T | StorageError] = {}

    async def one(key: str) -> None:
        if key not in results:
            results[key] = cast(T, None)  # a place in the caller's order, taken at once
            results[key] = await outcome(call(key))

    await each(keys, one, limit=limit)
    return results


def items_of(
    items: Mapping[str, T] | Iterable[tuple[str, T]] | AsyncIterable[tuple[str, T]],
) -> Iterable[tuple[str, T]] | AsyncIterable[tuple[str, T]]:
    """Return the pairs of what `put_many` takes."""
    return cast("Mapping[str, T]", items).items() if isinstance(items, Mapping) else items


def checked(results: dict[str, T], store: object, raise_errors: bool) -> dict[str, T]:
    """Return bulk results, or raise them as a `BulkError` when some are errors and the caller wants that."""
    if raise_errors and any(isinstance(result, StorageError) for result in results.values()):
        raise BulkError(results, store=store)
    return results


async def pages(items: AsyncIterator[T], size: int = PAGE) -> AsyncIterator[list[T]]:
    """Yield *items* in lists of *size*, the last one shorter."""
    page: list[T] = []
    async for item in items:
        page.append(item)
        if len(page) == size:
            yield page
            page = []
    if page:
        yield page
