"""`Reads`: reads from a web server, also from one without HEAD, etags, lengths or ranges."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from urllib.parse import quote

from storage._core.data import etag_of
from storage._core.retry import RetryPolicy
from storage.errors import InvalidKeyError, RangeNotSatisfiableError, StorageError, StoreUnavailableError
from storage.reader import BytesReader, ObjectReader
from storage.stores.http.autoindex import parse_listing
from storage.stores.http.errors import error_of
from storage.stores.http.reader import HttpReader
from storage.stores.http.responses import DescribedObject, attributes_of, describe_response, offset_and_size
from storage.stores.http.session import Response, Session
from storage.stores.http.urls import KeyPaths
from storage.stores.network import range_header
from storage.types import ByteRange, ObjectInfo

__all__ = ["Reads"]

#: Responses of a server that does not know the method.
_METHOD_UNSUPPORTED = (405, 501)


class Reads:
    """
    Reads objects of one server.

    Args:
        session: sends the requests.
        paths: returns the paths of keys.
        policy: how long to retry.
        store: the name of the store in errors.
    """

    def __init__(self, session: Session, paths: KeyPaths, policy: RetryPolicy, store: str) -> None:
        self._session = session
        self._paths = paths
        self._policy = policy
        self._store = store
        self._head_supported = True  # until the server refuses one

    async def get(self, key: str, byte_range: ByteRange | None) -> bytes:
        """Return an object's bytes, or a range of them."""
        pieces: list[bytes] = []
        reader: ObjectReader | None = None
        async with AsyncExitStack() as opened:

            async def attempt() -> bytes:
                """Resume after the received bytes, or restart if the version of the rest cannot be verified."""
                nonlocal reader
                if not (isinstance(reader, HttpReader) and reader.resumable):
                    pieces.clear()
                    reader = await self.open_reader(key, byte_range, opened)
                if not isinstance(reader, HttpReader):
                    return await reader.read()
                try:
                    while reader.remaining:
                        pieces.append(await reader.read_some(reader.remaining))
                except StorageError as error:
                    if reader.replaced:  # no byte was returned to the caller yet, so it can restart
                        raise StoreUnavailableError(
                            "the object was replaced while it was read", key=key, store=self._store
                        ) from error
                    raise
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)

            return await self._policy.retry(lambda: self._session.limited(attempt))

    async def open_reader(self, key: str, byte_range: ByteRange | None, opened: AsyncExitStack) -> ObjectReader:
        """Return, in one attempt, a reader with an open response, which *opened* closes."""
        if byte_range is not None:
            if byte_range.last != 0 and byte_range.stop != byte_range.start:
                try:
                    response = await self._get(key, {"range": range_header(byte_range)}, opened)
                except RangeNotSatisfiableError:
                    pass  # it starts at the end of the object, or after it: the size tells which
                else:
                    if response.status != 206 or self._described(response, key)[1] is not None:
                        return await self._reader(response, key, byte_range, opened)
                    response.close()  # its headers describe the object too little for a part
            info = await self.describe(key)
            start, stop = byte_range.within(info.size, key)
            if start == stop:
                return BytesReader(info, b"", ByteRange(0, 0))
        return await self._reader(await self._get(key, {}, opened), key, byte_range, opened)

    async def _get(self, key: str, headers: Mapping[str, str], opened: AsyncExitStack) -> Response:
        response = await self._session.send("GET", self._path(key), key, headers)
        await self._check(response, key)
        opened.callback(response.close)
        return response

    async def _reader(
        self, response: Response, key: str, byte_range: ByteRange | None, opened: AsyncExitStack
    ) -> ObjectReader:
        """Return the reader of an open response; the object is read if the headers describe it too little."""
        begin, found = self._described(response, key)
        if found is None:
            data = await response.read()
            return BytesReader(_info(response, key, data), data, byte_range)
        start, stop = (0, found.info.size) if byte_range is None else byte_range.within(found.info.size, key)
        if begin > start:
            raise StorageError("the server sent another part than was requested", key=key, store=self._store)

        async def more(headers: Mapping[str, str]) -> Response:
            return await self._session.send("GET", self._path(key), key, headers)

        reader = HttpReader(found, more, self._policy, start, stop, response, begin, self._store)
        opened.callback(reader.close)
        return reader

    async def describe(self, key: str) -> ObjectInfo:
        """
        Return, in one attempt, the description of an object from HEAD, or from GET if the server refuses HEAD.

        If the headers have no size, or nothing that tells versions apart, the object is read.
        """
        if self._head_supported:
            response = await self._session.send("HEAD", self._path(key), key)
            self._head_supported = response.status not in _METHOD_UNSUPPORTED
            if self._head_supported:
                await self._check(response, key)
                response.close()
                if (found := self._described(response, key)[1]) is not None:
                    return found.info
        response = await self._session.send("GET", self._path(key), key)
        await self._check(response, key)
        try:
            found = self._described(response, key)[1]
            return _info(response, key, await response.read()) if found is None else found.info
        finally:
            response.close()

    async def exists(self, key: str) -> bool:
        """Return, in one attempt, whether the object exists."""
        response = await self._session.send("HEAD" if self._head_supported else "GET", self._path(key), key)
        if self._head_supported and response.status in _METHOD_UNSUPPORTED:
            self._head_supported = False
            return await self.exists(key)
        if response.status in (404, 410):
            await response.discard()
            return False
        await self._check(response, key)
        response.close()
        return True

    async def names_in(self, directory: str) -> list[str]:
        """Return the names in a directory, which ends in a slash or is ``""``; none if it does not exist."""
        if directory:
            try:
                self._path(directory[:-1])
            except InvalidKeyError:
                return []
        path = f"{self._paths.path}/{quote(directory, safe='/-_.~')}"

        async def attempt() -> list[str]:
            response = await self._session.send("GET", path, directory)
            if response.status in (404, 410):
                await response.discard()
                return []
            await self._check(response, directory)
            try:
                return parse_listing(await response.read(), directory, self._store)
            finally:
                response.close()

        return await self._policy.retry(lambda: self._session.limited(attempt))

    def _described(self, response: Response, key: str) -> tuple[int, DescribedObject | None]:
        """Return the offset of the response's body, and the object as the headers describe it."""
        begin, size = offset_and_size(response.status, response.headers, key, self._store)
        return begin, describe_response(response.headers, key, size)

    async def _check(self, response: Response, key: str) -> None:
        """
        Check that a response has an object.

        Raises:
            StorageError: it has none, and was closed.
        """
        if response.status not in (200, 203, 206):
            await response.discard()
            raise error_of(response.status, response.headers, key, self._store)

    def _path(self, key: str) -> str:
        return self._paths.path_of(key, self._store)


def _info(response: Response, key: str, data: bytes) -> ObjectInfo:
    """Return the description of an object that was read, because the headers describe it too little."""
    found = describe_response(response.headers, key, len(data))
    return (
        ObjectInfo(key, len(data), etag_of(data), None, attributes_of(response.headers))
        if found is None
        else found.info
    )
