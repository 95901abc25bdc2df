"""Stores of values seen as stores of bytes, for the suite, which knows bytes only."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from storage import Attributes, ByteRange, Data, ObjectStore, StorageError, StoreDecorator
from storage._concurrency.tasks import stream
from storage._core.bulk import pairs_of
from storage._core.data import is_stream, whole
from storage.types import Items, Keys

__all__ = ["BytesOf", "SameBytesOf", "buffers", "documents", "in_document", "texts"]


class BytesOf(StoreDecorator):
    """Values are bytes here: *value* of some bytes is put below, and *content* of what is there is given."""

    _steppable = True

    def __init__(self, base: ObjectStore[Any, Any], value: Callable[[bytes], Any], content: Callable[[Any], bytes]):
        super().__init__(base)
        self.value = value
        self.content = content

    async def get(self, key: str, *, byte_range: ByteRange | None = None) -> bytes:
        content = self.content(await self.base.get(key))
        if byte_range is None:
            return content
        start, stop = byte_range.within(len(content), key)
        return content[start:stop]

    async def put(
        self,
        key: str,
        data: Data,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        attributes: Attributes | None = None,
    ) -> str:
        value = await self._value(data)
        return await self.base.put(key, value, if_absent=if_absent, if_match=if_match, attributes=attributes)

    async def get_many(self, keys: Keys) -> dict[str, bytes | StorageError]:
        found: dict[str, Any] = dict(await self.base.get_many(keys))
        return {key: each if isinstance(each, StorageError) else self.content(each) for key, each in found.items()}

    async def put_many(
        self,
        items: Items[Data],
        *,
        raise_errors: bool = True,
    ) -> dict[str, str | StorageError]:
        async def values() -> AsyncIterator[tuple[str, Any]]:
            async for key, data in stream(pairs_of(items)):
                yield key, await self._value(data)

        return await self.base.put_many(values(), raise_errors=raise_errors)

    async def copy(self, source: str, target: str, *, if_absent: bool = False) -> str:
        return await self.base.copy(source, target, if_absent=if_absent)

    async def rename(self, source: str, target: str, *, if_absent: bool = False) -> str:
        return await self.base.rename(source, target, if_absent=if_absent)

    async def _value(self, data: Data) -> Any:
        return self.value(await whole(data))


class SameBytesOf(BytesOf):
    """The bytes here are those below: what is told of them holds here, too."""

    _steppable = True
    open = StoreDecorator.open
    head = StoreDecorator.head
    scan = StoreDecorator.scan


class _Buffers(SameBytesOf):
    """Buffers are put as files, streams as they are."""

    _steppable = True

    async def _value(self, data: Data) -> Any:
        return data if is_stream(data) else self.value(await whole(data))


def texts(store: ObjectStore) -> ObjectStore:
    """Adapt a `TextEncodingStore` of Latin-1, which has a character for each byte."""
    return SameBytesOf(store, lambda data: data.decode("latin-1"), lambda text: text.encode("latin-1"))


def documents(store: ObjectStore) -> ObjectStore:
    """Adapt a `JsonStore`: an object is a dict with its bytes as text, and their number."""
    return BytesOf(
        store,
        lambda data: {"text": data.decode("latin-1"), "size": len(data)},
        lambda value: value["text"].encode("latin-1"),
    )


def in_document(data: bytes) -> bytes:
    """Return the bytes that stand in a document, read without the store."""
    text: str = json.loads(data)["text"]
    return text.encode("latin-1")


def buffers(store: ObjectStore) -> ObjectStore:
    """Adapt a `BufferStore`, and have it read files that are not in memory."""
    return _Buffers(store, lambda data: io.BufferedReader(io.BytesIO(data)), lambda buffer: buffer.read())
