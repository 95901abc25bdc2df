"""Several tiers: reads copy objects to the faster tiers, writes go to the last, which has the objects."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from doubles import ScriptedStore

import storage.sync
from storage import (
    CacheStats,
    ConfigError,
    DictStore,
    ExpiringStore,
    FilesystemStore,
    KeyNotFoundError,
    ReadonlyStore,
    SqliteStore,
    StoreUnavailableError,
    TieredStore,
    describe,
)


@pytest.fixture
def tiers() -> list[ScriptedStore]:
    """Return three stores, the fastest first."""
    return [ScriptedStore(DictStore()) for _ in range(3)]


async def held(tiers: list[ScriptedStore]) -> list[list[str]]:
    return [[key async for key in tier.base.keys()] for tier in tiers]


async def test_object_comes_up_when_it_is_read(tiers: list[ScriptedStore]) -> None:
    """From the first tier that has it to all tiers before it; no other tier is read."""
    await tiers[2].put("k", b"v", attributes={"color": "red"})
    store = TieredStore(tiers)
    assert b"v" == await store.get("k")
    assert [["k"]] * 3 == await held(tiers)

    await store._caches[0].forget("k")
    for tier in tiers:
        tier.calls.clear()
    assert b"v" == await store.get("k")
    assert [["k"]] * 3 == await held(tiers)
    assert [] == tiers[2].calls
    assert await tiers[2].head("k") == await store.head("k")
    assert [CacheStats(hits=1, misses=2), CacheStats(hits=1, misses=1)] == store.stats


async def test_write_goes_to_the_last_and_leaves_nothing_old_above(tiers: list[ScriptedStore]) -> None:
    """A put deletes the copies, or with write="through" replaces them; a delete deletes them."""
    around, through = TieredStore(tiers), TieredStore(tiers, write="through")
    await around.put("k", b"one")
    await around.get("k")
    await around.put("k", b"two")
    assert [[], [], ["k"]] == await held(tiers)

    await through.put("k", b"three")
    assert [["k"]] * 3 == await held(tiers)
    assert b"three" == await around.get("k") == await through.get("k") == await tiers[2].base.get("k")

    await through.delete("k")
    assert [[], [], []] == await held(tiers)
    with pytest.raises(KeyNotFoundError):
        await around.get("k")


async def test_each_tier_has_its_time(tiers: list[ScriptedStore]) -> None:
    """None keeps objects for ever; when the time has passed, the next tier is read."""
    bases = [tier.base for tier in tiers]
    store = TieredStore(bases, ttl=[timedelta(minutes=1), None])
    await store.put("k", b"one")
    await store.get("k")
    assert await ExpiringStore(bases[0]).expires("k") is not None
    assert None is await ExpiringStore(bases[1]).expires("k")

    first: Any = store._caches[0].cache_store
    await first.put("k", await first.get("k"), ttl=timedelta(microseconds=1))
    assert b"one" == await store.get("k")
    assert [2, 1] == [stats.misses for stats in store.stats]


async def test_large_objects_stay_below(tiers: list[ScriptedStore]) -> None:
    """In the last tier only."""
    store = TieredStore(tiers, max_object_size=9)
    await store.put("k", b"0123456789")

    assert b"0123456789" == await store.get("k")
    async with store.open("k") as reader:
        assert b"0123456789" == await reader.read()
    assert [[], [], ["k"]] == await held(tiers)


async def test_tier_that_fails_fails_nobody(tiers: list[ScriptedStore]) -> None:
    """Only a failure of the last tier raises."""
    store = TieredStore(tiers)
    for tier in tiers[:2]:
        tier.fail("enter", "get", "put", "delete")
    async with store:
        await store.put("k", b"one")
        await store.get("k")
        await store.put("k", b"two")
        assert b"two" == await store.get("k")

        tiers[2].fail("open")
        with pytest.raises(StoreUnavailableError):
            await store.get("k")


async def test_forget_empties_all_but_the_last(tiers: list[ScriptedStore]) -> None:
    """Of one key, or of all."""
    store = TieredStore(tiers)
    await store.put_many({"a": b"", "b": b""})
    await store.get_many("ab")

    await store.forget("a")
    assert [["b"], ["b"], ["a", "b"]] == await held(tiers)
    await store.forget()
    assert [[], [], ["a", "b"]] == await held(tiers)


async def test_entering_enters_each_tier_once(tmp_path: Path) -> None:
    """And closes each once."""
    tiers = [DictStore(), SqliteStore(tmp_path / "copies.db"), SqliteStore(tmp_path / "truth.db")]
    async with TieredStore(tiers) as store:
        await store.put("k", b"v")
        assert b"v" == await store.get("k")
        assert [1, 1, 1] == [tier._users for tier in tiers]

    assert [0, 0, 0] == [tier._users for tier in tiers]


async def test_one_tier_is_that_store() -> None:
    """Without a cache."""
    store = TieredStore([only := DictStore()])
    await store.put("k", b"v")

    assert (b"v", []) == (await store.get("k"), store.stats)
    assert only.capabilities == store.capabilities


def test_synchronous_face_takes_synchronous_tiers(tmp_path: Path) -> None:
    """Stepped if no tier waits."""
    tiers = [storage.sync.DictStore(), storage.sync.FilesystemStore(tmp_path)]
    store = storage.sync.TieredStore(tiers)
    store.put("k", b"v")

    assert [b"v", b"v"] == [store.get("k"), store.get("k")]
    store.forget()
    assert ([], True) == (list(tiers[0].keys()), store.capabilities.steppable)


def test_it_is_shown_as_it_was_built(tmp_path: Path) -> None:
    """By repr and describe."""
    store = TieredStore([DictStore(), FilesystemStore(tmp_path), DictStore()], ttl=60)

    assert f"TieredStore([DictStore(), {FilesystemStore(tmp_path)!r}, DictStore()])" == repr(store)
    assert ["├── tiers[0]: DictStore()", "├── tiers[1]: ", "└── tiers[2]: "] == [
        line[:length] for line, length in zip(describe(store).splitlines()[1:], (25, 14, 14), strict=True)
    ]


@pytest.mark.parametrize(
    ("tiers", "options", "why"),
    [
        ([], {}, "at least one store"),
        ([DictStore(), DictStore()], {"ttl": [1, 2]}, "1, not 2"),
        ([DictStore(), DictStore()], {"ttl": 0}, "ttl"),
        ([DictStore(), DictStore()], {"write": "back"}, "write"),
        ([DictStore(), DictStore()], {"max_object_size": 0}, "max_object_size"),
    ],
)
def test_wrong_option_is_a_value_error(tiers: list[DictStore], options: dict[str, Any], why: str) -> None:
    """The message says what is right."""
    with pytest.raises(ValueError, match=why):
        TieredStore(tiers, **options)


def test_tier_that_cannot_hold_copies_is_refused() -> None:
    """Only the last may be read-only."""
    with pytest.raises(ConfigError, match="readable and writable"):
        TieredStore([ReadonlyStore(DictStore()), DictStore()])

    TieredStore([DictStore(), ReadonlyStore(DictStore())])
