"""`WriteonlyStore`, and stacks with it that can do nothing. The suite tests what it accepts and refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import pytest

import storage.sync
from storage import (
    ConfigError,
    DictStore,
    GzipStore,
    ObjectStore,
    PrefixStore,
    ReadonlyStore,
    StoreDecorator,
    UnsupportedOperationError,
    WriteonlyStore,
)


async def test_clear_empties_it_unseen() -> None:
    """Deleting reveals nothing; objects of other prefixes stay."""
    base = DictStore()
    store = WriteonlyStore(PrefixStore(base, "in/"))
    await store.put_many({"a/1": b"", "a/2": b"", "b": b""})
    await base.put("other", b"")

    await store.clear("a/")

    assert ["in/b", "other"] == [key async for key in base.keys()]


async def test_refusal_names_the_operation_and_the_key() -> None:
    """As every error does."""
    with pytest.raises(UnsupportedOperationError) as caught:
        await WriteonlyStore(DictStore()).get("k")

    assert "get on a write-only store, key 'k', in WriteonlyStore(DictStore())" == str(caught.value)


async def test_listing_is_refused_when_it_begins() -> None:
    """Like a listing of any store that fails: not when it is created."""
    store = WriteonlyStore(DictStore())

    for listing in (store.keys(), store.scan(), store.children()):
        with pytest.raises(UnsupportedOperationError):
            await anext(listing)
    opening = store.open("k")
    with pytest.raises(UnsupportedOperationError):
        await opening.__aenter__()


def test_capabilities_are_those_of_writing() -> None:
    """Those of reading are off, conditions and attributes are those of the store below."""
    off = {name for name, on in asdict(WriteonlyStore(DictStore()).capabilities).items() if not on}

    assert {"readable", "listable", "ranges", "cheap_head", "bounded_listing", "multi_process"} == off


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ReadonlyStore(WriteonlyStore(DictStore())), "ReadonlyStore over WriteonlyStore, which cannot be read"),
        (
            lambda: WriteonlyStore(ReadonlyStore(DictStore())),
            "WriteonlyStore over ReadonlyStore, which cannot be written to",
        ),
        (
            lambda: ReadonlyStore(GzipStore(WriteonlyStore(DictStore()))),
            "ReadonlyStore over GzipStore, which cannot be read",
        ),
    ],
)
def test_stack_that_could_do_nothing_is_refused(make: Callable[[], ObjectStore], says: str) -> None:
    """When it is built."""
    with pytest.raises(ConfigError, match=f"^{says}: together they can do nothing; remove one of them$"):
        make()


async def test_others_stack_on_it() -> None:
    """Decorators that compress or change keys can write without reading."""
    base = DictStore()
    store = GzipStore(PrefixStore(WriteonlyStore(StoreDecorator(base)), "in/"))
    await store.put("k", b"v" * 1000)

    assert 100 > (await base.head("in/k")).size


def test_sink_without_await() -> None:
    """In storage.sync."""
    base = storage.sync.DictStore()
    store = storage.sync.WriteonlyStore(base)
    store.put("k", [b"v"])

    assert b"v" == base.get("k")
    for read in (lambda: store.get("k"), lambda: store.open("k"), lambda: list(store.keys())):
        with pytest.raises(NotImplementedError):
            read()
