"""`WriteonlyStore`: objects can be written, but not read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from storage._core.claims import claimed
from storage.base import ObjectStore
from storage.decorators.bases.store_decorator import StoreDecorator
from storage.errors import ConfigError, StorageError, UnsupportedOperationError
from storage.reader import ObjectReader
from storage.types import ByteRange, Capabilities, In, Keys, ObjectInfo, Out

__all__ = ["WriteonlyStore"]


class WriteonlyStore(StoreDecorator[In, Out]):
    """
    Objects can be put, deleted and cleared. Every method that would read or list objects raises
    `UnsupportedOperationError`, and so do `exists`, and `copy` and `rename`, which read what they write.

    The conditions of `put` and `delete` work as in the store below, so that they show whether there is an object.

    Args:
        base: the store below.

    Raises:
        ConfigError: *base* cannot be written to.
    """

    _steppable = True

    def __init__(self, base: ObjectStore[In, Out]) -> None:
        super().__init__(base)
        if not claimed(base).writable:
            raise ConfigError(
                f"{type(self).__name__} over {type(base).__name__}, which cannot be written to: together they can do "
                "nothing; remove one of them"
            )

    async def get(self, key: str, *, byte_range: ByteRange | None = None) -> Out:
        raise self._unsupported("get", key)

    async def exists(self, key: str) -> bool:
        raise self._unsupported("exists", key)

    async def head(self, key: str) -> ObjectInfo:
        raise self._unsupported("head", key)

    @asynccontextmanager
    async def open(self, key: str, *, byte_range: ByteRange | None = None) -> AsyncIterator[ObjectReader]:
        raise self._unsupported("open", key)
        yield  # pragma: no cover

    async def get_many(self, keys: Keys) -> dict[str, Out | StorageError]:
        raise self._unsupported("get_many")

    def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
        return self._unsupported_listing("keys")

    def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        return self._unsupported_listing("scan")

    def children(self, prefix: str = "", delimiter: str = "/") -> AsyncIterator[str]:
        return self._unsupported_listing("children")

    async def copy(self, source: str, target: str, *, if_absent: bool = False) -> str:
        raise self._unsupported("copy", source)

    async def rename(self, source: str, target: str, *, if_absent: bool = False) -> str:
        raise self._unsupported("rename", source)

    async def clear(self, prefix: str = "") -> None:
        await self.base.clear(prefix)

    @property
    def capabilities(self) -> Capabilities:
        below = self.base.capabilities
        return self._supported(
            replace(below, readable=False, listable=False, ranges=False, bounded_listing=False, cheap_head=False)
        )

    async def _unsupported_listing(self, operation: str) -> AsyncIterator[Any]:
        """Return a listing that raises the error at its first step, as other methods do when they are awaited."""
        raise self._unsupported(operation)
        yield  # pragma: no cover

    def _unsupported(self, operation: str, key: str | None = None) -> UnsupportedOperationError:
        return UnsupportedOperationError(f"{operation} on a write-only store", key=key, store=self)
