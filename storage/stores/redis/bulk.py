"""Bulk operations: many objects with few requests, and a result for each object."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from storage._concurrency.tasks import stream
from storage._core.bulk import pages, pairs_of, result_of
from storage._core.data import CHUNK, as_bytes, is_stream
from storage.errors import InvalidKeyError, StorageError, StoreClosedError
from storage.stores.redis.session import Command, Session
from storage.stores.redis.writes import Put
from storage.types import Data, Items, Keys

__all__ = ["pages_of", "put_many", "run_commands"]

#: Objects of one request, and the bytes after which no further object is added to it.
MAX_OBJECTS, MAX_BYTES = 100, 4 * CHUNK


async def run_commands(session: Session, commands: Mapping[str, Command], *, change: bool) -> dict[str, Any]:
    """
    Return for each key the reply to its command, or the error of its last attempt as a value.

    Args:
        session: sends the commands.
        commands: by key; all are sent together, and those that failed are sent again.
        change: whether they change anything; then a cancellation waits for them.
    """
    replies: dict[str, Any] = {}

    async def attempt() -> None:
        left = [key for key in commands if key not in replies or _retryable(replies[key])]
        for key, reply in zip(left, await session.run_pipeline([commands[key] for key in left]), strict=True):
            replies[key] = reply.with_key(key) if isinstance(reply, StorageError) else reply
        for reply in replies.values():
            if _retryable(reply):
                raise reply

    try:
        await (session.modify(attempt) if change else session.policy.retry(attempt))
    except StoreClosedError:
        raise
    except StorageError:
        pass  # the error is among the replies
    return replies


def _retryable(reply: object) -> bool:
    return isinstance(reply, StorageError) and reply.retryable


async def pages_of(
    keys: Keys,
    name: Callable[[str], bytes],
    results: dict[str, Any],
    size: int,
) -> AsyncIterator[dict[str, bytes]]:
    """
    Yield the keys with their Redis names in pages of *size*, each key once.

    Every key immediately gets its place in *results*, an invalid key with its error.
    """

    async def named() -> AsyncIterator[tuple[str, bytes]]:
        async for key in stream(keys):
            if key not in results:
                results[key] = None
                try:
                    yield key, name(key)
                except InvalidKeyError as error:
                    results[key] = error

    async for page in pages(named(), size):
        yield dict(page)


async def put_many(
    session: Session,
    items: Items[Data],
    prepared: Callable[[str], Put],
    put: Callable[[str, Data], Any],
) -> dict[str, str | StorageError]:
    """
    Put the items in their order, small ones in groups, and return for each its etag or its error.

    Args:
        session: sends the commands.
        items: keys and data.
        prepared: returns the `Put` of a key.
        put: puts one large object or stream.
    """
    results: dict[str, str | StorageError] = {}
    page: dict[str, tuple[Put, bytes]] = {}

    async def send() -> None:
        commands = {key: each.command(data) for key, (each, data) in page.items()}
        etags = {key: each.etag for key, (each, _) in page.items()}
        page.clear()
        for key, reply in (await run_commands(session, commands, change=True)).items():
            results[key] = reply if isinstance(reply, StorageError) else etags[key]

    async for key, data in stream(pairs_of(items)):
        content = None if is_stream(data) else as_bytes(data)
        single = content is None or len(content) > CHUNK
        if page and (
            single or key in page or len(page) == MAX_OBJECTS or sum(len(d) for _, d in page.values()) > MAX_BYTES
        ):
            await send()
        if content is None or single:
            results[key] = await result_of(put(key, data))
            continue
        try:
            page[key] = prepared(key), content
        except InvalidKeyError as error:
            results[key] = error
    if page:
        await send()
    return results
