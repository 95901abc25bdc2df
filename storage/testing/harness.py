"""What the tests of the suite share: the hooks that a store's test overrides, and how tests select themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import pytest

from storage.base import ObjectStore
from storage.errors import InvalidKeyError, KeyConflictError, KeyNotFoundError

__all__ = ["Harness", "listed", "needs"]

T = TypeVar("T")


def needs(**capabilities: bool | None) -> Callable[[T], T]:
    """
    Select a test by the store's capabilities: each named one must be as given; None for one that does not matter.

    A test that says nothing about them needs ``readable`` and ``writable``.
    """

    def select(test: T) -> T:
        vars(test)["needs"] = capabilities
        return test

    return select


class Harness:
    """
    The hooks of the suite. Only `store` must be overridden; the others make it sharper where they can be.

    Attributes:
        large: bytes of the objects that are too large to be treated as small ones.
    """

    large: int = 2_500_000

    @pytest.fixture
    def store(self) -> Any:
        """Give an open, empty store; override this, as a sync or an async fixture."""
        raise NotImplementedError(f"{type(self).__name__} needs a fixture `store` that yields an open, empty store")

    async def raw(self, store: ObjectStore, key: str) -> bytes | None:
        """
        Return the object's bytes, None where there is no object.

        Override it to read past the store (its file, its row), so that a wrong put cannot hide behind a wrong get; for
        a store that cannot be read there is no other way.
        """
        try:
            return await store.get(key)
        except KeyNotFoundError:
            return None

    async def fill(self, store: ObjectStore, objects: Mapping[str, bytes]) -> None:
        """Put the objects that a test finds there; override it where they cannot be put through the store itself."""
        await store.put_many(objects)

    def another(self, store: ObjectStore) -> AbstractAsyncContextManager[ObjectStore] | None:
        """Return another store over the same objects, as another process would have, or None where that is not told."""
        return None

    @pytest.fixture(autouse=True)
    def _selected(self, request: pytest.FixtureRequest, store: ObjectStore) -> None:
        able = store.capabilities
        for name, wanted in {"readable": True, "writable": True, **getattr(request.function, "needs", {})}.items():
            if wanted is not None and getattr(able, name) is not wanted:
                pytest.skip(f"the store's capability {name!r} is {'off' if wanted else 'on'}")

    async def fill_some(self, store: ObjectStore, keys: Mapping[str, bytes] | list[str]) -> dict[str, bytes]:
        """Fill in the objects one by one, each holding its key if nothing else, and return those the store can hold."""
        wanted = keys if isinstance(keys, Mapping) else {key: key.encode() for key in keys}
        held: dict[str, bytes] = {}
        for key, data in wanted.items():
            try:
                await self.fill(store, {key: data})
            except Exception as error:
                results = getattr(error, "results", {key: error})
                if not isinstance(results[key], InvalidKeyError | KeyConflictError):
                    raise
            else:
                held[key] = data
        return held


async def listed(items: AsyncIterator[T]) -> list[T]:
    """Return all items."""
    return [item async for item in items]
