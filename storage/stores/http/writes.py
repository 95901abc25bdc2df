"""Writes to a web server that takes PUT and DELETE."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing

import anyio

from storage._core.data import as_bytes, chunks, is_stream
from storage._core.retry import RetryPolicy
from storage.errors import (
    KeyConflictError,
    KeyExistsError,
    KeyNotFoundError,
    OutcomeUnknownError,
    PreconditionFailedError,
    StorageError,
    StoreTimeoutError,
    StoreUnavailableError,
)
from storage.stores.http.errors import error_of, was_sent
from storage.stores.http.reads import Reading
from storage.stores.http.session import Answer, Session, Upload
from storage.stores.http.urls import Keys
from storage.types import Data

__all__ = ["Writing"]

#: Answers of a server, or of one between, that may have come to them after the write was done.
_AFTER_ALL = (408, 500, 502, 504)

#: Answers of a server that finds a file where the path wants a directory, or the other way round.
_IN_THE_WAY = (403, 404, 409, 500)


class Writing:
    """
    What is written to one server.

    Args:
        session: sends the requests.
        keys: gives the paths.
        policy: how long to try again.
        reading: reads from the same server.
        store: what errors say they come from.
    """

    def __init__(self, session: Session, keys: Keys, policy: RetryPolicy, reading: Reading, store: str) -> None:
        self._session = session
        self._keys = keys
        self._policy = policy
        self._reading = reading
        self._store = store

    async def put(self, key: str, data: Data, condition: Mapping[str, str]) -> str:
        """Put one object and return its etag; what is small, or one buffer, is tried again, a stream is sent once."""
        if not is_stream(data):
            return await self._put_bytes(key, as_bytes(data), condition)
        async with aclosing(chunks(data)) as pieces:
            first = await anext(pieces, b"")
            second = await anext(pieces, None)
            if second is None:
                return await self._put_bytes(key, first, condition)
            upload = Upload(_before([first, second], pieces))
            try:
                return await self._put(key, upload, condition)
            except StorageError:
                if upload.error is not None:
                    raise upload.error from None
                raise
            finally:
                with anyio.CancelScope(shield=True):
                    await upload.idle()

    async def delete(self, key: str, condition: Mapping[str, str]) -> None:
        """Delete one object."""

        async def attempt() -> None:
            answer = await self._send("DELETE", key, condition)
            await answer.discard()
            if answer.status in (404, 410):
                if condition:
                    raise PreconditionFailedError(key, store=self._store)
            elif answer.status == 409 and not await self._reading.exists(key):
                pass  # it is the name of a directory
            elif not 200 <= answer.status < 300:
                raise error_of(answer.status, answer.headers, key, self._store)

        await self._policy.retry(lambda: self._session.turn(attempt))

    async def _put_bytes(self, key: str, data: bytes, condition: Mapping[str, str]) -> str:
        return await self._policy.retry(lambda: self._session.turn(lambda: self._put(key, data, condition)))

    async def _put(self, key: str, data: bytes | Upload, condition: Mapping[str, str]) -> str:
        answer = await self._send("PUT", key, condition, data)
        await answer.discard()
        if not 200 <= answer.status < 300:
            raise await self._refusal(answer, key, condition)
        if isinstance(data, Upload) and not data.ended:
            raise StorageError(
                "the server says that it has the object before all of it was sent", key=key, store=self._store
            )
        said = answer.headers.get("etag", "").strip()
        if said:
            return said if said.startswith("W/") else said.strip('"')
        try:
            return (await self._policy.retry(lambda: self._reading.describe(key))).etag
        except KeyNotFoundError:
            return ""  # it is gone already, and no version has this etag

    async def _send(
        self, method: str, key: str, condition: Mapping[str, str], data: bytes | Upload | None = None
    ) -> Answer:
        """
        Send a write.

        Raises:
            OutcomeUnknownError: it was on a condition, and its answer is lost: made again it would meet itself.
        """
        path = self._keys.path_of(key, self._store)
        if condition and not isinstance(data, Upload):
            data = Upload.of(data or b"")  # aiohttp would send bytes again by itself, when an old connection ends
        try:
            answer = await self._session.send(method, path, key, condition, data)
        except (StoreUnavailableError, StoreTimeoutError) as error:
            if condition and was_sent(error):
                raise self._unknown(key) from error
            raise
        if condition and answer.status in _AFTER_ALL:
            await answer.discard()
            raise self._unknown(key) from error_of(answer.status, answer.headers, key, self._store)
        return answer

    def _unknown(self, key: str) -> OutcomeUnknownError:
        return OutcomeUnknownError(
            "the answer was lost: the write took effect, or its condition did not hold", key=key, store=self._store
        )

    async def _refusal(self, answer: Answer, key: str, condition: Mapping[str, str]) -> StorageError:
        """Return what a refused put is; a server may only say that it failed where a file is in a directory's place."""
        if answer.status in _IN_THE_WAY:
            names = key.split("/")
            for count in range(1, len(names)):
                if await self._reading.exists("/".join(names[:count])):
                    return KeyConflictError("a part of the key is an object itself", key=key, store=self._store)
        if answer.status == 412 and "if-none-match" in condition:
            return KeyExistsError(key, store=self._store)
        if answer.status in (404, 410) and "if-match" in condition:
            return PreconditionFailedError(key, store=self._store)
        if answer.status in (404, 409):
            return KeyConflictError(
                "there is a directory of this name, or none that the object could be in", key=key, store=self._store
            )
        return error_of(answer.status, answer.headers, key, self._store)


async def _before(first: list[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    while first:
        yield first.pop(0)
    async for piece in rest:
        yield piece
