"""
`StoreDecorator`: the base of all decorators, which forwards every method of the contract.

There are three kinds of decorators. One that changes keys derives from
`storage.decorators.bases.key_transform.KeyTransform`, one that changes data from
`storage.decorators.bases.data_transform.DataTransform`. One that decides whether, when and where something happens
derives from `StoreDecorator` and overrides the methods that it changes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

from storage.base import ObjectStore
from storage.decorators.bases.stacking import check_order
from storage.errors import StorageError
from storage.reader import ObjectReader
from storage.types import Attributes, ByteRange, Capabilities, In, Items, Keys, ObjectInfo, Out

__all__ = ["StoreDecorator"]


class StoreDecorator(ObjectStore[In, Out]):
    """
    A store that forwards every call to the store below it, *base*.

    A subclass overrides the methods that it changes. Methods that are derived from an overridden method (``put_many``
    and ``copy`` from ``put``) then call it too, unless the subclass overrides them as well.

    A decorator over several stores returns them all from `_parts`; the methods that it does not override use *base*.

    Attributes:
        base: the store below.
    """

    _steppable = True

    def __init__(self, base: ObjectStore[In, Out]) -> None:
        check_order(self, base)
        self.base = base

    async def get(self, key: str, *, byte_range: ByteRange | None = None) -> Out:
        return await self.base.get(key, byte_range=byte_range)

    async def put(
        self,
        key: str,
        data: In,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        attributes: Attributes | None = None,
    ) -> str:
        return await self.base.put(key, data, if_absent=if_absent, if_match=if_match, attributes=attributes)

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        await self.base.delete(key, if_match=if_match)

    async def exists(self, key: str) -> bool:
        return await self.base.exists(key)

    def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
        return self.base.keys(prefix, start_after=start_after)

    async def head(self, key: str) -> ObjectInfo:
        return await self.base.head(key)

    def open(self, key: str, *, byte_range: ByteRange | None = None) -> AbstractAsyncContextManager[ObjectReader]:
        return self.base.open(key, byte_range=byte_range)

    async def get_many(self, keys: Keys) -> dict[str, Out | StorageError]:
        return await self.base.get_many(keys)

    async def put_many(
        self,
        items: Items[In],
        *,
        raise_errors: bool = True,
    ) -> dict[str, str | StorageError]:
        return await self.base.put_many(items, raise_errors=raise_errors)

    async def delete_many(self, keys: Keys, *, raise_errors: bool = True) -> dict[str, None | StorageError]:
        return await self.base.delete_many(keys, raise_errors=raise_errors)

    def children(self, prefix: str = "", delimiter: str = "/") -> AsyncIterator[str]:
        return self.base.children(prefix, delimiter)

    async def copy(self, source: str, target: str, *, if_absent: bool = False) -> str:
        return await self.base.copy(source, target, if_absent=if_absent)

    async def rename(self, source: str, target: str, *, if_absent: bool = False) -> str:
        return await self.base.rename(source, target, if_absent=if_absent)

    async def clear(self, prefix: str = "") -> None:
        await self.base.clear(prefix)

    def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        return self.base.scan(prefix, start_after=start_after)

    @property
    def capabilities(self) -> Capabilities:
        return self._supported(self.base.capabilities)

    def _parts(self) -> dict[str, ObjectStore[Any, Any]]:
        return {"base": self.base}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base!r})"
