"""`Interceptor`: the base of the decorators that do the same thing around every call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Generic, TypeVar

from storage.base import ObjectStore
from storage.decorators.bases.store_decorator import StoreDecorator
from storage.decorators.bases.streams import Around, WatchedStream, is_one_shot, size_of, takes_bytes
from storage.reader import ObjectReader, ReaderDecorator
from storage.types import Attributes, ByteRange, In, ObjectInfo, Out

__all__ = ["Call", "Interceptor"]

T = TypeVar("T")


class Call(Generic[T]):
    """
    A call to the store below. Calling this object begins it.

    Attributes:
        size: the number of bytes that it puts, if known beforehand; else 0.
        streams: whether it puts a stream.
    """

    __slots__ = ("_begin",)

    def __init__(self, begin: Callable[[], Awaitable[T]]) -> None:
        self._begin = begin

    @property
    def size(self) -> int:
        return 0

    @property
    def streams(self) -> bool:
        return False

    def __call__(self, around: Around | None = None) -> Awaitable[T]:
        """
        Begin the call, and return an awaitable of its result. It can be begun again, unless it puts a stream.

        Args:
            around: wraps each read from the stream that is put. It is awaited with a function that reads the next piece
                from the caller's iterable, or None after the last, and returns what that returns.
        """
        return self._begin()


class _Put(Call[str]):
    """A call of `put`, with its data."""

    __slots__ = ("_data", "_put", "_watched")

    def __init__(self, begin: Callable[[Any], Awaitable[str]], data: Any, watched: bool) -> None:
        self._put = begin
        self._data = data
        self._watched = watched

    @property
    def size(self) -> int:
        return (size_of(self._data) or 0) if self._watched else 0

    @property
    def streams(self) -> bool:
        return self._watched and is_one_shot(self._data)

    def __call__(self, around: Around | None = None) -> Awaitable[str]:
        if around is not None and self.streams:
            return self._put(WatchedStream(self._data, around))
        return self._put(self._data)


class Interceptor(StoreDecorator[In, Out]):
    """
    A decorator that is one method, `_intercept`, around every call to the store below.

    Each object of a bulk call is a separate call, unless a subclass overrides the bulk method too. Each step of a
    listing is a call. `open` is a call, and so is each read of the reader: between the calls nothing is intercepted.
    """

    _steppable = True

    def __init__(self, base: ObjectStore[In, Out]) -> None:
        super().__init__(base)
        self._takes_bytes = takes_bytes(base)

    async def _intercept(self, action: str, key: str | None, call: Call[T]) -> T:
        """
        Await ``call()``, and return its result. A subclass adds what it does before, after or instead of the call.

        Args:
            action: the method's name; ``"read"`` for each read of an open object, ``"next"`` for each step of a listing
                after the first.
            key: the object; the source of a copy or rename; None for a step of a listing.
            call: begins the call to the store below.
        """
        return await call()

    async def get(self, key: str, *, byte_range: ByteRange | None = None) -> Out:
        return await self._intercept("get", key, Call(partial(self.base.get, key, byte_range=byte_range)))

    async def put(
        self,
        key: str,
        data: In,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        attributes: Attributes | None = None,
    ) -> str:
        begin = partial(self.base.put, key, if_absent=if_absent, if_match=if_match, attributes=attributes)
        return await self._intercept("put", key, _Put(begin, data, self._takes_bytes))

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        await self._intercept("delete", key, Call(partial(self.base.delete, key, if_match=if_match)))

    async def exists(self, key: str) -> bool:
        return await self._intercept("exists", key, Call(partial(self.base.exists, key)))

    async def head(self, key: str) -> ObjectInfo:
        return await self._intercept("head", key, Call(partial(self.base.head, key)))

    @asynccontextmanager
    async def open(self, key: str, *, byte_range: ByteRange | None = None) -> AsyncIterator[ObjectReader]:
        async with AsyncExitStack() as opened:

            def begin() -> Awaitable[ObjectReader]:
                return opened.enter_async_context(self.base.open(key, byte_range=byte_range))

            reader = await self._intercept("open", key, Call(begin))
            yield _InterceptedReader(reader, self)

    def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
        return self._each_step("keys", self.base.keys(prefix, start_after=start_after))

    def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        return self._each_step("scan", self.base.scan(prefix, start_after=start_after))

    def children(self, prefix: str = "", delimiter: str = "/") -> AsyncIterator[str]:
        return self._each_step("children", self.base.children(prefix, delimiter))

    async def copy(self, source: str, target: str, *, if_absent: bool = False) -> str:
        return await self._intercept("copy", source, Call(partial(self.base.copy, source, target, if_absent=if_absent)))

    async def rename(self, source: str, target: str, *, if_absent: bool = False) -> str:
        begin = partial(self.base.rename, source, target, if_absent=if_absent)
        return await self._intercept("rename", source, Call(begin))

    async def _each_step(self, action: str, items: AsyncIterator[T]) -> AsyncIterator[T]:
        """Yield *items*; each step is intercepted."""

        async def step() -> T:
            return await anext(items, _END)

        call = Call(step)
        while (item := await self._intercept(action, None, call)) is not _END:
            yield item
            action = "next"


_END: Any = object()


class _InterceptedReader(ReaderDecorator):
    """A reader whose reads are intercepted."""

    def __init__(self, reader: ObjectReader, interceptor: Interceptor[Any, Any]) -> None:
        super().__init__(reader)
        self._interceptor = interceptor

    async def read(self, size: int = -1, /) -> bytes:
        return await self._interceptor._intercept("read", self.info.key, Call(partial(self.reader.read, size)))
