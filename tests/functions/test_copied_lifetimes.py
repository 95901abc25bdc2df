"""An attribute ``expires-in`` that is no lifetime: the object is damaged for a copy; a put of it is a ValueError."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from storage import (
    BulkError,
    CorruptObjectError,
    DictStore,
    EncryptingStore,
    ExpiringStore,
    FallbackStore,
    MirroringStore,
    ObjectStore,
    SqliteStore,
    StorageError,
    TieredStore,
    copy_store,
    sync_stores,
    update,
)
from storage._core.deadlines import lifetime_of
from storage.stores.redis.layout import KeySpace
from storage.stores.redis.writes import Put

WRONG = ["nan", "-5", "0", "1e400", "-inf", "soon", "", "9" * 400]


def test_texts_that_are_lifetimes() -> None:
    """Infinity is written as such; a number that is too large for one is a mistake."""
    for text in ("inf", "Infinity", "+inf"):
        assert lifetime_of({"expires-in": text}) is None
    for text in WRONG:
        with pytest.raises(ValueError, match="the attribute 'expires-in' must be"):
            lifetime_of({"expires-in": text})


@pytest.mark.parametrize("text", WRONG)
async def test_put_with_a_wrong_lifetime_is_a_value_error(text: str) -> None:
    """Of the caller, as the wrong type of an argument is."""
    with pytest.raises(ValueError, match="expires-in") as raised:
        await ExpiringStore(DictStore()).put("k", b"", attributes={"expires-in": text})
    assert not isinstance(raised.value, StorageError)
    with pytest.raises(ValueError, match="expires-in") as raised:
        Put(KeySpace(""), "k", None, attributes={"expires-in": text})  # which RedisStore sends
    assert not isinstance(raised.value, StorageError)


@pytest.fixture(params=["a dict", "a database"])
async def source(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """Return a store that takes any attributes, with three objects; the second one has the wrong attribute."""
    store: ObjectStore = DictStore() if request.param == "a dict" else SqliteStore(tmp_path / "db")
    async with store:
        await store.put("a", b"a", attributes={"expires-in": "60"})
        await store.put("b", b"b", attributes={"expires-in": "nan"})
        await store.put("c", b"c")
    return store


@pytest.mark.parametrize("copy", [copy_store, sync_stores], ids=["copy_store", "sync_stores"])
async def test_copies_go_on_over_the_others(source: ObjectStore, copy: Callable[..., Awaitable[object]]) -> None:
    """And report the object at their end."""
    async with source:
        target = ExpiringStore(DictStore(), ttl=60)
        with pytest.raises(BulkError) as raised:
            await copy(source, target)

        assert ["b"] == list(raised.value.results)
        error = raised.value.results["b"]
        assert isinstance(error, CorruptObjectError)
        assert ("b", True) == (error.key, "expires-in" in str(error))
        assert ["a", "c"] == [key async for key in target.keys()]

        plain = DictStore()
        await copy(source, plain)
        assert {"expires-in": "nan"} == (await plain.head("b")).attributes


async def _changed(store: ObjectStore) -> None:
    await update(store, "b", lambda data: b"new")


async def _touched(store: ObjectStore) -> None:
    assert isinstance(store, ExpiringStore)
    await store.touch("b")


WITHIN: dict[str, Callable[[ObjectStore], Awaitable[object]]] = {
    "copy": lambda store: ObjectStore.copy(store, "b", "z"),
    "update": _changed,
    "touch": _touched,
}


@pytest.mark.parametrize("write", WITHIN.values(), ids=list(WITHIN))
async def test_writing_an_object_again_names_it(write: Callable[[ObjectStore], Awaitable[object]]) -> None:
    """By a StorageError, and the object stays."""
    base = DictStore()
    await base.put("b", b"b", attributes={"expires-in": "-5"})

    with pytest.raises(CorruptObjectError, match="expires-in") as raised:
        await write(ExpiringStore(base, ttl=60))
    assert "b" == raised.value.key
    assert b"b" == await base.get("b")


async def test_copy_out_of_an_older_store_of_a_fallback_names_it() -> None:
    """The older store takes any lifetime, and the one that is written to does not."""
    old = DictStore()
    await old.put("b", b"b", attributes={"expires-in": "-5"})
    store = FallbackStore([ExpiringStore(DictStore()), ExpiringStore(old)])

    with pytest.raises(CorruptObjectError, match="expires-in") as raised:
        await store.copy("b", "z")
    assert "b" == raised.value.key


async def test_encrypting_again_names_it() -> None:
    """With the attributes that the object had."""
    base = DictStore()
    await EncryptingStore(base, {"0": bytes(32)}).put("b", b"b", attributes={"expires-in": "-5"})
    store = EncryptingStore(ExpiringStore(base), {"0": bytes(32), "1": bytes(32)}, active="1")

    with pytest.raises(CorruptObjectError, match="expires-in") as raised:
        await store.reencrypt("b")
    assert "b" == raised.value.key


async def test_repair_of_a_mirror_passes_it_over() -> None:
    """A read goes on with the child that has the object."""
    first, second = DictStore(), DictStore()
    await first.put("b", b"b", attributes={"expires-in": "nan"})
    mirror = MirroringStore([first, ExpiringStore(second, ttl=60)])
    assert b"b" == await mirror.get("b")
    [difference] = [each async for each in mirror.verify(repair=True)]
    assert "b" == difference.key


async def test_tiers_keep_what_they_read() -> None:
    """Its bytes are copied without their attributes."""
    last = DictStore()
    await last.put("b", b"b", attributes={"expires-in": "nan"})
    tiers = TieredStore([DictStore(), DictStore(), last], ttl=[60, 60])
    assert [b"b", b"b"] == [await tiers.get("b"), await tiers.get("b")]
    assert 1 == tiers.stats[0].hits
