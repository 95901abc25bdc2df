"""`KeyTransform`: the base of the decorators that change only keys."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, TypeVar

from storage._concurrency.tasks import stream
from storage._core.bulk import pairs_of, raise_failures
from storage._core.keys import check_key
from storage._core.left_out import LeftOut
from storage.base import ObjectStore
from storage.decorators.bases.store_decorator import StoreDecorator
from storage.errors import StorageError
from storage.reader import ObjectReader, ReaderDecorator
from storage.types import Attributes, ByteRange, Capabilities, In, Items, Keys, ObjectInfo, Out, replace_info

__all__ = ["KeyTransform"]

T = TypeVar("T")


class KeyTransform(StoreDecorator[In, Out]):
    """
    A decorator that is two pure functions: `encode`, from the caller's key to the key below, and `decode`, back.

    Errors, listings and descriptions have the caller's keys, never those of the store below.

    Attributes:
        keeps_order: whether `encode` keeps the order of keys and maps prefixes to prefixes. If so, listings below are
            passed on; if not, `keys` collects and sorts them.
    """

    _steppable = True
    keeps_order: ClassVar[bool] = False

    @abstractmethod
    def encode(self, key: str) -> str:
        """
        Return the key below for the caller's *key*.

        Raises:
            InvalidKeyError: there is no key below for it.
        """

    def encode_prefix(self, prefix: str) -> str:
        """
        Return a prefix of all keys below whose caller's keys start with *prefix*; ``""`` if there is none.

        If the order is kept this is `encode` by default, which must then accept any start of a key, even ``""``.
        """
        return self.encode(prefix) if self.keeps_order else ""

    @abstractmethod
    def decode(self, inner: str) -> str | None:
        """Return the caller's key for the key *inner* below, or None if that is not a key of this store."""

    def _inner(self, key: str) -> str:
        return self.encode(check_key(key, self))

    async def get(self, key: str, *, byte_range: ByteRange | None = None) -> Out:
        inner = self._inner(key)
        try:
            return await self.base.get(inner, byte_range=byte_range)
        except StorageError as error:
            _restore_key(error, {inner: key})
            raise

    async def put(
        self,
        key: str,
        data: In,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        attributes: Attributes | None = None,
    ) -> str:
        inner = self._inner(key)
        try:
            return await self.base.put(inner, data, if_absent=if_absent, if_match=if_match, attributes=attributes)
        except StorageError as error:
            _restore_key(error, {inner: key})
            raise

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        inner = self._inner(key)
        try:
            await self.base.delete(inner, if_match=if_match)
        except StorageError as error:
            _restore_key(error, {inner: key})
            raise

    async def exists(self, key: str) -> bool:
        inner = self._inner(key)
        try:
            return await self.base.exists(inner)
        except StorageError as error:
            _restore_key(error, {inner: key})
            raise

    async def head(self, key: str) -> ObjectInfo:
        inner = self._inner(key)
        try:
            return replace_info(await self.base.head(inner), key=key)
        except StorageError as error:
            _restore_key(error, {inner: key})
            raise

    @asynccontextmanager
    async def open(self, key: str, *, byte_range: ByteRange | None = None) -> AsyncIterator[ObjectReader]:
        inner = self._inner(key)
        async with AsyncExitStack() as opened:
            try:
                reader = await opened.enter_async_context(self.base.open(inner, byte_range=byte_range))
            except StorageError as error:
                _restore_key(error, {inner: key})
                raise
            yield reader if inner == key else _RenamedReader(reader, key)

    async def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
        if self.keeps_order:
            below = self.base.keys(
                self.encode_prefix(prefix), start_after=start_after and self.encode_prefix(start_after)
            )
            with LeftOut(self, self.decode):
                async for inner in below:
                    if key := self.decode(inner):
                        yield key
        else:
            with LeftOut(self, partial(self._listed, prefix, start_after)) as left_out:
                below = left_out.reading(self.base.keys(self.encode_prefix(prefix)))
                found = [self._listed(prefix, start_after, inner) async for inner in below]
                for key in sorted(filter(None, found)):
                    yield key

    async def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        if self.keeps_order:
            below = self.base.scan(
                self.encode_prefix(prefix), start_after=start_after and self.encode_prefix(start_after)
            )
            with LeftOut(self, self.decode):
                async for info in below:
                    if key := self.decode(info.key):
                        yield replace_info(info, key=key)
        else:  # one listing below, not one `head` for each key
            with LeftOut(self, partial(self._listed, prefix, start_after)) as left_out:
                found: dict[str, ObjectInfo] = {}
                async for info in left_out.reading(self.base.scan(self.encode_prefix(prefix))):
                    if key := self._listed(prefix, start_after, info.key):
                        found[key] = info
                for key in sorted(found):
                    yield replace_info(found[key], key=key)

    def _listed(self, prefix: str, start_after: str, inner: str) -> str | None:
        """Return the caller's key for *inner* if a listing with these arguments has it."""
        key = self.decode(inner)
        return key if key and key.startswith(prefix) and key > start_after else None

    def children(self, prefix: str = "", delimiter: str = "/") -> AsyncIterator[str]:
        return ObjectStore[In, Out].children(self, prefix, delimiter)

    async def get_many(self, keys: Keys) -> dict[str, Out | StorageError]:
        return await self._bulk(keys, self.base.get_many)

    async def put_many(
        self,
        items: Items[In],
        *,
        raise_errors: bool = True,
    ) -> dict[str, str | StorageError]:
        callers_keys: dict[str, str] = {}
        refused: dict[str, str | StorageError] = {}

        async def renamed() -> AsyncIterator[tuple[str, In]]:
            async for key, data in stream(pairs_of(items)):
                try:
                    inner = self._inner(key)
                except StorageError as error:
                    refused[key] = error
                else:
                    callers_keys[inner] = key
                    yield inner, data

        results = await self.base.put_many(renamed(), raise_errors=False)
        return raise_failures(refused | _restore_keys(results, callers_keys), self, raise_errors)

    async def delete_many(self, keys: Keys, *, raise_errors: bool = True) -> dict[str, None | StorageError]:
        async def delete(below: Iterable[str]) -> dict[str, None | StorageError]:
            return await self.base.delete_many(below, raise_errors=False)

        return raise_failures(await self._bulk(keys, delete), self, raise_errors)

    async def copy(self, source: str, target: str, *, if_absent: bool = False) -> str:
        return await self._move(self.base.copy, source, target, if_absent)

    async def rename(self, source: str, target: str, *, if_absent: bool = False) -> str:
        return await self._move(self.base.rename, source, target, if_absent)

    async def clear(self, prefix: str = "") -> None:
        await ObjectStore[In, Out].clear(self, prefix)  # key by key: other keys below may start with the prefix, too

    @property
    def capabilities(self) -> Capabilities:
        below = self.base.capabilities
        return self._supported(replace(below, bounded_listing=below.bounded_listing and self.keeps_order))

    async def _move(self, work: Callable[..., Awaitable[str]], source: str, target: str, if_absent: bool) -> str:
        inner_source, inner_target = self._inner(source), self._inner(target)
        try:
            return await work(inner_source, inner_target, if_absent=if_absent)
        except StorageError as error:
            _restore_key(error, {inner_target: target, inner_source: source})
            raise

    async def _bulk(self, keys: Keys, work: Callable[[Iterable[str]], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
        """Make one bulk call below for the caller's keys; the result of a key that `encode` refuses is its error."""
        callers_keys: dict[str, str] = {}
        refused: dict[str, Any] = {}
        async for key in stream(keys):
            try:
                callers_keys[self._inner(key)] = key
            except StorageError as error:
                refused[key] = error
        return refused | _restore_keys(await work(callers_keys), callers_keys)


def _restore_key(error: StorageError, callers_keys: Mapping[str, str]) -> None:
    """Put the caller's key into an error about a key below. Others, say of the caller's iterable, stay unchanged."""
    if key := callers_keys.get(error.key or ""):
        error.with_key(key)


def _restore_keys(results: dict[str, T], callers_keys: dict[str, str]) -> dict[str, T]:
    """Return the results of a bulk call under the caller's keys, which their errors then have, too."""
    for result in results.values():
        if isinstance(result, StorageError):
            _restore_key(result, callers_keys)
    return {callers_keys[inner]: result for inner, result in results.items()}


class _RenamedReader(ReaderDecorator):
    """A reader whose description and errors have the caller's key."""

    def __init__(self, reader: ObjectReader, key: str) -> None:
        super().__init__(reader, replace_info(reader.info, key=key))

    async def read(self, size: int = -1, /) -> bytes:
        try:
            return await super().read(size)
        except StorageError as error:
            _restore_key(error, {self.reader.info.key: self.info.key})
            raise
