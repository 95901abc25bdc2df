"""
The synchronous face seen as an async store, so that the suite that judges the async stores judges it, too.

`View` makes each call in a thread, as a program without an event loop would, and 50 concurrent calls in 50 threads.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager
from functools import cache, partial
from itertools import chain, islice, repeat
from queue import SimpleQueue
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

import storage.sync
from storage import Attributes, ByteRange, Capabilities, Data, ObjectInfo, ObjectReader, ObjectStore, StorageError
from storage.types import Items, Keys

__all__ = ["View"]

P = ParamSpec("P")
T = TypeVar("T")

#: More threads than any test makes calls at once: a call that waits for another one must not wait for its thread.
THREADS = 64

#: Doublings of the steps through an iterator that are made in one thread, so that long ones do not take for ever.
STEPS = 6

_calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
_END: Any = object()


@cache
def _start_threads() -> None:
    """Have threads that take from the queue of calls. An executor does the same in half as much time again."""

    def work() -> None:
        while True:
            _calls.get()()

    for number in range(THREADS):
        threading.Thread(target=work, name=f"view-{number}", daemon=True).start()


class _Call(threading.local):
    """In a thread of a view: the call that it makes, if any."""

    now: _Running | None = None


_call = _Call()


class _Running:
    """One synchronous call in a thread, which may pull from async iterables of the test's loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._pulling: Future[Any] | None = None
        self._cancelled = False

    async def result(self, work: Callable[[], T]) -> T:
        """Return what *work* returns. A cancellation waits for the thread, as the async stores' own does."""
        _start_threads()
        ended: asyncio.Future[T] = self._loop.create_future()
        _calls.put(partial(self._run, work, ended))
        try:
            return await asyncio.shield(ended)
        except asyncio.CancelledError:
            self._cancelled = True
            if self._pulling is not None:
                self._pulling.cancel()
            await asyncio.wait([ended])
            ended.exception()
            raise

    def pull(self, step: Coroutine[Any, Any, T]) -> T:
        """In the thread: return what a coroutine gives that belongs to the test's loop."""
        self._pulling = asyncio.run_coroutine_threadsafe(step, self._loop)
        if self._cancelled:
            self._pulling.cancel()
        result: T = self._pulling.result()
        return result

    def _run(self, work: Callable[[], T], ended: asyncio.Future[T]) -> None:
        _call.now = self
        try:
            result = work()
        except BaseException as error:
            self._loop.call_soon_threadsafe(ended.set_exception, error)
        else:
            self._loop.call_soon_threadsafe(ended.set_result, result)
        finally:
            _call.now = None


async def _in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    return await _Running().result(partial(work, *args, **kwargs))


def _plain(items: Iterable[T] | AsyncIterable[T]) -> Iterable[T]:
    """Return *items* as an iterable that a thread can walk through."""
    return _walk(items) if isinstance(items, AsyncIterable) else items


def _walk(items: AsyncIterable[T]) -> Iterator[T]:
    call = _call.now
    assert call is not None
    iterator = aiter(items)

    async def step() -> T:
        return await anext(iterator, _END)

    while (item := call.pull(step())) is not _END:
        yield item


def _plain_data(data: Data) -> storage.sync.Data:
    return _plain(data) if isinstance(data, AsyncIterable) else data


def _plain_items(
    items: Items[Data],
) -> Mapping[str, storage.sync.Data] | Iterable[tuple[str, storage.sync.Data]]:
    if isinstance(items, Mapping):
        return {key: _plain_data(data) for key, data in items.items()}
    return ((key, _plain_data(data)) for key, data in _plain(items))


async def _awaited(begin: Callable[[], Iterator[T]]) -> AsyncIterator[T]:
    """Walk through a synchronous iterator: one step in some thread, then two in another one, then four, ..."""
    iterator: Iterator[T] | None = None

    def steps(count: int) -> list[T]:
        nonlocal iterator
        iterator = iterator or begin()
        return list(islice(iterator, count))

    for count in map((1).__lshift__, chain(range(STEPS), repeat(STEPS))):
        items = await _in_thread(steps, count)
        for item in items:
            yield item
        if len(items) < count:
            return


class View(ObjectStore):
    """
    The async store that a synchronous one is when its calls are made in threads.

    Attributes:
        face: the synchronous store.
    """

    def __init__(self, face: storage.sync.ObjectStore) -> None:
        self.face = face

    async def get(self, key: str, *, byte_range: ByteRange | None = None) -> bytes:
        return await _in_thread(self.face.get, key, byte_range=byte_range)

    async def put(
        self,
        key: str,
        data: Data,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        attributes: Attributes | None = None,
    ) -> str:
        return await _in_thread(
            self.face.put, key, _plain_data(data), if_absent=if_absent, if_match=if_match, attributes=attributes
        )

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        await _in_thread(self.face.delete, key, if_match=if_match)

    async def exists(self, key: str) -> bool:
        return await _in_thread(self.face.exists, key)

    def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
        return _awaited(lambda: self.face.keys(prefix, start_after=start_after))

    async def head(self, key: str) -> ObjectInfo:
        return await _in_thread(self.face.head, key)

    @asynccontextmanager
    async def open(self, key: str, *, byte_range: ByteRange | None = None) -> AsyncIterator[ObjectReader]:
        file = await _in_thread(self.face.open, key, byte_range=byte_range)
        try:
            yield _FileReader(file)
        finally:
            await _in_thread(file.close)

    async def get_many(self, keys: Keys) -> dict[str, bytes | StorageError]:
        return await _in_thread(self.face.get_many, _plain(keys))

    async def put_many(
        self,
        items: Items[Data],
        *,
        raise_errors: bool = True,
    ) -> dict[str, str | StorageError]:
        return await _in_thread(self.face.put_many, _plain_items(items), raise_errors=raise_errors)

    async def delete_many(self, keys: Keys, *, raise_errors: bool = True) -> dict[str, None | StorageError]:
        return await _in_thread(self.face.delete_many, _plain(keys), raise_errors=raise_errors)

    def children(self, prefix: str = "", delimiter: str = "/") -> AsyncIterator[str]:
        return _awaited(lambda: self.face.children(prefix, delimiter))

    async def copy(self, source: str, target: str, *, if_absent: bool = False) -> str:
        return await _in_thread(self.face.copy, source, target, if_absent=if_absent)

    async def rename(self, source: str, target: str, *, if_absent: bool = False) -> str:
        return await _in_thread(self.face.rename, source, target, if_absent=if_absent)

    async def clear(self, prefix: str = "") -> None:
        await _in_thread(self.face.clear, prefix)

    def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        return _awaited(lambda: self.face.scan(prefix, start_after=start_after))

    @property
    def capabilities(self) -> Capabilities:
        return self.face.capabilities

    async def __aenter__(self) -> Self:
        await _in_thread(self.face.__enter__)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await _in_thread(self.face.__exit__, kind, error, traceback)

    async def aclose(self) -> None:
        await _in_thread(self.face.close)

    def __repr__(self) -> str:
        return f"View({self.face!r})"


class _FileReader(ObjectReader):
    """The reader that a file is when its calls are made in threads."""

    def __init__(self, file: storage.sync.ObjectFile) -> None:
        super().__init__(file.info)
        self._file = file

    async def read(self, size: int = -1, /) -> bytes:
        return await _in_thread(self._file.read, size)

    def seekable(self) -> bool:
        return self._file.seekable()

    async def seek(self, offset: int, /) -> None:
        if not self.seekable():
            await super().seek(offset)
        await _in_thread(self._file.seek, offset)
