"""
The contract: `ObjectStore`.

Five methods make a store: `get`, `put`, `delete`, `exists` and `keys`. Everything else on the class has a default built
on the five, which a store overrides where it can do better. What the methods mean is the same on every store and
through every decorator; the conformance suite (`storage.testing`) holds them to it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any, ClassVar, Generic, cast

from storage._concurrency.tasks import for_each
from storage._core.bulk import pages, pairs_of, raise_failures, result_of, results_of
from storage._core.data import etag_of
from storage._core.lifecycle import Lifecycle, enter_all
from storage._core.subclass_table import register_subclass
from storage._core.subclassing import complete_class
from storage._core.traits import Trait
from storage.errors import KeyNotFoundError, PreconditionFailedError, StorageError, StoreUnavailableError
from storage.reader import BytesReader, ObjectReader
from storage.types import Attributes, ByteRange, Capabilities, In, Items, Keys, ObjectInfo, Out, replace_info

__all__ = ["ATTEMPTS", "ObjectStore"]

#: How often an object that keeps changing is read again before an operation gives up; with 10, eight tasks that did
#: nothing but replace one object kept another from reading it once in some hundred runs.
ATTEMPTS = 100


class ObjectStore(Lifecycle, ABC, Generic[In, Out]):
    """
    A place that keeps bytes under keys.

    A key is any non-empty text that encodes to UTF-8. A store that cannot hold some keys refuses them with
    `InvalidKeyError`, in every method; none changes a key silently. ``b""`` is a value like any other.

    A subclass implements the five abstract methods, and may leave out their keyword options: what can be emulated then
    is (a range is cut from the whole, a stream joined, an etag is a hash), the rest raises `UnsupportedOperationError`.
    """

    #: Set to True by a class none of whose coroutines ever suspend when stepped; not inherited past an override.
    _steppable: ClassVar[bool] = False

    #: Capabilities that a class's overrides and their signatures take away, and the native `head` behind an overridden
    #: `get`; both found by `storage._core.subclassing.complete_class`.
    _lost_capabilities: ClassVar[frozenset[str]] = frozenset()
    _described_by: ClassVar[Callable[[Any, str], Awaitable[ObjectInfo]] | None] = None

    #: The stores of `_parts`, while they are entered.
    _entered: AsyncExitStack | None = None

    #: What a store does to objects or calls, by which `storage.decorators.bases.stacking` finds stacks that cannot be
    #: right.
    _traits: frozenset[Trait] = frozenset()

    #: Those of `_parts` that hold copies only, of what other parts have.
    _copies_in: frozenset[str] = frozenset()

    def __init_subclass__(cls, *, name: str | tuple[str, ...] = (), **options: Any) -> None:
        """
        Make *cls* a whole store, and known to `storage.registry`.

        Args:
            name: short names, which configurations and URLs may use: ``class ShelfStore(ObjectStore, name="shelf")``.
            options: for other base classes.
        """
        super().__init_subclass__(**options)
        complete_class(cls, ObjectStore)
        register_subclass(cls, name)

    # -- the five ------------------------------------------------------------------------------------------------

    @abstractmethod
    async def get(self, key: str, *, byte_range: ByteRange | None = None) -> Out:
        """
        Return the object's bytes, or those of *byte_range*.

        Raises:
            KeyNotFoundError: there is no such object.
            RangeNotSatisfiableError: the range starts behind the object's end.
        """

    @abstractmethod
    async def put(
        self,
        key: str,
        data: In,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        attributes: Attributes | None = None,
    ) -> str:
        """
        Store *data* under *key* and return the new etag; readers see the old object or the new one, never half.

        A put that fails, is cancelled or killed leaves the old object. An iterable is streamed, and what it raises
        passes unchanged. Without *attributes* the new object has none.

        Args:
            key: the name of the object.
            data: its bytes, or an iterable or async iterable of them.
            if_absent: create only: of many concurrent creators exactly one wins.
            if_match: replace only the version of this etag (compare-and-swap).
            attributes: text to keep beside the bytes, under lower-case names.

        Raises:
            KeyExistsError: *if_absent*, and there is an object.
            PreconditionFailedError: *if_match*, and the object is another version or missing.
            InvalidKeyError: this store cannot hold an object of this key.
            TypeError: *data* is ``str`` or not bytes at all.
            ValueError: both conditions were given.
        """

    @abstractmethod
    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        """
        See to it that there is no object of this key; a missing one is no error.

        Raises:
            PreconditionFailedError: *if_match*, and the object is another version or missing.
        """

    @abstractmethod
    async def exists(self, key: str) -> bool:
        """Return whether there is an object of this key."""

    @abstractmethod
    def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
        """
        Yield every key that starts with *prefix* and sorts behind *start_after*, once, in code-point order.

        Objects may come and go meanwhile: a key that is there throughout is yielded, one that is not may be.
        """

    # -- with a default ------------------------------------------------------------------------------------------

    async def head(self, key: str) -> ObjectInfo:
        """
        Return the object's size, etag, time and attributes, without its bytes.

        Raises:
            KeyNotFoundError: there is no such object.
        """
        async with self.open(key) as reader:
            return reader.info

    def open(self, key: str, *, byte_range: ByteRange | None = None) -> AbstractAsyncContextManager[ObjectReader]:
        """
        Open the object for reading in pieces: ``async with store.open(key) as reader: await reader.read(1000)``.

        All that the reader gives is of one version, the one that ``reader.info`` describes.

        Raises:
            KeyNotFoundError: there is no such object.
            RangeNotSatisfiableError: the range starts behind the object's end.
        """
        return self._open_whole(key, byte_range)

    async def get_many(self, keys: Keys) -> dict[str, Out | StorageError]:
        """Return for every key its bytes, or the `StorageError` that `get` would have raised."""
        return await results_of(keys, self.get)

    async def put_many(
        self,
        items: Items[In],
        *,
        raise_errors: bool = True,
    ) -> dict[str, str | StorageError]:
        """
        Put every (key, data) and return for every key its etag; all are tried, also when some fail.

        Raises:
            BulkError: some failed; its ``results`` hold for every key its etag or its `StorageError`. With
                ``raise_errors=False`` these results are returned instead.
        """
        import anyio

        results: dict[str, str | StorageError] = {}
        last: dict[str, anyio.Event] = {}

        async def put(item: tuple[str, In]) -> None:
            key, data = item
            before = last.get(key)
            last[key] = done = anyio.Event()
            try:
                if before is not None:  # the same key again: the last one wins, so they go in turn
                    await before.wait()
                results[key] = await result_of(self.put(key, data))
            finally:
                if last.get(key) is done:
                    del last[key]
                done.set()

        await for_each(pairs_of(items), put)
        return raise_failures(results, self, raise_errors)

    async def delete_many(self, keys: Keys, *, raise_errors: bool = True) -> dict[str, None | StorageError]:
        """
        Delete every key and return for every key None; all are tried, also when some fail.

        Raises:
            BulkError: some failed; its ``results`` hold for every key None or its `StorageError`. With
                ``raise_errors=False`` these results are returned instead.
        """
        return raise_failures(await results_of(keys, self.delete), self, raise_errors)

    async def children(self, prefix: str = "", delimiter: str = "/") -> AsyncIterator[str]:
        """
        Yield the names one level below *prefix*, in order: keys, and common prefixes, which end in *delimiter*.

        All are whole: ``children("a/")`` yields ``"a/b"`` and ``"a/c/"``.
        """
        if not delimiter:
            raise ValueError("a delimiter is not empty")
        last = None
        async for key in self.keys(prefix):
            name, found, _ = key[len(prefix) :].partition(delimiter)
            child = prefix + name + found
            if child != last:
                yield child
                last = child

    async def copy(self, source: str, target: str, *, if_absent: bool = False) -> str:
        """
        Copy an object with its attributes inside the store and return the copy's etag.

        Raises:
            KeyNotFoundError: there is no object *source*.
            KeyExistsError: *if_absent*, and there is an object *target*.
        """
        async with self.open(source) as reader:
            data = cast(In, reader)  # a store of other values than bytes has a reader of these
            return await self.put(target, data, if_absent=if_absent, attributes=reader.info.attributes)

    async def rename(self, source: str, target: str, *, if_absent: bool = False) -> str:
        """
        Move an object inside the store and return its etag; onto itself it does nothing.

        It is one atomic step where the back end has one, else a copy and then a delete.

        Raises:
            KeyNotFoundError: there is no object *source*.
            KeyExistsError: *if_absent*, and there is an object *target*.
        """
        if source == target and not if_absent:
            return (await self.head(source)).etag
        conditional = self.capabilities.conditional_delete
        for _ in range(ATTEMPTS):
            copied = (await self.head(source)).etag if conditional else None
            etag = await self.copy(source, target, if_absent=if_absent)
            try:
                await self.delete(source, if_match=copied)  # a version put meanwhile is moved as well, and not lost
            except PreconditionFailedError:
                if not await self.exists(source):
                    return etag
                if_absent = False  # the target is the copy that we have just made
            else:
                return etag
        raise StoreUnavailableError(
            f"the object changed during each of {ATTEMPTS} attempts to rename it; try again", key=source, store=self
        )

    async def clear(self, prefix: str = "") -> None:
        """
        Delete every object whose key starts with *prefix*.

        Raises:
            BulkError: some could not be deleted; all were tried.
        """
        failed: dict[str, None | StorageError] = {}
        async for page in pages(self.keys(prefix)):
            results = await self.delete_many(page, raise_errors=False)
            failed.update((key, result) for key, result in results.items() if result is not None)
        raise_failures(failed, self, raise_errors=True)

    async def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        """Yield like `keys`, but the object's description instead of its key; an object gone meanwhile is left out."""
        async for key in self.keys(prefix, start_after=start_after):
            try:
                info = await self.head(key)
            except KeyNotFoundError:
                continue
            yield info

    @asynccontextmanager
    async def _open_whole(self, key: str, byte_range: ByteRange | None) -> AsyncIterator[ObjectReader]:
        """Open an object by reading all of it."""
        data, info = await self._read_whole(key)
        yield BytesReader(info, data, byte_range)

    async def _read_whole(self, key: str) -> tuple[bytes, ObjectInfo]:
        """
        Return an object's bytes and the description of that very version.

        A class that has a `head` of its own but overrides `get` is asked before and after: the etag must be the one
        that `put` understands, the size that of the bytes. A store with the five methods only is read once.
        """
        describe = type(self)._described_by
        if describe is None:
            data = cast(bytes, await self.get(key))
            return data, ObjectInfo(key, len(data), etag_of(data))
        for _ in range(ATTEMPTS):
            before = await describe(self, key)
            data = cast(bytes, await self.get(key))
            if before.etag == (await describe(self, key)).etag:
                return data, replace_info(before, size=len(data))
        raise StoreUnavailableError(
            f"the object changed during each of {ATTEMPTS} reads; try again", key=key, store=self
        )

    # Optional, and private: `copy_store` uses them where a class has its own.

    async def _get_small(self, keys: Sequence[str]) -> list[tuple[bytes, Attributes] | None]:
        """
        Return for every key the bytes and attributes of an object of up to `SMALL` bytes, None for any other.

        For classes that read many at once better than one by one; larger, missing and failing ones are read otherwise.
        """
        raise NotImplementedError

    async def _put_small(self, items: Sequence[tuple[str, bytes, Attributes | None]]) -> list[str | StorageError]:
        """Put every (key, bytes, attributes), and return for each its etag or its error; for classes likewise."""
        raise NotImplementedError

    # -- about itself --------------------------------------------------------------------------------------------

    @property
    def capabilities(self) -> Capabilities:
        """What this store, through all its decorators, really does."""
        return self._supported(
            Capabilities(
                conditional_put=True, conditional_delete=True, attributes=True, ranges=True, bounded_listing=True
            )
        )

    def _supported(self, declared: Capabilities) -> Capabilities:
        """Return what the class body declares, less what its overrides and their signatures take away."""
        return replace(declared, **dict.fromkeys(self._lost_capabilities, False))

    def _parts(self) -> dict[str, ObjectStore[Any, Any]]:
        """Return the stores that this one is made of, by the names of its parameters; entering it enters them."""
        return {}

    async def _open(self) -> None:
        self._entered = await enter_all(list(self._parts().values()))

    async def _close(self) -> None:
        entered, self._entered = self._entered, None
        if entered is not None:
            await entered.aclose()

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"
