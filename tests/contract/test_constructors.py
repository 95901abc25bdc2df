"""Constructors do no I/O: a store can be made in an event loop, and before its directory or server is there."""

from __future__ import annotations

import fcntl
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import storage.sync
from storage import (
    CachingStore,
    DictStore,
    ExpiringStore,
    FallbackStore,
    FilesystemStore,
    GzipStore,
    HashdirStore,
    MirroringStore,
    ObjectStore,
    ReadonlyStore,
    RoutingStore,
    SafeFilesystemStore,
    SqliteStore,
    StoreFactory,
    WriteonlyStore,
    ZipStore,
)
from storage._core.claims import claimed

STORES: dict[str, Callable[[str], Any]] = {
    "filesystem": FilesystemStore,
    "safe": SafeFilesystemStore,
    "hashdir": HashdirStore,
    "sqlite": SqliteStore,
    "zip": ZipStore,
}

STACKS: dict[str, Callable[[Any, str], Any]] = {
    "alone": lambda store, _: store,
    "caching": lambda store, path: CachingStore(store, FilesystemStore(path), max_bytes=100),
    "expiring": lambda store, _: ExpiringStore(GzipStore(store), 60, max_count=5),
    "fallback": lambda store, path: FallbackStore([store, FilesystemStore(path)]),
    "mirroring": lambda store, path: MirroringStore([ExpiringStore(store), FilesystemStore(path)]),
    "readonly": lambda store, _: ReadonlyStore(store),
    "routing": lambda store, path: RoutingStore({"a/": store}, default=FilesystemStore(path)),
    "synchronous": lambda store, _: storage.sync.ObjectStore(store),
    "writeonly": lambda store, _: WriteonlyStore(store),
}


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("store", STORES)
def test_constructor_does_no_io(store: str, stack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does a lookup of what decorators must know of the store below them."""
    paths = [str(tmp_path / name / "nowhere") for name in "ab"]
    STACKS[stack](STORES[store](paths[0]), paths[1])  # all modules are imported now
    seen: list[str] = []

    def watch(module: Any, name: str) -> None:
        real = getattr(module, name)

        def call(*args: Any, **options: Any) -> Any:
            seen.append(name)
            return real(*args, **options)

        monkeypatch.setattr(module, name, call)

    for name in ("open", "stat", "lstat", "fstat", "getxattr", "listdir", "scandir", "mkdir", "readlink", "access"):
        if hasattr(os, name):
            watch(os, name)
    watch(fcntl, "flock")
    watch(socket, "socket")

    STACKS[stack](STORES[store](paths[0]), paths[1])

    assert [] == seen


def test_configuration_does_no_io(monkeypatch: pytest.MonkeyPatch) -> None:
    """Building the stores of a configuration calls constructors only."""
    stores = {
        "files": {"type": "filesystem", "config": {"root": "x"}},
        "main": {"type": "ExpiringStore", "base": "files", "config": {"ttl": 60}},
    }
    factory = StoreFactory({"stores": stores, "main": "main"})
    factory.build()  # all modules are imported now
    seen: list[object] = []
    for name in ("lstat", "stat", "open"):
        monkeypatch.setattr(os, name, lambda *arguments, **options: seen.append(arguments))

    StoreFactory({"stores": stores, "main": "main"}).build()

    monkeypatch.undo()
    assert [] == seen


async def test_relative_root_is_the_one_of_the_constructor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Although links are resolved later, the directory of the process may change meanwhile."""
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    monkeypatch.chdir(tmp_path / "first")
    store = FilesystemStore("data")

    monkeypatch.chdir(tmp_path / "second")
    await store.put("k", b"1")

    assert (tmp_path / "first" / "data" / "k").exists()


async def test_what_a_store_claims_is_what_it_has_where_all_works(tmp_path: Path) -> None:
    store = FilesystemStore(tmp_path)

    assert claimed(DictStore()) == DictStore().capabilities
    assert claimed(store).attributes
    assert isinstance(store, ObjectStore)
    if sys.platform == "linux":
        assert claimed(store) == store.capabilities
