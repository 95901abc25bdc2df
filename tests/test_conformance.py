"""Every stack in its views: awaited, through the synchronous face stepped, and through it on the background loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from stacks import STACKS, Stack
from views import View

import storage.sync
from storage import ObjectStore
from storage.testing import StoreConformance


def _viewed(view: str, store: ObjectStore) -> ObjectStore:
    return store if view == "awaited" else View(storage.sync.ObjectStore(store, stepped=view == "stepped"))


def _combinations() -> Iterator[object]:
    for name, stack in STACKS.items():
        by_itself = "stepped" if stack.capabilities.steppable else "on-loop"
        # a stack that cannot step is on the loop by itself, once
        for view in dict.fromkeys(by_itself if view == "sync" else view for view in stack.views):
            yield pytest.param((stack, view), id=f"{name}-{view}")


class TestConformance(StoreConformance):
    """The shipped suite, on all of ours."""

    stack: Stack
    view: str
    root: Path
    inner: ObjectStore

    @pytest.fixture(params=_combinations())
    async def store(self, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ObjectStore]:
        self.stack, self.view = request.param
        self.root = tmp_path
        self.inner = self.stack.make(tmp_path)
        async with self._seen(self.inner) as store:
            yield store

    def _seen(self, store: ObjectStore) -> ObjectStore:
        """Return a store of the stack's kind as the suite sees it."""
        return self.stack.wrap(_viewed(self.view, store))

    async def raw(self, store: ObjectStore, key: str) -> bytes | None:
        if self.stack.raw is None:
            return await super().raw(store, key)
        return self.stack.read(self.inner, self.root, key)

    async def fill(self, store: ObjectStore, objects: Mapping[str, bytes]) -> None:
        writable = self.stack.writable(self.inner)
        await super().fill(store if writable is self.inner else self._seen(writable), objects)

    def another(self, store: ObjectStore) -> AbstractAsyncContextManager[ObjectStore]:
        return self._seen(self.stack.make(self.root))
