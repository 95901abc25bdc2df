"""What the tests of the suite share: the hooks that a test class overrides, and the selection by capabilities."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import pytest

from storage.base import ObjectStore
from storage.errors import BulkError, InvalidKeyError, KeyConflictError, KeyNotFoundError, StorageError
from storage.types import Capabilities

__all__ = ["Harness", "each", "listed", "needs", "unfit"]

K = TypeVar("K")
T = TypeVar("T")

#: Calls that a test makes concurrently where they do not depend on each other.
AT_ONCE = 50


def needs(**capabilities: bool | None) -> Callable[[T], T]:
    """
    Select a test by the store's capabilities: each named one must be as given; None if it does not matter.

    A test that does not name these needs ``readable``, ``writable`` and ``listable``.
    """

    def select(test: T) -> T:
        vars(test)["needs"] = capabilities
        return test

    return select


def unfit(test: Callable[..., object], able: Capabilities) -> str | None:
    """Return why *test* is not for a store with these capabilities; None if it is."""
    usual = {"readable": True, "writable": True, "listable": True}
    for name, wanted in {**usual, **getattr(test, "needs", {})}.items():
        if wanted is not None and getattr(able, name) is not wanted:
            return f"the store's capability {name!r} is {'off' if wanted else 'on'}"
    return None


class Harness:
    """
    The hooks of the suite. Only `store` must be overridden; the others make the suite stricter.

    Attributes:
        large: size in bytes of an object that no store treats as a small one.
        many: number of objects that is more than one page or one batch.
        late_writes: True for a store over a network, where a cancelled write may still be on its way and take effect
            later, until its timeout. For other stores the suite tests that nothing takes effect later.
    """

    large: int = 2_500_000
    many: int = 1203
    late_writes: bool = False

    @pytest.fixture
    def store(self) -> Any:
        """Return an open, empty store; override this, as a sync or an async fixture."""
        raise NotImplementedError(f"{type(self).__name__} needs a fixture `store` that yields an open, empty store")

    async def raw(self, store: ObjectStore, key: str) -> bytes | None:
        """
        Return the object's bytes, or None if there is no object.

        Override it to read without the store (its file, its row), so that a wrong get cannot hide a wrong put. A
        store that cannot be read needs it.
        """
        try:
            return await store.get(key)
        except KeyNotFoundError:
            return None

    async def fill(self, store: ObjectStore, objects: Mapping[str, bytes]) -> None:
        """
        Put the objects that a test starts with; override it if they cannot be put through the store itself.

        Raises:
            BulkError: the store cannot hold some of them; the others are put.
        """
        await store.put_many(objects)

    def another(self, store: ObjectStore) -> AbstractAsyncContextManager[ObjectStore] | None:
        """Return another store over the same objects, as another process would open it; None to skip such tests."""
        return None

    @pytest.fixture(autouse=True)
    def _selected(self, request: pytest.FixtureRequest, store: ObjectStore) -> None:
        if (reason := unfit(request.function, store.capabilities)) is not None:
            pytest.skip(reason)

    async def fill_some(self, store: ObjectStore, keys: Mapping[str, bytes] | list[str]) -> dict[str, bytes]:
        """Put objects (by default each contains its key) and return those that the store can hold."""
        wanted = keys if isinstance(keys, Mapping) else {key: key.encode() for key in keys}
        try:
            await self.fill(store, wanted)
        except BulkError as error:
            refused = {key: result for key, result in error.results.items() if isinstance(result, StorageError)}
            if not all(isinstance(result, InvalidKeyError | KeyConflictError) for result in refused.values()):
                raise
            return {key: data for key, data in wanted.items() if key not in refused}
        return dict(wanted)


async def listed(items: AsyncIterator[T]) -> list[T]:
    """Return all items."""
    return [item async for item in items]


async def each(call: Callable[[K], Awaitable[T]], arguments: Iterable[K]) -> dict[K, T]:
    """Return the result of *call* for each argument; up to 50 calls run concurrently."""
    waiting, results = list(arguments), dict[K, T]()
    while some := waiting[:AT_ONCE]:
        results.update(zip(some, await asyncio.gather(*map(call, some)), strict=True))
        del waiting[:AT_ONCE]
    return results
