"""Reads from a web server, whatever it leaves out: HEAD, etags, lengths, ranges."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from urllib.parse import quote

from storage._core.data import etag_of
from storage._core.retry import RetryPolicy
from storage.errors import InvalidKeyError, RangeNotSatisfiableError, StorageError, StoreUnavailableError
from storage.reader import BytesReader, ObjectReader
from storage.stores.http.autoindex import names_of
from storage.stores.http.errors import error_of
from storage.stores.http.reader import HttpReader
from storage.stores.http.responses import Described, attributes_of, described, extent
from storage.stores.http.session import Answer, Session
from storage.stores.http.urls import Keys
from storage.stores.network import range_header
from storage.types import ByteRange, ObjectInfo

__all__ = ["Reading"]

#: Answers of a server that does not know the method.
_NO_SUCH_METHOD = (405, 501)


class Reading:
    """
    What is read from one server.

    Args:
        session: sends the requests.
        keys: gives the paths.
        policy: how long to try again.
        store: what errors say they come from.
    """

    def __init__(self, session: Session, keys: Keys, policy: RetryPolicy, store: str) -> None:
        self._session = session
        self._keys = keys
        self._policy = policy
        self._store = store
        self._heads = True  # until the server refuses one

    async def get(self, key: str, byte_range: ByteRange | None) -> bytes:
        """Return an object's bytes, or a range of them."""
        pieces: list[bytes] = []
        reader: ObjectReader | None = None
        async with AsyncExitStack() as opened:

            async def attempt() -> bytes:
                """Go on with what has come; begin anew where nothing tells that the rest belongs to it."""
                nonlocal reader
                if not (isinstance(reader, HttpReader) and reader.resumable):
                    pieces.clear()
                    reader = await self.begin(key, byte_range, opened)
                if not isinstance(reader, HttpReader):
                    return await reader.read()
                try:
                    while reader.left:
                        pieces.append(await reader.some(reader.left))
                except StorageError as error:
                    if reader.replaced:  # whoever has given no byte away yet may begin anew
                        raise StoreUnavailableError(
                            "the object was replaced while it was read", key=key, store=self._store
                        ) from error
                    raise
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)

            return await self._policy.retry(lambda: self._session.turn(attempt))

    async def begin(self, key: str, byte_range: ByteRange | None, opened: AsyncExitStack) -> ObjectReader:
        """Return, in one attempt, a reader whose first answer has begun; *opened* closes it."""
        if byte_range is not None:
            if byte_range.last != 0 and byte_range.stop != byte_range.start:
                try:
                    answer = await self._ask(key, {"range": range_header(byte_range)}, opened)
                except RangeNotSatisfiableError:
                    pass  # it starts at the end, or behind it, and the size will say which
                else:
                    if answer.status != 206 or self._described(answer, key)[1] is not None:
                        return await self._reader(answer, key, byte_range, opened)
                    answer.close()  # too little is said of a part
            info = await self.describe(key)
            start, stop = byte_range.within(info.size, key)
            if start == stop:
                return BytesReader(info, b"", ByteRange(0, 0))
        return await self._reader(await self._ask(key, {}, opened), key, byte_range, opened)

    async def _ask(self, key: str, headers: Mapping[str, str], opened: AsyncExitStack) -> Answer:
        answer = await self._session.send("GET", self._path(key), key, headers)
        await self._check(answer, key)
        opened.callback(answer.close)
        return answer

    async def _reader(
        self, answer: Answer, key: str, byte_range: ByteRange | None, opened: AsyncExitStack
    ) -> ObjectReader:
        """Return the reader of an answer that has begun; one that says too little of the object is read at once."""
        begins, found = self._described(answer, key)
        if found is None:
            data = await answer.read()
            return BytesReader(_info(answer, key, data), data, byte_range)
        start, stop = (0, found.info.size) if byte_range is None else byte_range.within(found.info.size, key)
        if begins > start:
            raise StorageError("the server sends another part than was asked for", key=key, store=self._store)

        async def more(headers: Mapping[str, str]) -> Answer:
            return await self._session.send("GET", self._path(key), key, headers)

        reader = HttpReader(found, more, self._policy, start, stop, answer, begins, self._store)
        opened.callback(reader.close)
        return reader

    async def describe(self, key: str) -> ObjectInfo:
        """
        Return, in one attempt, what HEAD says of an object, or GET where HEAD is refused.

        Where neither says how large it is, or nothing by which versions could be told apart, it is read.
        """
        if self._heads:
            answer = await self._session.send("HEAD", self._path(key), key)
            self._heads = answer.status not in _NO_SUCH_METHOD
            if self._heads:
                await self._check(answer, key)
                answer.close()
                if (found := self._described(answer, key)[1]) is not None:
                    return found.info
        answer = await self._session.send("GET", self._path(key), key)
        await self._check(answer, key)
        try:
            found = self._described(answer, key)[1]
            return _info(answer, key, await answer.read()) if found is None else found.info
        finally:
            answer.close()

    async def exists(self, key: str) -> bool:
        """Say, in one attempt, whether there is an object."""
        answer = await self._session.send("HEAD" if self._heads else "GET", self._path(key), key)
        if self._heads and answer.status in _NO_SUCH_METHOD:
            self._heads = False
            return await self.exists(key)
        if answer.status in (404, 410):
            await answer.discard()
            return False
        await self._check(answer, key)
        answer.close()
        return True

    async def names_in(self, directory: str) -> list[str]:
        """Return the names in a directory, which ends in a slash or is ``""``; none where there is none."""
        if directory:
            try:
                self._path(directory[:-1])
            except InvalidKeyError:
                return []
        path = f"{self._keys.path}/{quote(directory, safe='/-_.~')}"

        async def attempt() -> list[str]:
            answer = await self._session.send("GET", path, directory)
            if answer.status in (404, 410):
                await answer.discard()
                return []
            await self._check(answer, directory)
            try:
                return names_of(await answer.read(), directory, self._store)
            finally:
                answer.close()

        return await self._policy.retry(lambda: self._session.turn(attempt))

    def _described(self, answer: Answer, key: str) -> tuple[int, Described | None]:
        """Return where the answer's body begins, and the object as it describes it."""
        begins, size = extent(answer.status, answer.headers, key, self._store)
        return begins, described(answer.headers, key, size)

    async def _check(self, answer: Answer, key: str) -> None:
        """
        Let an answer that has an object pass.

        Raises:
            StorageError: it is another one, and is closed.
        """
        if answer.status not in (200, 203, 206):
            await answer.discard()
            raise error_of(answer.status, answer.headers, key, self._store)

    def _path(self, key: str) -> str:
        return self._keys.path_of(key, self._store)


def _info(answer: Answer, key: str, data: bytes) -> ObjectInfo:
    """Return the description of an object of which the server does not say enough, so that it was read."""
    found = described(answer.headers, key, len(data))
    return (
        ObjectInfo(key, len(data), etag_of(data), None, attributes_of(answer.headers)) if found is None else found.info
    )
