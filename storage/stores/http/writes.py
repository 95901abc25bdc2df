"""`Writes`: writes to a web server that accepts PUT and DELETE."""

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
from storage.stores.http.reads import Reads
from storage.stores.http.session import Response, Session, Upload
from storage.stores.http.urls import KeyPaths
from storage.types import Data

__all__ = ["Writes"]

#: Statuses of a server or proxy that do not exclude that the write was done.
_MAYBE_DONE = (408, 500, 502, 504)

#: Statuses of a server that finds a file in place of a directory, or a directory in place of a file.
_MAYBE_CONFLICT = (403, 404, 409, 500)


class Writes:
    """
    Writes objects of one server.

    Args:
        session: sends the requests.
        paths: returns the paths of keys.
        policy: how long to retry.
        reads: reads from the same server.
        store: the name of the store in errors.
    """

    def __init__(self, session: Session, paths: KeyPaths, policy: RetryPolicy, reads: Reads, store: str) -> None:
        self._session = session
        self._paths = paths
        self._policy = policy
        self._reads = reads
        self._store = store

    async def put(self, key: str, data: Data, condition: Mapping[str, str]) -> str:
        """Put one object and return its etag; bytes and short streams are retried, a longer stream is sent once."""
        if not is_stream(data):
            return await self._put_bytes(key, as_bytes(data), condition)
        async with aclosing(chunks(data)) as pieces:
            first = await anext(pieces, b"")
            second = await anext(pieces, None)
            if second is None:
                return await self._put_bytes(key, first, condition)
            upload = Upload(_chained([first, second], pieces))
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
            response = await self._send("DELETE", key, condition)
            await response.discard()
            if response.status in (404, 410):
                if condition:
                    raise PreconditionFailedError(key, store=self._store)
            elif response.status == 409 and not await self._reads.exists(key):
                pass  # the key is a directory
            elif not 200 <= response.status < 300:
                raise error_of(response.status, response.headers, key, self._store)

        await self._policy.retry(lambda: self._session.limited(attempt))

    async def _put_bytes(self, key: str, data: bytes, condition: Mapping[str, str]) -> str:
        return await self._policy.retry(lambda: self._session.limited(lambda: self._put(key, data, condition)))

    async def _put(self, key: str, data: bytes | Upload, condition: Mapping[str, str]) -> str:
        response = await self._send("PUT", key, condition, data)
        await response.discard()
        if not 200 <= response.status < 300:
            raise await self._put_error(response, key, condition)
        if isinstance(data, Upload) and not data.ended:
            raise StorageError(
                "the server confirmed the put before all of the object was sent", key=key, store=self._store
            )
        said = response.headers.get("etag", "").strip()
        if said:
            return said if said.startswith("W/") else said.strip('"')
        try:
            return (await self._policy.retry(lambda: self._reads.describe(key))).etag
        except KeyNotFoundError:
            return ""  # it was deleted already, and no version has this etag

    async def _send(
        self, method: str, key: str, condition: Mapping[str, str], data: bytes | Upload | None = None
    ) -> Response:
        """
        Send a write.

        Raises:
            OutcomeUnknownError: the response to a conditional write was lost; a retry could fail by the first try.
        """
        path = self._paths.path_of(key, self._store)
        if condition and not isinstance(data, Upload):
            data = Upload.of(data or b"")  # aiohttp would resend bytes by itself, if an old connection ended
        try:
            response = await self._session.send(method, path, key, condition, data)
        except (StoreUnavailableError, StoreTimeoutError) as error:
            if condition and was_sent(error):
                raise self._unknown_outcome(key) from error
            raise
        if condition and response.status in _MAYBE_DONE:
            await response.discard()
            raise self._unknown_outcome(key) from error_of(response.status, response.headers, key, self._store)
        return response

    def _unknown_outcome(self, key: str) -> OutcomeUnknownError:
        return OutcomeUnknownError(
            "the response was lost: either the write took effect or its condition did not hold",
            key=key,
            store=self._store,
        )

    async def _put_error(self, response: Response, key: str, condition: Mapping[str, str]) -> StorageError:
        """Return the error of a refused put; for a file in place of a directory a server may report only a failure."""
        if response.status in _MAYBE_CONFLICT:
            names = key.split("/")
            for count in range(1, len(names)):
                if await self._reads.exists("/".join(names[:count])):
                    return KeyConflictError("a parent path of the key is itself an object", key=key, store=self._store)
        if response.status == 412 and "if-none-match" in condition:
            return KeyExistsError(key, store=self._store)
        if response.status in (404, 410) and "if-match" in condition:
            return PreconditionFailedError(key, store=self._store)
        if response.status in (404, 409):
            return KeyConflictError(
                "the key is a directory on the server, or its parent directory is missing", key=key, store=self._store
            )
        return error_of(response.status, response.headers, key, self._store)


async def _chained(first: list[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    while first:
        yield first.pop(0)
    async for piece in rest:
        yield piece
