"""Stores that are wrong about objects, each in one way that real ones were."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from wrong_stores.keys import Wrong

from storage import (
    BytesReader,
    Capabilities,
    Data,
    KeyNotFoundError,
    ObjectInfo,
    ObjectReader,
    StorageError,
)
from storage._core.data import is_stream, whole

__all__ = [
    "BareKeyError",
    "CancelsHalf",
    "ChecksThenActs",
    "ClaimsTooMuch",
    "CopiesBytesOnly",
    "CountsItems",
    "DeleteIsStrict",
    "EmptyIsMissing",
    "EtagOfSize",
    "ForgetsAttributes",
    "IgnoresConditions",
    "InclusiveRanges",
    "KeepsAttributes",
    "KeepsPieces",
    "LenientRanges",
    "PublishesHalf",
    "PutsLate",
    "ReadsOn",
    "RenamesAway",
    "StopsAtTheFirstError",
    "SwapsLate",
    "TakesText",
    "WrapsErrors",
    "WrongBothWays",
]


class WrongBothWays(Wrong):
    """Stores other bytes than it was given, and undoes it when it reads."""

    found_by = "test_put_stores_the_bytes_themselves"

    async def get(self, key: str, **options: Any) -> bytes:
        return (await super().get(key, **options))[::-1]

    async def put(self, key: str, data: Data, **options: Any) -> str:
        return await super().put(key, (await whole(data))[::-1], **options)


class EmptyIsMissing(Wrong):
    """Takes an empty object for none."""

    found_by = "test_empty_value_is_a_value"

    async def get(self, key: str, **options: Any) -> bytes:
        data = await super().get(key, **options)
        if not data:
            raise KeyNotFoundError(key)
        return data


class BareKeyError(Wrong):
    """Lets Python's own error out."""

    found_by = "test_missing_key_is_not_found"

    async def get(self, key: str, **options: Any) -> bytes:
        try:
            return await super().get(key, **options)
        except KeyNotFoundError:
            raise KeyError(key) from None


class InclusiveRanges(Wrong):
    """Counts the stop in, as HTTP does."""

    found_by = "test_range_of_get_and_open"

    async def get(self, key: str, *, byte_range: Any = None) -> bytes:
        if byte_range is not None and byte_range.stop is not None:
            byte_range = replace(byte_range, stop=byte_range.stop + 1)
        return await super().get(key, byte_range=byte_range)


class LenientRanges(Wrong):
    """Slices, and so takes a start after the end for an empty range."""

    found_by = "test_range_behind_the_end_is_not_satisfiable"

    async def get(self, key: str, *, byte_range: Any = None) -> bytes:
        data = await super().get(key)
        return data if byte_range is None else data[byte_range.start : byte_range.stop]


class DeleteIsStrict(Wrong):
    """Has a missing key for an error."""

    found_by = "test_delete_of_a_missing_key_is_no_error"

    async def delete(self, key: str, **options: Any) -> None:
        await self.head(key)
        await super().delete(key, **options)


class TakesText(Wrong):
    """Encodes text instead of refusing it."""

    found_by = "test_put_refuses_what_is_not_bytes"

    async def put(self, key: str, data: Any, **options: Any) -> str:
        return await super().put(key, data.encode() if isinstance(data, str) else data, **options)


class CountsItems(Wrong):
    """Takes len() of a view for its bytes."""

    found_by = "test_put_counts_bytes_of_wide_views"

    async def put(self, key: str, data: Data, **options: Any) -> str:
        return await super().put(key, bytes(data)[: len(data)] if isinstance(data, memoryview) else data, **options)


class KeepsPieces(Wrong):
    """Collects the pieces of a stream, and joins them when the producer may have changed them."""

    found_by = "test_producer_may_use_one_buffer_again"

    async def put(self, key: str, data: Any, **options: Any) -> str:
        if is_stream(data):
            data = b"".join([piece async for piece in data] if hasattr(data, "__aiter__") else list(data))
        return await super().put(key, data, **options)


class PublishesHalf(Wrong):
    """Writes as it goes: a producer that fails leaves half an object."""

    found_by = "test_error_of_the_producer_passes_and_nothing_is_put"

    async def put(self, key: str, data: Any, **options: Any) -> str:
        if not is_stream(data) or hasattr(data, "__aiter__"):
            return await super().put(key, data, **options)
        sent, etag = b"", await super().put(key, b"", **options)
        for piece in data:
            sent += piece
            etag = await super().put(key, sent, **options)
        return etag


class WrapsErrors(Wrong):
    """Makes the caller's exception its own."""

    found_by = "test_error_of_the_producer_passes_and_nothing_is_put"

    async def put(self, key: str, data: Data, **options: Any) -> str:
        try:
            return await super().put(key, data, **options)
        except (StorageError, TypeError, ValueError):
            raise
        except Exception as cause:
            raise StorageError("could not put", key=key) from cause


class ChecksThenActs(Wrong):
    """Looks whether the condition holds, and then writes."""

    found_by = "test_one_of_many_creators_wins"

    async def put(self, key: str, data: Data, *, if_absent: bool = False, **options: Any) -> str:
        if if_absent and await self.exists(key):
            return await super().put(key, data, if_absent=True, **options)
        await asyncio.sleep(0)
        return await super().put(key, data, **options)


class SwapsLate(Wrong):
    """Compares, waits, and swaps."""

    found_by = "test_no_increment_is_lost"

    async def put(self, key: str, data: Data, *, if_match: str | None = None, **options: Any) -> str:
        if if_match is not None and (not await self.exists(key) or (await self.head(key)).etag != if_match):
            return await super().put(key, data, if_match=if_match, **options)
        await asyncio.sleep(0)
        return await super().put(key, data, **options)


class EtagOfSize(Wrong):
    """Tells versions apart by their size."""

    found_by = "test_etags_of_different_bytes_differ"

    async def put(self, key: str, data: Data, **options: Any) -> str:
        await super().put(key, data, **options)
        return (await self.head(key)).etag

    async def head(self, key: str) -> ObjectInfo:
        info = await super().head(key)
        return replace(info, etag=str(info.size))


class ForgetsAttributes(Wrong):
    """Drops what it cannot be bothered to keep."""

    found_by = "test_attributes_come_back"

    async def put(self, key: str, data: Data, *, attributes: Any = None, **options: Any) -> str:
        return await super().put(key, data, **options)


class KeepsAttributes(Wrong):
    """Leaves the old attributes with the new object."""

    found_by = "test_put_without_attributes_clears_them"

    async def put(self, key: str, data: Data, *, attributes: Any = None, **options: Any) -> str:
        if attributes is None and key in self._objects:
            attributes = self._objects[key].attributes
        return await super().put(key, data, attributes=attributes, **options)


class RenamesAway(Wrong):
    """Copies onto itself and then deletes."""

    found_by = "test_onto_itself_changes_nothing"

    async def rename(self, source: str, target: str, *, if_absent: bool = False) -> str:
        etag = await self.copy(source, target, if_absent=if_absent)
        await self.delete(source)
        return etag


class CopiesBytesOnly(Wrong):
    """Loses the attributes."""

    found_by = "test_attributes_go_with_a_copy_and_a_rename"

    async def copy(self, source: str, target: str, *, if_absent: bool = False) -> str:
        return await self.put(target, await self.get(source), if_absent=if_absent)


class StopsAtTheFirstError(Wrong):
    """Skips the items after a bad one."""

    found_by = "test_put_many_tries_all_and_tells_each_outcome"

    async def put_many(self, items: Any, *, raise_errors: bool = True) -> dict[str, str | StorageError]:
        pairs = items.items() if isinstance(items, Mapping) else items
        return {key: await self.put(key, data) for key, data in pairs}


class ReadsOn(Wrong):
    """Reads what is there now, not what was opened."""

    found_by = "test_open_reader_keeps_its_version_when_overwritten"

    @asynccontextmanager
    async def open(self, key: str, **options: Any) -> AsyncIterator[ObjectReader]:
        store = self

        class Live(BytesReader):
            async def read(self, size: int = -1, /) -> bytes:
                self._data = await store.get(key)
                return await super().read(size)

        yield Live(await self.head(key), await self.get(key), **options)


class PutsLate(Wrong):
    """Goes on with a write though its caller was told that it is cancelled."""

    found_by = "test_cancelled_put_is_over"

    def __init__(self) -> None:
        super().__init__()
        self.tasks: set[asyncio.Task[str]] = set()

    async def put(self, key: str, data: Data, **options: Any) -> str:
        task = asyncio.create_task(self._put(key, data, **options))
        self.tasks.add(task)
        return await asyncio.shield(task)

    async def _put(self, key: str, data: Data, **options: Any) -> str:
        await asyncio.sleep(0.001)
        return await super().put(key, data, **options)


class CancelsHalf(Wrong):
    """Takes the old object away before the new one is there."""

    found_by = "test_cancelled_put_is_whole_or_nothing"

    async def put(self, key: str, data: Data, **options: Any) -> str:
        self._objects.pop(key, None)
        await asyncio.sleep(0)
        return await super().put(key, data, **options)


class ClaimsTooMuch(Wrong):
    """Says that it holds conditions, and refuses them."""

    found_by = "test_if_absent_creates"

    async def put(self, key: str, data: Data, *, if_absent: bool = False, **options: Any) -> str:
        if if_absent:
            raise NotImplementedError
        return await super().put(key, data, **options)


class IgnoresConditions(Wrong):
    """Says that it holds no conditions, and ignores them."""

    found_by = "test_conditional_put_is_unsupported"

    async def put(self, key: str, data: Data, *, if_absent: bool = False, if_match: Any = None, **options: Any) -> str:
        return await super().put(key, data, **options)

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, conditional_put=False)
