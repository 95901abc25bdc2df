"""The types that a user of stores of values sees: checked with the tests, by mypy and pyright, and never run."""

from __future__ import annotations

import io
from typing import IO, Any, assert_type

import storage.sync
from storage import (
    BufferStore,
    Data,
    DictStore,
    GzipStore,
    Json,
    JsonLike,
    JsonStore,
    ObjectStore,
    PrefixStore,
    StorageError,
    TextEncodingStore,
)


async def text() -> None:
    store = TextEncodingStore(DictStore(), "latin-1")

    assert_type(await store.get("k"), str)
    assert_type(await store.put("k", "text"), str)
    assert_type(await store.get_many(["k"]), dict[str, str | StorageError])
    await store.put("k", b"bytes")  # type: ignore[arg-type]
    await store.put_many({"k": 5})  # type: ignore[arg-type]


async def documents(counts: dict[str, int], names: list[str], anything: object) -> None:
    store = JsonStore(DictStore(), indent=2)

    assert_type(await store.get("k"), Json)
    assert_type(await store.get_many(["k"]), dict[str, Json | StorageError])
    await store.put("k", await store.get("k"))
    await store.put("k", {"a": [1, 2.5, None, {"b": True}]})
    await store.put("k", counts)
    await store.put("k", names)
    await store.put("k", (1, "two"))
    await store.put_many({"a": 1, "b": names})
    await store.put("k", anything)  # type: ignore[arg-type]
    await store.put("k", b"bytes")  # type: ignore[arg-type]
    await store.put("k", {"a", "set"})  # type: ignore[arg-type]
    await store.put("k", {1: "one"})  # type: ignore[dict-item]
    await store.put("k", {"a": anything})  # type: ignore[dict-item]


async def files(binary: IO[bytes], lines: IO[str]) -> None:
    store = BufferStore(DictStore())

    assert_type(await store.get("k"), io.BytesIO)
    await store.put("k", binary)
    await store.put("k", await store.get("k"))
    await store.put("k", b"bytes")
    await store.put("k", [b"pieces"])
    await store.put("k", lines)  # type: ignore[arg-type]
    await store.put("k", "text")  # type: ignore[arg-type]


async def stacks() -> None:
    values = PrefixStore(JsonStore(GzipStore(DictStore())), "a/")

    assert_type(values, PrefixStore[JsonLike, Json])
    assert_type(await values.get("k"), Json)
    await values.put("k", object())  # type: ignore[arg-type]
    GzipStore(JsonStore(DictStore()))  # type: ignore[arg-type]  # bytes are below, values above
    takes_any(values)
    takes_bytes(GzipStore(DictStore()))
    takes_bytes(values)  # type: ignore[arg-type]


def takes_any(store: ObjectStore[Any, Any]) -> None: ...


def takes_bytes(store: ObjectStore[Data, bytes]) -> None: ...


def synchronous(binary: IO[bytes], lines: IO[str]) -> None:
    base = storage.sync.DictStore()
    documents = storage.sync.JsonStore(base, sort_keys=True)

    assert_type(storage.sync.TextEncodingStore(base).get("k"), str)
    assert_type(documents.get("k"), Json)
    assert_type(documents.async_store, JsonStore)
    assert_type(storage.sync.PrefixStore(documents, "a/").get("k"), Json)
    assert_type(storage.sync.BufferStore(base).get("k"), io.BytesIO)
    documents.put("k", {"a": [1]})
    documents.put("k", object())  # type: ignore[arg-type]
    storage.sync.BufferStore(base).put("k", binary)
    storage.sync.BufferStore(base).put("k", lines)  # type: ignore[arg-type]
    storage.sync.TextEncodingStore(base).put("k", b"bytes")  # type: ignore[arg-type]
