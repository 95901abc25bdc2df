"""`ValueTransform`: the base of the decorators whose objects are not bytes but values of another type."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import cast

from storage._concurrency.tasks import stream
from storage._core.bulk import pairs_of
from storage._core.traits import Trait
from storage.base import ObjectStore
from storage.decorators.bases.store_decorator import StoreDecorator
from storage.errors import CorruptObjectError, StorageError, UnsupportedOperationError
from storage.reader import ObjectReader
from storage.types import Attributes, ByteRange, Capabilities, Data, In, Items, Keys, ObjectInfo, Out

__all__ = ["ValueTransform"]


class ValueTransform(StoreDecorator[In, Out]):
    """
    A decorator that is two pure functions: `encode`, from a value to the bytes below, and `decode`, back.

    The type arguments are the types of the values that are put and read: ``class JsonStore(ValueTransform[Json,
    Json])``. `head`, `scan` and `open` describe and read the bytes below. `get` of a byte range is not supported.
    """

    _steppable = True
    _traits = frozenset({Trait.TRANSFORMS, Trait.VALUES})

    def __init__(self, base: ObjectStore) -> None:
        super().__init__(cast("ObjectStore[In, Out]", base))  # the methods that are forwarded do not use values
        self._bytes = base

    @abstractmethod
    def encode(self, value: In) -> Data:
        """
        Return the bytes that are stored below for *value*.

        Raises:
            TypeError: *value* is of a type that cannot be encoded.
            ValueError: *value* cannot be encoded.
        """

    @abstractmethod
    def decode(self, data: bytes) -> Out:
        """
        Return the value of which `encode` made this.

        Raises:
            CorruptObjectError: *data* is not a result of `encode`.
        """

    async def get(self, key: str, *, byte_range: ByteRange | None = None) -> Out:
        if byte_range is not None:
            raise UnsupportedOperationError(
                "a byte range of a value cannot be decoded: read its bytes with open()", key=key, store=self
            )
        return self._decode(key, await self._bytes.get(key))

    async def put(
        self,
        key: str,
        data: In,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        attributes: Attributes | None = None,
    ) -> str:
        encoded = self.encode(data)
        return await self._bytes.put(key, encoded, if_absent=if_absent, if_match=if_match, attributes=attributes)

    def open(self, key: str, *, byte_range: ByteRange | None = None) -> AbstractAsyncContextManager[ObjectReader]:
        return self._bytes.open(key, byte_range=byte_range)

    async def head(self, key: str) -> ObjectInfo:
        return await self._bytes.head(key)

    def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        return self._bytes.scan(prefix, start_after=start_after)

    async def get_many(self, keys: Keys) -> dict[str, Out | StorageError]:
        values: dict[str, Out | StorageError] = {}
        for key, result in (await self._bytes.get_many(keys)).items():
            try:
                values[key] = result if isinstance(result, StorageError) else self._decode(key, result)
            except CorruptObjectError as error:
                values[key] = error
        return values

    async def put_many(
        self,
        items: Items[In],
        *,
        raise_errors: bool = True,
    ) -> dict[str, str | StorageError]:
        async def encoded() -> AsyncIterator[tuple[str, Data]]:
            async for key, value in stream(pairs_of(items)):
                yield key, self.encode(value)

        return await self._bytes.put_many(encoded(), raise_errors=raise_errors)

    async def copy(self, source: str, target: str, *, if_absent: bool = False) -> str:
        return await self._bytes.copy(source, target, if_absent=if_absent)

    async def rename(self, source: str, target: str, *, if_absent: bool = False) -> str:
        return await self._bytes.rename(source, target, if_absent=if_absent)

    @property
    def capabilities(self) -> Capabilities:
        return self._supported(replace(self._bytes.capabilities, ranges=False, streaming=False))

    def _decode(self, key: str, data: bytes) -> Out:
        try:
            return self.decode(data)
        except CorruptObjectError as error:
            error.with_key(key).store = repr(self)
            raise
