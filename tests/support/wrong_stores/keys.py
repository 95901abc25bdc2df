"""Stores that are wrong about keys and lists of them, each in one way that real ones were."""

from __future__ import annotations

import asyncio
import json
import unicodedata
from collections.abc import AsyncIterator
from typing import Any, ClassVar

from storage import (
    Data,
    DictStore,
    ObjectInfo,
)

__all__ = [
    "ClearsByPattern",
    "ExistsTakesAnything",
    "FoldsKeys",
    "ListsByDirectory",
    "ListsLikeJavaScript",
    "ListsOnePage",
    "LocksWhileListing",
    "NormalisesKeys",
    "PrefixIsDirectory",
    "Renaming",
    "ResolvesKeys",
    "StartsAtStart",
    "TalksJson",
    "TrimsKeys",
    "Wrong",
]


class Wrong(DictStore):
    """
    A right store, to be made wrong.

    Attributes:
        found_by: the test that must fail.
    """

    found_by: ClassVar[str]


class Renaming(Wrong):
    """Keeps objects under other keys than they were given."""

    def named(self, key: str) -> str:
        raise NotImplementedError

    async def get(self, key: str, **options: Any) -> bytes:
        return await super().get(self.named(key), **options)

    async def put(self, key: str, data: Data, **options: Any) -> str:
        return await super().put(self.named(key), data, **options)

    async def delete(self, key: str, **options: Any) -> None:
        await super().delete(self.named(key), **options)

    async def exists(self, key: str) -> bool:
        return await super().exists(self.named(key))


class TrimsKeys(Renaming):
    """Takes trailing spaces and dots for nothing, as Windows does."""

    found_by = "test_nasty_keys_come_back_or_are_refused"

    def named(self, key: str) -> str:
        return key.rstrip(" .") or key


class NormalisesKeys(Renaming):
    """Takes composed and decomposed letters for the same, as macOS does."""

    found_by = "test_nasty_keys_come_back_or_are_refused"

    def named(self, key: str) -> str:
        return unicodedata.normalize("NFC", key)


class FoldsKeys(Renaming):
    """Takes upper and lower case for the same."""

    found_by = "test_nasty_keys_come_back_or_are_refused"

    def named(self, key: str) -> str:
        return key.lower()


class ResolvesKeys(Renaming):
    """Takes doubled slashes for one."""

    found_by = "test_nasty_keys_come_back_or_are_refused"

    def named(self, key: str) -> str:
        return key.replace("//", "/")


class ExistsTakesAnything(Wrong):
    """Says of an invalid key that it does not exist."""

    found_by = "test_no_store_takes_what_is_not_a_key"

    async def exists(self, key: str) -> bool:
        return key in self._objects


class ListsLikeJavaScript(Wrong):
    """Sorts by UTF-16."""

    found_by = "test_keys_come_in_code_point_order"

    async def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
        found = [key async for key in super().keys(prefix, start_after=start_after)]
        for key in sorted(found, key=lambda key: key.encode("utf-16-be")):
            yield key


class ListsByDirectory(Wrong):
    """Sorts by segments, as a walk through directories does."""

    found_by = "test_keys_come_in_code_point_order"

    async def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
        found = [key async for key in super().keys(prefix, start_after=start_after)]
        for key in sorted(found, key=lambda key: key.split("/")):
            yield key


class StartsAtStart(Wrong):
    """Lists start_after itself, too."""

    found_by = "test_every_key_is_its_own_start"

    async def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
        async for key in super().keys(prefix):
            if key >= start_after:
                yield key


class PrefixIsDirectory(Wrong):
    """Takes a prefix for a directory."""

    found_by = "test_prefix_and_start_after_select"

    async def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
        directory = prefix and prefix.rstrip("/") + "/"
        async for key in super().keys(directory, start_after=start_after):
            yield key


class ListsOnePage(Wrong):
    """Forgets that a page of 1,000 may not be all."""

    found_by = "test_listing_goes_on_over_pages"

    async def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
        number = 0
        async for key in super().keys(prefix, start_after=start_after):
            number += 1
            if number <= 1000:
                yield key


class LocksWhileListing(Wrong):
    """Holds its lock over the caller's code."""

    found_by = "test_listing_left_half_way_holds_nothing"

    def __init__(self) -> None:
        super().__init__()
        self.lock = asyncio.Lock()

    async def put(self, key: str, data: Data, **options: Any) -> str:
        async with asyncio.timeout(0.1):
            await self.lock.acquire()
        try:
            return await super().put(key, data, **options)
        finally:
            self.lock.release()

    async def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
        async with asyncio.timeout(0.1):
            await self.lock.acquire()
        try:
            async for key in super().keys(prefix, start_after=start_after):
                yield key
        finally:
            self.lock.release()


class ClearsByPattern(Wrong):
    """Takes ``_`` for any character."""

    found_by = "test_clear_takes_no_character_for_a_wildcard"

    async def clear(self, prefix: str = "") -> None:
        for key in list(self._objects):
            if len(key) >= len(prefix) and all(a in ("_", b) for a, b in zip(prefix, key, strict=False)):
                await self.delete(key)


class TalksJson(Wrong):
    """Keeps keys in a form that has no place for some of them."""

    found_by = "test_no_store_takes_what_is_not_a_key"

    async def head(self, key: str) -> ObjectInfo:
        return await super().head(json.loads(json.dumps(key)).encode("utf-8", "replace").decode())
