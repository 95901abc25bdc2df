"""Every stack in its views: awaited, through the synchronous face stepped, and through it on the background loop."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from itertools import count
from pathlib import Path

import pytest
from cpu_affinity import share_all, take_turns
from small_pages import small_pages
from stack_choice import CHOICES, able
from stacks import ALONE, STACKS, STORES, AnyStore, Stack
from sync_view import View

import storage.sync
from storage import FilesystemStore, ObjectStore
from storage._concurrency.stepping import step
from storage.testing import StoreConformance
from storage.testing.suite.harness import unfit

#: The file system in memory, where there is one. The stores themselves are on a disk when they are awaited; what
#: decorators and the synchronous face do with their files in memory they do on a disk, only later.
MEMORY = Path("/dev/shm")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test on the stacks that have the capabilities it needs; a skipped test would cost as much."""
    combinations = CHOICES[metafunc.config.getoption("--stacks")]()
    chosen = [(name, view) for name, view in combinations if unfit(metafunc.function, able(name)) is None]
    metafunc.parametrize("store", chosen, ids=map("-".join, chosen), indirect=True)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stacks")


@pytest.fixture(scope="module", autouse=True)
def _processors() -> Iterator[None]:
    """Use all processors again at the end."""
    yield
    share_all()


@pytest.fixture(scope="module")
def memory(disk: Path) -> Iterator[Path]:
    """Return a directory in memory, or on the disk if files in memory lack some capabilities."""
    if MEMORY.is_dir() and FilesystemStore(MEMORY).capabilities == FilesystemStore(disk).capabilities:
        with tempfile.TemporaryDirectory(dir=MEMORY) as directory:
            yield Path(directory)
    else:
        yield disk


class TestConformance(StoreConformance):
    """The shipped suite on the stores and decorators of this package."""

    numbers = count()
    stack: Stack
    view: str
    root: Path
    inner: AnyStore

    @pytest.fixture
    async def store(
        self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, disk: Path, memory: Path
    ) -> AsyncIterator[ObjectStore]:
        name, self.view = request.param
        self.stack = STACKS[name]
        self.root = (disk if name in STORES and self.view == "awaited" else memory) / str(next(self.numbers))
        self.root.mkdir()
        if name in ALONE:  # the stores below are tested with concurrent threads by themselves
            take_turns()
        else:
            share_all()
        if self.stack.page is not None:
            small_pages(self.stack.page, monkeypatch)
            self.many = self.stack.page + self.stack.page // 5
        self.inner = self.stack.make(self.root)
        async with self._seen(self.inner) as store:
            yield store
        shutil.rmtree(self.root)
        del self.inner  # pytest keeps this object to the end, and with it all that the tests have put

    def _seen(self, store: AnyStore) -> ObjectStore:
        """Return a store of the stack's kind as the suite sees it."""
        if self.view != "awaited":
            store = View(storage.sync.ObjectStore(store, stepped=self.view == "stepped"))
        return self.stack.wrap(store)

    async def raw(self, store: ObjectStore, key: str) -> bytes | None:
        if self.stack.raw is None:
            return await super().raw(store, key)
        return self.stack.read(self.inner, self.root, key)

    async def fill(self, store: ObjectStore, objects: Mapping[str, bytes]) -> None:
        below = self.stack.writable(self.inner)
        steppable = self.stack.wrap(below)
        if steppable.capabilities.steppable:
            step(super().fill(steppable, objects))
        else:
            await super().fill(store if below is self.inner else self._seen(below), objects)

    def another(self, store: ObjectStore) -> AbstractAsyncContextManager[ObjectStore]:
        return self._seen(self.stack.make(self.root))
