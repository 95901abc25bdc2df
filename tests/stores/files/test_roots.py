"""Roots that are no directories, and files in which not every read succeeds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from file_tools import FILE_STORES, listed

from storage import (
    ByteRange,
    ConfigError,
    FilesystemStore,
    KeyExistsError,
    KeyNotFoundError,
    StorageError,
)
from storage.stores.files.file_store import FileStore
from storage.types import ObjectInfo


def make_file(path: Path) -> None:
    path.write_bytes(b"")


def make_loop(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize("below", ["", "/below/it"])
@pytest.mark.parametrize(("make", "what"), [(make_file, "a file"), (os.mkfifo, "a pipe"), (make_loop, "a symlink")])
@pytest.mark.parametrize("store_class", FILE_STORES)
async def test_root_that_is_no_directory_is_named_by_every_method(
    store_class: type[FileStore], make: object, what: str, below: str, tmp_path: Path
) -> None:
    """It is not taken for an empty store, nor for a fault of the key."""
    assert callable(make)
    make(tmp_path / "root")
    store = store_class(f"{tmp_path}/root{below}")

    async def enter() -> None:
        async with store:
            pass

    async def scan() -> list[ObjectInfo]:
        return [info async for info in store.scan()]

    calls = [store.get("k"), store.head("k"), store.exists("k"), store.delete("a/k"), store.put("a/k", b""), enter()]
    for call in [*calls, store.put("k", b""), store.rename("k", "l"), store.copy("k", "l"), listed(store), scan()]:
        with pytest.raises(ConfigError, match=f"{tmp_path}/root.* is {what}.*give the store another root") as caught:
            await call
        assert repr(store) == caught.value.store
    assert ["root"] == os.listdir(tmp_path)


async def test_object_in_the_way_of_a_key_is_no_fault_of_the_root(tmp_path: Path) -> None:
    """The same error of the system, and a missing root is empty."""
    store = FilesystemStore(tmp_path / "root")
    assert [] == await listed(store)
    await store.put("a", b"")
    with pytest.raises(KeyNotFoundError):
        await store.get("a/b")
    await store.delete("a/b")
    assert [] == await listed(store, "a/b/")


async def test_file_larger_than_memory_is_an_error_that_says_how_to_read_it(tmp_path: Path) -> None:
    """A hole is enough for that."""
    store = FilesystemStore(tmp_path)
    await store.put("k", b"v")
    os.truncate(tmp_path / "k", 1 << 42)

    for byte_range in (None, ByteRange(0, 1 << 41)):
        with pytest.raises(StorageError, match="in pieces, with `open`") as caught:
            await store.get("k", byte_range=byte_range)
        assert ("k", repr(store)) == (caught.value.key, caught.value.store)
    async with store.open("k") as reader:
        assert b"v" == await reader.read(1)


async def test_rename_to_an_existing_object_is_tried_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`KeyExistsError` is a FileExistsError too, which says in another place that something was made meanwhile."""
    store = FilesystemStore(tmp_path)
    await store.put("a", b"1")
    await store.put("b", b"2")
    looks = []
    of_entry = store._etags.of_entry

    def counted(directory: int, name: str, status: os.stat_result) -> str | None:
        looks.append(name)
        return of_entry(directory, name, status)

    monkeypatch.setattr(store._etags, "of_entry", counted)
    with pytest.raises(KeyExistsError):
        await store.rename("a", "b", if_absent=True)

    assert 1 == len(looks)
