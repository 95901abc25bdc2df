"""The types that a user of `storage.sync` sees: checked by mypy with the tests, never run."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, BinaryIO, assert_type

import storage
import storage.sync
from storage.sync import (
    DictStore,
    FilesystemStore,
    GzipStore,
    NotifyingStore,
    PrefixStore,
    RetryingStore,
    SqliteStore,
    ZipStore,
)


def constructors() -> None:
    stack = GzipStore(PrefixStore(FilesystemStore("root", durability="fsync"), "a/"), level=9)

    assert_type(stack, GzipStore)
    assert_type(stack.async_store, storage.GzipStore)
    assert_type(stack.async_store.level, int)
    assert_type(storage.sync.ObjectStore(storage.DictStore()).async_store, storage.ObjectStore[Any, bytes])
    GzipStore(stack, level="9")  # type: ignore[arg-type]
    FilesystemStore("root", durability="never")  # type: ignore[arg-type]
    GzipStore(storage.DictStore())  # type: ignore[arg-type]  # an async store
    with SqliteStore("file.db") as store:
        assert_type(store, SqliteStore)
    ZipStore("a.zip", compression="stored").compact()
    ZipStore("a.zip", compression="lzma")  # type: ignore[arg-type]


def handlers(tell: Callable[[storage.Event], None], stop: Callable[[str], None]) -> None:
    NotifyingStore(DictStore(), on_put=tell, on_change=lambda event: print(event.key, event.error))
    NotifyingStore(DictStore(), on_put=stop)  # type: ignore[arg-type]
    NotifyingStore(DictStore(), on_error="retry")  # type: ignore[arg-type]


def values_pass(retried: RetryingStore[list[int], list[int]]) -> None:
    assert_type(retried.get("k"), list[int])


def methods(store: storage.sync.ObjectStore) -> None:
    assert_type(store.get("k", byte_range=storage.ByteRange(1)), bytes)
    assert_type(store.put("k", b"v", if_absent=True), str)
    assert_type(store.exists("k"), bool)
    assert_type(store.head("k"), storage.ObjectInfo)
    assert_type(store.keys("a/", start_after="a/b"), Iterator[str])
    assert_type(store.scan(), Iterator[storage.ObjectInfo])
    assert_type(store.children(), Iterator[str])
    assert_type(store.get_many(["k"]), dict[str, bytes | storage.StorageError])
    assert_type(store.put_many({"k": b"v"}), dict[str, str | storage.StorageError])
    assert_type(store.capabilities, storage.Capabilities)


def data(store: storage.sync.ObjectStore, pieces: Iterator[bytes], never: AsyncIterator[bytes]) -> None:
    store.put("k", pieces)
    store.put("k", memoryview(b"v"))
    store.put_many((key, pieces) for key in "abc")
    with store.open("k") as file:
        store.put("copy", file)
    store.put("k", never)  # type: ignore[arg-type]
    store.put("k", "text")  # type: ignore[arg-type]


def files(store: storage.sync.ObjectStore) -> None:
    with store.open("k") as file:
        assert_type(file, storage.sync.ObjectFile)
        assert_type(file.info, storage.ObjectInfo)
        assert_type(file.read(10), bytes)
        takes_a_file(file)
        io.TextIOWrapper(file)


def takes_a_file(file: BinaryIO) -> None: ...


def functions(store: storage.sync.ObjectStore) -> None:
    assert_type(storage.sync.copy_store(store, DictStore(), progress=print), storage.Progress)
    assert_type(storage.sync.get_or(store, "k", None), bytes | None)
    assert_type(storage.sync.update(store, "k", lambda old: (old or b"") + b"x"), bytes)
    storage.sync.update(store, "k", lambda old: "text")  # type: ignore[arg-type, return-value]
