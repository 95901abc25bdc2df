"""`Interceptor`: the base of the decorators that do the same thing around every call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, TypeVar

from storage.decorators.base import StoreDecorator
from storage.reader import ObjectReader
from storage.types import Attributes, ByteRange, In, ObjectInfo, Out

__all__ = ["Interceptor"]

T = TypeVar("T")


class Interceptor(StoreDecorator[In, Out]):
    """
    A decorator that is one method, `intercept`, around every call to the store below.

    Each object of a bulk call is a call of its own, unless a subclass overrides the bulk method too. A listing is a
    call for each step, an open object one to open it and one for each read: nothing is held between them.
    """

    _steppable = True

    async def intercept(self, action: str, key: str | None, call: Callable[[], Awaitable[T]]) -> T:
        """
        Await what *call* returns, and return it; a subclass does what it is about before, after or instead.

        Args:
            action: the method's name; ``"read"`` for a read of an open object.
            key: the object, or None for a step of a listing.
            call: begins the call below. It can be called again, but for the data of a `put` that is a stream.
        """
        return await call()

    async def get(self, key: str, *, byte_range: ByteRange | None = None) -> Out:
        return await self.intercept("get", key, partial(self.base.get, key, byte_range=byte_range))

    async def put(
        self,
        key: str,
        data: In,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        attributes: Attributes | None = None,
    ) -> str:
        call = partial(self.base.put, key, data, if_absent=if_absent, if_match=if_match, attributes=attributes)
        return await self.intercept("put", key, call)

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        await self.intercept("delete", key, partial(self.base.delete, key, if_match=if_match))

    async def exists(self, key: str) -> bool:
        return await self.intercept("exists", key, partial(self.base.exists, key))

    async def head(self, key: str) -> ObjectInfo:
        return await self.intercept("head", key, partial(self.base.head, key))

    @asynccontextmanager
    async def open(self, key: str, *, byte_range: ByteRange | None = None) -> AsyncIterator[ObjectReader]:
        async with AsyncExitStack() as opened:
            reader = await self.intercept(
                "open", key, lambda: opened.enter_async_context(self.base.open(key, byte_range=byte_range))
            )
            yield _InterceptedReader(reader, self.intercept)

    def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
        return self._steps("keys", self.base.keys(prefix, start_after=start_after))

    def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        return self._steps("scan", self.base.scan(prefix, start_after=start_after))

    def children(self, prefix: str = "", delimiter: str = "/") -> AsyncIterator[str]:
        return self._steps("children", self.base.children(prefix, delimiter))

    async def copy(self, source: str, target: str, *, if_absent: bool = False) -> str:
        return await self.intercept("copy", source, partial(self.base.copy, source, target, if_absent=if_absent))

    async def rename(self, source: str, target: str, *, if_absent: bool = False) -> str:
        return await self.intercept("rename", source, partial(self.base.rename, source, target, if_absent=if_absent))

    async def _steps(self, action: str, items: AsyncIterator[T]) -> AsyncIterator[T]:
        """Yield *items*, each step a call."""

        async def step() -> T:
            return await anext(items, _END)

        while (item := await self.intercept(action, None, step)) is not _END:
            yield item


_END: Any = object()


class _InterceptedReader(ObjectReader):
    """A reader whose every read is a call."""

    def __init__(self, reader: ObjectReader, intercept: Callable[..., Awaitable[bytes]]) -> None:
        super().__init__(reader.info)
        self._reader = reader
        self._intercept = intercept

    async def read(self, size: int = -1, /) -> bytes:
        return await self._intercept("read", self.info.key, partial(self._reader.read, size))

    def seekable(self) -> bool:
        return self._reader.seekable()

    async def seek(self, offset: int, /) -> None:
        await self._reader.seek(offset)
