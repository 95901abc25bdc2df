"""Every stack in three views: awaited, through the synchronous face stepped, and through it on the background loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from stacks import STACKS, Stack
from views import View

import storage.sync
from storage import ObjectStore
from storage.testing import StoreConformance

VIEWS: dict[str, Callable[[ObjectStore], ObjectStore]] = {
    "awaited": lambda store: store,
    "stepped": lambda store: View(storage.sync.ObjectStore(store)),
    "on-loop": lambda store: View(storage.sync.ObjectStore(store, stepped=False)),
}


def _combinations() -> Iterator[object]:
    for name, stack in STACKS.items():
        steppable = stack.make(Path("nowhere")).capabilities.steppable
        for view in VIEWS:
            if steppable or view != "stepped":
                yield pytest.param((stack, VIEWS[view]), id=f"{name}-{view}")


class TestConformance(StoreConformance):
    """The shipped suite, on all of ours."""

    stack: Stack
    view: Callable[[ObjectStore], ObjectStore]
    root: Path
    inner: ObjectStore

    @pytest.fixture(params=_combinations())
    async def store(self, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ObjectStore]:
        self.stack, self.view = request.param
        self.root = tmp_path
        self.inner = self.stack.make(tmp_path)
        async with self.view(self.inner) as store:
            yield store

    async def raw(self, store: ObjectStore, key: str) -> bytes | None:
        if self.stack.raw is None:
            return await super().raw(store, key)
        return self.stack.read(self.inner, self.root, key)

    async def fill(self, store: ObjectStore, objects: Mapping[str, bytes]) -> None:
        below = store if self.stack.writable is None else self.stack.writable(self.inner)
        await super().fill(below, objects)

    def another(self, store: ObjectStore) -> AbstractAsyncContextManager[ObjectStore]:
        return self.view(self.stack.make(self.root))
