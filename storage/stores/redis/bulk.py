"""Many objects of Redis with few requests, and an outcome for each."""

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

#: Objects that go with one request, and the bytes from which on it takes no further one.
MAX_OBJECTS, MAX_BYTES = 100, 4 * CHUNK


async def run_commands(session: Session, commands: Mapping[str, Command], *, change: bool) -> dict[str, Any]:
    """
    Return per key the answer to its command, or the error of the last attempt as a value.

    Args:
        session: where to ask.
        commands: by key; all go at once, and those that fail go again.
        change: whether they change anything; if so, a cancellation waits for them.
    """
    answers: dict[str, Any] = {}

    async def attempt() -> None:
        left = [key for key in commands if key not in answers or _retryable(answers[key])]
        for key, answer in zip(left, await session.run_pipeline([commands[key] for key in left]), strict=True):
            answers[key] = answer.with_key(key) if isinstance(answer, StorageError) else answer
        for answer in answers.values():
            if _retryable(answer):
                raise answer

    try:
        await (session.modify(attempt) if change else session.policy.retry(attempt))
    except StoreClosedError:
        raise
    except StorageError:
        pass  # it is among the answers
    return answers


def _retryable(answer: object) -> bool:
    return isinstance(answer, StorageError) and answer.retryable


async def pages_of(
    keys: Keys,
    name: Callable[[str], bytes],
    results: dict[str, Any],
    size: int,
) -> AsyncIterator[dict[str, bytes]]:
    """
    Yield the keys with the names that *name* gives them, so many at a time, and each once.

    Every key gets its place in the results at once; one that is invalid its error.
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
    Put the items in their order, small ones many at a time, and return for each its etag or its error.

    Args:
        session: where to put them.
        items: keys and data.
        prepared: returns the put of a key.
        put: puts a large object, or a stream, by itself.
    """
    results: dict[str, str | StorageError] = {}
    page: dict[str, tuple[Put, bytes]] = {}

    async def send() -> None:
        commands = {key: each.command(data) for key, (each, data) in page.items()}
        etags = {key: each.etag for key, (each, _) in page.items()}
        page.clear()
        for key, answer in (await run_commands(session, commands, change=True)).items():
            results[key] = answer if isinstance(answer, StorageError) else etags[key]

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
