"""`RecordingStore`: a store that records its calls in a `History`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic_ns
from typing import Any

from storage._concurrency.tasks import stream
from storage._core.bulk import pairs_of, raise_failures
from storage._core.data import whole
from storage.base import ObjectStore
from storage.decorators.bases.store_decorator import StoreDecorator
from storage.decorators.bases.streams import Pull, WatchedStream, is_one_shot
from storage.errors import (
    ANSWERS,
    InvalidKeyError,
    KeyConflictError,
    KeyExistsError,
    KeyNotFoundError,
    StorageError,
    UnsupportedOperationError,
)
from storage.reader import ObjectReader, ReaderDecorator
from storage.testing.history import History, RecordedCall, RecordedListing, word_of
from storage.types import Attributes, ByteRange, Data, Items, Keys, ObjectInfo

__all__ = ["RecordingStore"]

#: Errors of calls that certainly changed nothing.
_REFUSALS = InvalidKeyError, KeyConflictError, UnsupportedOperationError, TypeError


class RecordingStore(StoreDecorator):
    """
    Passes calls on, and records for each object when its call began and ended, and its result.

    Put it on top of the store under test, use it from any number of tasks and threads, then call
    ``history.check()``. Each process has a `RecordingStore` of its own, and ``history.extend`` joins their histories.
    Copies and renames are recorded as reads, puts and deletes.

    Args:
        base: the store below, which is empty.
        history: the history to write to; by default a new one.
        late_writes: whether a write that failed or was cancelled may take effect later, as in a network.

    Attributes:
        history: the recorded calls.
    """

    _steppable = True

    def __init__(self, base: ObjectStore, history: History | None = None, *, late_writes: bool = False) -> None:
        super().__init__(base)
        self.history: History = History() if history is None else history
        self.late_writes: bool = late_writes

    async def get(self, key: str, *, byte_range: ByteRange | None = None) -> bytes:
        begun = monotonic_ns()
        try:
            data = await self.base.get(key, byte_range=byte_range)
        except KeyNotFoundError:
            self._read(key, begun, "missing")
            raise
        self._read(key, begun, word=word_of(data) if byte_range is None else None)
        return data

    async def put(
        self,
        key: str,
        data: Data,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        attributes: Attributes | None = None,
    ) -> str:
        content = await _Content.of(data)
        begun = monotonic_ns()
        etag: str | StorageError
        try:
            etag = await self.base.put(key, content.data, if_absent=if_absent, if_match=if_match, attributes=attributes)
        except BaseException as error:
            self._wrote("put", key, begun, error, content, if_absent=if_absent, if_match=if_match)
            raise
        self._wrote("put", key, begun, etag, content, if_absent=if_absent, if_match=if_match)
        return etag

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        begun = monotonic_ns()
        try:
            await self.base.delete(key, if_match=if_match)
        except BaseException as error:
            self._wrote("delete", key, begun, error, if_match=if_match)
            raise
        self._wrote("delete", key, begun, None, if_match=if_match)

    async def exists(self, key: str) -> bool:
        begun = monotonic_ns()
        there = await self.base.exists(key)
        self._read(key, begun, "there" if there else "missing")
        return there

    async def head(self, key: str) -> ObjectInfo:
        begun = monotonic_ns()
        try:
            info = await self.base.head(key)
        except KeyNotFoundError:
            self._read(key, begun, "missing")
            raise
        self._read(key, begun, etag=info.etag)
        return info

    @asynccontextmanager
    async def open(self, key: str, *, byte_range: ByteRange | None = None) -> AsyncIterator[ObjectReader]:
        begun = monotonic_ns()
        opened = self.base.open(key, byte_range=byte_range)
        try:
            reader = await opened.__aenter__()
        except KeyNotFoundError:
            self._read(key, begun, "missing")
            raise
        ended = monotonic_ns()
        recorded = _RecordedReader(reader)
        try:
            yield recorded
        except BaseException as error:
            if not await opened.__aexit__(type(error), error, error.__traceback__):
                raise
        else:
            await opened.__aexit__(None, None, None)
        self._read(key, begun, word=recorded.word, etag=reader.info.etag, ended=ended)

    async def get_many(self, keys: Keys) -> dict[str, bytes | StorageError]:
        begun = monotonic_ns()
        results = await self.base.get_many(keys)
        for key, result in results.items():
            if isinstance(result, bytes):
                self._read(key, begun, word=word_of(result))
            elif isinstance(result, KeyNotFoundError):
                self._read(key, begun, "missing")
        return results

    async def put_many(
        self,
        items: Items[Data],
        *,
        raise_errors: bool = True,
    ) -> dict[str, str | StorageError]:
        contents = {key: await _Content.of(data) async for key, data in stream(pairs_of(items))}
        begun = monotonic_ns()
        try:
            results = await self.base.put_many(
                {key: content.data for key, content in contents.items()}, raise_errors=False
            )
        except BaseException as error:
            for key, content in contents.items():
                self._wrote("put", key, begun, error, content)
            raise
        for key, result in results.items():
            self._wrote("put", key, begun, result, contents[key])
        return raise_failures(results, self, raise_errors)

    async def delete_many(self, keys: Keys, *, raise_errors: bool = True) -> dict[str, None | StorageError]:
        wanted = [key async for key in stream(keys)]
        begun = monotonic_ns()
        try:
            results = await self.base.delete_many(wanted, raise_errors=False)
        except BaseException as error:
            for key in wanted:
                self._wrote("delete", key, begun, error)
            raise
        for key, result in results.items():
            self._wrote("delete", key, begun, result)
        return raise_failures(results, self, raise_errors)

    async def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
        begun, found = monotonic_ns(), list[str]()
        async for key in self.base.keys(prefix, start_after=start_after):
            found.append(key)
            yield key
        self.history.listings.append(RecordedListing(prefix, start_after, begun, monotonic_ns(), tuple(found)))

    async def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        begun, found = monotonic_ns(), list[str]()
        async for info in self.base.scan(prefix, start_after=start_after):
            found.append(info.key)
            yield info
        self.history.listings.append(RecordedListing(prefix, start_after, begun, monotonic_ns(), tuple(found)))

    # -- recording -----------------------------------------------------------------------------------------------------

    def _read(self, key: str, begun: int, outcome: str = "done", *, ended: int | None = None, **known: Any) -> None:
        self.history.events.append(RecordedCall("read", key, begun, ended or monotonic_ns(), outcome, **known))

    def _wrote(
        self,
        action: str,
        key: str,
        begun: int,
        result: object,
        content: _Content | None = None,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
    ) -> None:
        """Record a write: its result or error tells whether it was done, was refused, or may have been done."""
        ended = monotonic_ns()
        if isinstance(result, KeyExistsError):
            event = RecordedCall("read", key, begun, ended, "there")
        elif isinstance(result, ANSWERS):
            event = RecordedCall("read", key, begun, ended, "other", if_match=if_match)
        elif isinstance(result, _REFUSALS):
            return
        else:
            unknown = isinstance(result, BaseException)
            event = RecordedCall(
                action,
                key,
                begun,
                None if unknown and self.late_writes else ended,
                "unknown" if unknown else "done",
                None if content is None else content.word,
                result if isinstance(result, str) else None,
                if_absent,
                if_match,
            )
        self.history.events.append(event)


class _Content:
    """
    The data of a put and its word, which is known at once, or for a stream after its end.

    Attributes:
        data: the data to put.
        word: identifies the bytes; None until they are known.
    """

    def __init__(self, data: Data, word: str | None) -> None:
        self.data = data
        self.word = word

    @classmethod
    async def of(cls, data: Data) -> _Content:
        """Return the content, without reading a stream that can be read only once."""
        if not is_one_shot(data):
            content = await whole(data)
            return cls(content, word_of(content))
        self = cls(b"", None)
        passed = bytearray()

        async def note(pull: Pull) -> bytes | None:
            piece = await pull()
            passed.extend(piece or b"")
            self.word = None if piece is not None else word_of(bytes(passed))
            return piece

        self.data = WatchedStream(data, note)
        return self


class _RecordedReader(ReaderDecorator):
    """A reader that knows the word of its object after a read from its start to its end."""

    def __init__(self, reader: ObjectReader) -> None:
        super().__init__(reader)
        self._passed = bytearray()

    async def read(self, size: int = -1, /) -> bytes:
        piece = await self.reader.read(size)
        self._passed += piece
        return piece

    async def seek(self, offset: int, /) -> None:
        self._passed = bytearray(self.info.size + 1)  # so that it never counts as complete
        await self.reader.seek(offset)

    @property
    def word(self) -> str | None:
        """The word of the object; None if it is not known."""
        return word_of(bytes(self._passed)) if len(self._passed) == self.info.size else None
