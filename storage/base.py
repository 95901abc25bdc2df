"""
The contract: `ObjectStore`.

A store implements five methods: `get`, `put`, `delete`, `exists` and `keys`. All others have a default built on these
five, which a store overrides where it can do better. The methods mean the same on every store and through every
decorator; the conformance suite (`storage.testing`) tests that.
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
from storage._core.deadlines import WrongLifetimeError, copied_attributes
from storage._core.left_out import LeftOut
from storage._core.lifecycle import Lifecycle, enter_all
from storage._core.renaming import rename_by_copy
from storage._core.subclass_table import register_subclass
from storage._core.subclassing import complete_class
from storage._core.traits import Trait
from storage.errors import (
    CorruptObjectError,
    KeyNotFoundError,
    StorageError,
    StoreUnavailableError,
)
from storage.reader import BytesReader, ObjectReader
from storage.types import Attributes, ByteRange, Capabilities, In, Items, Keys, ObjectInfo, Out, replace_info

__all__ = ["ATTEMPTS", "ObjectStore"]

#: How often an operation reads an object that keeps changing before it gives up. With 10, eight tasks that only
#: replaced one object kept another task from reading it in about one of a hundred runs.
ATTEMPTS = 100


class ObjectStore(Lifecycle, ABC, Generic[In, Out]):
    """
    A store of bytes under keys.

    A key is any non-empty text that encodes to UTF-8. A store that cannot hold some keys refuses them with
    `InvalidKeyError` in every method; no store changes a key silently. ``b""`` is a value like any other.

    A subclass implements the five abstract methods, and may leave out their keyword options. Some are then emulated (a
    range is cut from the whole object, a stream is joined, the etag is a hash); the others raise
    `UnsupportedOperationError`.
    """

    #: True in a class whose coroutines never suspend when stepped; a subclass that overrides one does not inherit it.
    _steppable: ClassVar[bool] = False

    #: Capabilities that a class loses by its overrides and their signatures, and the native `head` below an overridden
    #: `get`; `storage._core.subclassing.complete_class` sets both.
    _lost_capabilities: ClassVar[frozenset[str]] = frozenset()
    _described_by: ClassVar[Callable[[Any, str], Awaitable[ObjectInfo]] | None] = None

    #: The stores of `_parts` that are entered.
    _entered: AsyncExitStack | None = None

    #: What a store does to objects or calls, by which `storage.decorators.bases.stacking` finds stacks that cannot be
    #: right.
    _traits: frozenset[Trait] = frozenset()

    #: The names of those `_parts` that only hold copies of the objects of other parts.
    _copies_in: frozenset[str] = frozenset()

    def __init_subclass__(cls, *, name: str | tuple[str, ...] = (), **options: Any) -> None:
        """
        Complete *cls* with defaults and add it to `storage.registry`.

        Args:
            name: short names for configurations and URLs: ``class ShelfStore(ObjectStore, name="shelf")``.
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
            RangeNotSatisfiableError: the range starts after the object's end.
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

        A put that fails, is cancelled or killed leaves the old object. An iterable is streamed, and its exceptions pass
        unchanged. Without *attributes* the new object has none.

        Args:
            key: the name of the object.
            data: its bytes, or an iterable or async iterable of them.
            if_absent: only create the object; of many concurrent creators exactly one succeeds.
            if_match: only replace the version with this etag (compare-and-swap).
            attributes: text to store with the bytes, under lower-case names.

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
        Delete the object of this key, if there is one; a missing object is no error.

        Raises:
            PreconditionFailedError: *if_match*, and the object is another version or missing.
        """

    @abstractmethod
    async def exists(self, key: str) -> bool:
        """Return whether there is an object of this key."""

    @abstractmethod
    def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
        """
        Yield every key that starts with *prefix* and sorts after *start_after*, once, in code-point order.

        Objects may be put and deleted meanwhile: a key that exists throughout is yielded, any other may be.
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

        Everything that the reader returns is of one version, which ``reader.info`` describes.

        Raises:
            KeyNotFoundError: there is no such object.
            RangeNotSatisfiableError: the range starts after the object's end.
        """
        return _open_whole(self, key, byte_range)

    async def get_many(self, keys: Keys) -> dict[str, Out | StorageError]:
        """Return for every key its bytes, or the `StorageError` that `get` would raise."""
        return await results_of(keys, self.get)

    async def put_many(
        self,
        items: Items[In],
        *,
        raise_errors: bool = True,
    ) -> dict[str, str | StorageError]:
        """
        Put every (key, data) and return for every key its etag; all are tried, even if some fail.

        Raises:
            BulkError: some failed; its ``results`` have for every key the etag or the `StorageError`. With
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
                if before is not None:  # the same key again: one after the other, so that the last one wins
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
        Delete every key and return for every key None; all are tried, even if some fail.

        Raises:
            BulkError: some failed; its ``results`` have for every key None or the `StorageError`. With
                ``raise_errors=False`` these results are returned instead.
        """
        return raise_failures(await results_of(keys, self.delete), self, raise_errors)

    async def children(self, prefix: str = "", delimiter: str = "/") -> AsyncIterator[str]:
        """
        Yield the names one level below *prefix*, in order: keys, and common prefixes, which end in *delimiter*.

        They are whole keys and prefixes: ``children("a/")`` yields ``"a/b"`` and ``"a/c/"``.
        """
        if not delimiter:
            raise ValueError("the delimiter is empty")
        last = None
        async for key in self.keys(prefix):
            name, found, _ = key[len(prefix) :].partition(delimiter)
            child = prefix + name + found
            if child != last:
                yield child
                last = child

    async def copy(self, source: str, target: str, *, if_absent: bool = False) -> str:
        """
        Copy an object with its attributes within the store and return the copy's etag.

        Raises:
            KeyNotFoundError: there is no object *source*.
            KeyExistsError: *if_absent*, and there is an object *target*.
            CorruptObjectError: the object is damaged, or has an attribute with which it cannot be put.
        """
        async with self.open(source) as reader:
            data = cast(In, reader)  # in a store of other values than bytes, the reader returns such values
            try:
                return await self.put(target, data, if_absent=if_absent, attributes=copied_attributes(reader.info))
            except WrongLifetimeError as error:
                raise error.of_copy(source, self) from error

    async def rename(self, source: str, target: str, *, if_absent: bool = False) -> str:
        """
        Rename an object within the store and return its etag; if both keys are equal, nothing changes.

        It is one atomic step where the back end has one, else a copy and then a delete: both objects exist in between,
        and after a call that fails or is cancelled there. A version of the source that is put in between is renamed
        too, not lost; without the capability ``conditional_delete`` it is lost if it is put in the moment between the
        last look at the source and its delete.

        Raises:
            KeyNotFoundError: there is no object *source*.
            KeyExistsError: *if_absent*, and there is an object *target*.
        """
        if source == target and not if_absent:
            return (await self.head(source)).etag
        return await rename_by_copy(self, source, target, if_absent, ATTEMPTS)

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
        """
        Yield like `keys`, but descriptions instead of keys; an object deleted meanwhile is left out.

        Raises:
            IncompleteListingError: at the end, after all others: some objects are damaged, and were left out.
        """
        with LeftOut(self) as left_out:
            async for key in self.keys(prefix, start_after=start_after):
                try:
                    info = await self.head(key)
                except KeyNotFoundError:
                    continue
                except CorruptObjectError as error:
                    left_out.add(key, error)
                else:
                    yield info

    # Optional and private: `copy_store` uses them where a class overrides them.

    async def _get_small(self, keys: Sequence[str]) -> list[tuple[bytes, Attributes] | None]:
        """
        Return for every key the bytes and attributes of an object of up to `SMALL` bytes, None for any other.

        For classes that read many objects together faster than one by one. Objects that are larger or missing, or whose
        read fails, are read otherwise.
        """
        raise NotImplementedError

    async def _put_small(self, items: Sequence[tuple[str, bytes, Attributes | None]]) -> list[str | StorageError]:
        """Put every (key, bytes, attributes), and return for each its etag or its error; for such classes too."""
        raise NotImplementedError

    # -- about itself --------------------------------------------------------------------------------------------

    @property
    def capabilities(self) -> Capabilities:
        """What this store supports, with all its decorators."""
        return self._supported(
            Capabilities(
                conditional_put=True, conditional_delete=True, attributes=True, ranges=True, bounded_listing=True
            )
        )

    def _supported(self, declared: Capabilities) -> Capabilities:
        """Return *declared* without the capabilities that the class's overrides and their signatures take away."""
        return replace(declared, **dict.fromkeys(self._lost_capabilities, False))

    #: What `_supported` was called when docs/extending.md first told authors of stores to use it.
    _capable = _supported

    def _parts(self) -> dict[str, ObjectStore[Any, Any]]:
        """Return the stores that this one is built on, by parameter name; entering it enters them."""
        return {}

    async def _open(self) -> None:
        self._entered = await enter_all(list(self._parts().values()))

    async def _close(self) -> None:
        entered, self._entered = self._entered, None
        if entered is not None:
            await entered.aclose()

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


# Functions, so that a store's own methods may have their names.


@asynccontextmanager
async def _open_whole(
    store: ObjectStore[Any, Any], key: str, byte_range: ByteRange | None
) -> AsyncIterator[ObjectReader]:
    """Open an object by reading all of it."""
    data, info = await _read_whole(store, key)
    yield BytesReader(info, data, byte_range)


async def _read_whole(store: ObjectStore[Any, Any], key: str) -> tuple[bytes, ObjectInfo]:
    """
    Return an object's bytes and the description of the same version.

    If a class has its own `head` but overrides `get`, `head` is called before and after: `put` must accept the etag,
    and the size must be that of the bytes. A store with only the five methods is read once.
    """
    describe = type(store)._described_by
    if describe is None:
        data = await store.get(key)
        return data, ObjectInfo(key, len(data), etag_of(data))
    for _ in range(ATTEMPTS):
        before = await describe(store, key)
        data = await store.get(key)
        if before.etag == (await describe(store, key)).etag:
            return data, replace_info(before, size=len(data))
    raise StoreUnavailableError(f"the object changed during each of {ATTEMPTS} reads; try again", key=key, store=store)
