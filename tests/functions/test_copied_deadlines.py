"""A copy of an object that expires does not begin its life anew: it expires when the original does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import pytest
from doubles import HandClock

from storage import (
    DictStore,
    EncryptingStore,
    ExpiringStore,
    FallbackStore,
    ObjectStore,
    RoutingStore,
    copy_store,
    sync_stores,
)
from storage._core.deadlines import CARRIED

KEYS = {"one": b"k" * 32}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> HandClock:
    """Return the clock by which objects expire."""
    clock = HandClock()
    monkeypatch.setattr("storage.decorators.expiring.expiry.CLOCK", clock)
    return clock


Copying = Callable[[ExpiringStore, ExpiringStore], Awaitable[object]]


async def _restored(source: ExpiringStore, target: ExpiringStore) -> None:
    """Copy to a store that expires nothing, and from there."""
    backup = DictStore()
    await copy_store(source, backup)
    await copy_store(backup, target)


async def _synced_back(source: ExpiringStore, target: ExpiringStore) -> None:
    backup = DictStore()
    await sync_stores(source, backup)
    await sync_stores(backup, target)


COPIES: dict[str, Copying] = {
    "copy_store": copy_store,
    "sync_stores": sync_stores,
    "sync_stores by etag": lambda source, target: sync_stores(source, target, compare="etag"),
    "restored": _restored,
    "synced back": _synced_back,
    "copied by a FallbackStore": lambda source, target: FallbackStore([target, source]).copy("a/k", "a/k"),
    "copied by a RoutingStore": lambda source, target: RoutingStore({"a/": source, "b/": target}).copy("a/k", "b/k"),
    "renamed by a RoutingStore": lambda source, target: RoutingStore({"a/": source, "b/": target}).rename("a/k", "b/k"),
}


async def deadlines(store: ExpiringStore) -> list[datetime | None]:
    return [await store.expires(key) async for key in store.keys()]


@pytest.mark.parametrize("copied", COPIES.values(), ids=list(COPIES))
@pytest.mark.parametrize("ttl", [None, 3600.0, 10.0], ids=["no ttl", "a longer ttl", "a shorter ttl"])
@pytest.mark.parametrize("attributes", [None, {"expires-in": "60"}], ids=["ttl", "attribute"])
async def test_copy_expires_with_its_original(
    clock: HandClock, copied: Copying, ttl: float | None, attributes: dict[str, str] | None
) -> None:
    """However it was copied, and however long it would live if it were put now. A shorter life in the target counts."""
    source, target = ExpiringStore(DictStore(), 60), ExpiringStore(DictStore(), ttl)
    await source.put("a/k", b"v", attributes=attributes)
    end = clock.now() + timedelta(seconds=60)
    clock.go_on(40)
    await copied(source, target)

    shorter = ttl == 10 and attributes is None
    assert [end - timedelta(seconds=10) if shorter else end] == await deadlines(target)
    clock.go_on(20)
    assert [] == [key async for key in target.keys()]


async def test_copy_inside_of_a_store_keeps_the_deadline(clock: HandClock) -> None:
    """Also where it is read and written, as by a store that encrypts."""
    base = ExpiringStore(DictStore(), 60)
    store = EncryptingStore(base, KEYS)
    await store.put("k", b"v")
    end = await base.expires("k")
    clock.go_on(30)
    await store.copy("k", "copy")
    await store.rename("k", "renamed")
    await base.copy("copy", "plain")
    assert [end] * 3 == await deadlines(base)


async def test_copy_can_be_given_a_longer_life(clock: HandClock) -> None:
    """By `touch`, and by a put with a ttl of its own."""
    source, target = ExpiringStore(DictStore(), 60), ExpiringStore(DictStore(), 3600)
    await source.put("k", b"v")
    await copy_store(source, target)
    await target.touch("k")
    hour = clock.now() + timedelta(hours=1)
    assert hour == await target.expires("k")

    info = await source.head("k")
    carried = {CARRIED: "2001-09-09T01:47:40+00:00"}
    assert info.expires is not None
    await target.put("k", b"v", attributes=carried)
    assert info.expires == await target.expires("k")
    await target.put("k", b"v", attributes=carried, ttl=3600)
    assert (hour, {}) == (await target.expires("k"), (await target.head("k")).attributes)


async def test_sync_finds_a_copy_that_lives_too_long_and_only_that(clock: HandClock) -> None:
    """The original was given a shorter life; a target with a shorter life of its own is left alone."""
    source, plain, short = ExpiringStore(DictStore(), 60), DictStore(), ExpiringStore(DictStore(), 10)
    await source.put("k", b"v")
    targets: list[ObjectStore] = [plain, short]
    for target in targets:
        assert 1 == (await sync_stores(source, target)).objects
        assert 1 == (await sync_stores(source, target)).skipped
    await source.touch("k", ttl=5)
    assert 1 == (await sync_stores(source, plain)).objects
    clock.go_on(5)
    assert not await ExpiringStore(plain).exists("k")
