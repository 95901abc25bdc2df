"""`DictStore`: objects in this process's memory, and the reference implementation of every method."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import NamedTuple, cast

from storage._concurrency.mutex import Mutex
from storage._core.bulk import raise_failures, result_of, results_of
from storage._core.conditions import UNCONDITIONAL, WriteConditions
from storage._core.data import SMALL, as_bytes, is_stream, whole
from storage._core.keys import check_key
from storage._core.sorted_keys import SortedKeys
from storage.base import ObjectStore
from storage.errors import KeyNotFoundError, StorageError
from storage.reader import BytesReader, ObjectReader
from storage.types import Attributes, ByteRange, Capabilities, Data, Items, Keys, ObjectInfo, check_attributes

__all__ = ["DictStore"]


class _Object(NamedTuple):
    data: bytes
    etag: str
    modified: datetime
    attributes: dict[str, str]


class DictStore(ObjectStore):
    """
    Objects in a dict: for tests, as a cache, and as the simplest example of a complete store.

    Several threads may use it through its synchronous API. Nothing in it ever suspends.
    """

    _steppable = True

    def __init__(self) -> None:
        self._objects: dict[str, _Object] = {}
        self._versions = itertools.count(1)
        self._writing = Mutex()  # a condition and its write are one step, also for threads
        self._listing = SortedKeys(self._objects)

    async def get(self, key: str, *, byte_range: ByteRange | None = None) -> bytes:
        data = self._find(key).data
        if byte_range is None:
            return data
        start, stop = byte_range.within(len(data), key)
        return data[start:stop]

    async def put(
        self,
        key: str,
        data: Data,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        attributes: Attributes | None = None,
    ) -> str:
        check_key(key, self)
        conditions = WriteConditions.of(if_absent, if_match)
        kept = check_attributes(attributes) if attributes else {}
        content = await whole(data) if is_stream(data) else as_bytes(data)
        etag = str(next(self._versions))
        with self._writing:
            current = self._objects.get(key)
            if conditions is not UNCONDITIONAL:  # a quarter of the time of calling its __bool__
                conditions.enforce(key, current and current.etag, self)
            self._objects[key] = _Object(content, etag, datetime.now(UTC), kept)
            if current is None:
                self._listing.invalidate()
        return etag

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        check_key(key, self)
        with self._writing:
            current = self._objects.get(key)
            if if_match is not None:
                WriteConditions(if_match=if_match).enforce(key, current and current.etag, self)
            if current is not None:
                del self._objects[key]
                self._listing.invalidate()

    async def exists(self, key: str) -> bool:
        return check_key(key, self) in self._objects

    async def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
        for key in self._listing.select(prefix, start_after):
            yield key

    async def head(self, key: str) -> ObjectInfo:
        return self._describe(key, self._find(key))

    @asynccontextmanager
    async def open(self, key: str, *, byte_range: ByteRange | None = None) -> AsyncIterator[ObjectReader]:
        found = self._find(key)
        yield BytesReader(self._describe(key, found), found.data, byte_range)

    # One after the other: a task for each key takes twenty times as long as its work. Only streams are read
    # concurrently, because one may wait for another.

    async def get_many(self, keys: Keys) -> dict[str, bytes | StorageError]:
        return await results_of(keys, self.get, limit=1)

    async def put_many(
        self,
        items: Items[Data],
        *,
        raise_errors: bool = True,
    ) -> dict[str, str | StorageError]:
        objects = cast("Mapping[str, Data]", items) if isinstance(items, Mapping) else None
        if objects is None or any(map(is_stream, objects.values())):
            return await ObjectStore.put_many(self, items, raise_errors=raise_errors)
        results = {key: await result_of(self.put(key, data)) for key, data in objects.items()}
        return raise_failures(results, self, raise_errors)

    async def delete_many(self, keys: Keys, *, raise_errors: bool = True) -> dict[str, None | StorageError]:
        return raise_failures(await results_of(keys, self.delete, limit=1), self, raise_errors)

    async def _get_small(self, keys: Sequence[str]) -> list[tuple[bytes, Attributes] | None]:
        objects = map(self._objects.get, keys)
        return [found and ((found.data, found.attributes) if len(found.data) <= SMALL else None) for found in objects]

    async def _put_small(self, items: Sequence[tuple[str, bytes, Attributes | None]]) -> list[str | StorageError]:
        kept = [check_attributes(attributes) if attributes else {} for _, _, attributes in items]
        etags = [str(next(self._versions)) for _ in items]
        now = datetime.now(UTC)
        with self._writing:
            for (key, data, _), etag, attributes in zip(items, etags, kept, strict=True):
                self._objects[check_key(key, self)] = _Object(data, etag, now, attributes)
            self._listing.invalidate()
        return [*etags]

    async def copy(self, source: str, target: str, *, if_absent: bool = False) -> str:
        found = self._find(source)
        return await self.put(target, found.data, if_absent=if_absent, attributes=found.attributes)

    @property
    def capabilities(self) -> Capabilities:
        return self._supported(Capabilities.all_but("multi_process"))

    def _find(self, key: str) -> _Object:
        try:
            return self._objects[key]
        except (KeyError, TypeError):
            check_key(key, self)
            raise KeyNotFoundError(key, store=self) from None

    def _describe(self, key: str, found: _Object) -> ObjectInfo:
        return ObjectInfo(key, len(found.data), found.etag, found.modified, dict(found.attributes))
