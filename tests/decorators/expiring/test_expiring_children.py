"""Several stores that are taken for one: what has expired in one of them is not found in another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest
from doubles import HandClock, ScriptedStore

from storage import (
    DictStore,
    ExpiringStore,
    FallbackStore,
    KeyNotFoundError,
    MirroringStore,
    ObjectStore,
    PrefixStore,
    ReadonlyStore,
)
from storage._core.traits import Trait


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> HandClock:
    """Return the clock by which objects expire."""
    clock = HandClock()
    monkeypatch.setattr("storage.decorators.expiring.expiry.CLOCK", clock)
    return clock


class ForgettingStore(ExpiringStore):
    """A store that forgets its objects at their deadline, as RedisStore does."""

    _traits = frozenset({Trait.FORGETS, Trait.DATES})


def forgetting() -> ForgettingStore:
    return ForgettingStore(DictStore())


CHILDREN: dict[str, Callable[[], list[ObjectStore]]] = {
    "first": lambda: [PrefixStore(forgetting(), "a/"), DictStore(), DictStore()],
    "last": lambda: [DictStore(), forgetting()],
    "an expiring store": lambda: [DictStore(), ExpiringStore(DictStore())],
    "all": lambda: [forgetting(), forgetting()],
}


@pytest.mark.parametrize("children", CHILDREN.values(), ids=list(CHILDREN))
@pytest.mark.parametrize("make", [MirroringStore, FallbackStore])
async def test_object_expires_in_all_children(
    clock: HandClock, make: Callable[[Sequence[ObjectStore]], ObjectStore], children: Callable[[], list[ObjectStore]]
) -> None:
    """And none puts it back into another."""
    store = make(made := children())
    attributes = {"expires-in": "60"}
    await store.put("k", b"v", attributes=attributes)
    assert (b"v", attributes) == (await store.get("k"), (await store.head("k")).attributes)
    clock.go_on(60)
    for _ in range(2):
        with pytest.raises(KeyNotFoundError):
            await store.get("k")
        assert not await store.exists("k")
        assert [] == [key async for key in store.keys()]
    await store.put("k", b"new", if_absent=True)
    assert b"new" == await store.get("k")
    if make is MirroringStore:
        assert [b"new"] * len(made) == [await child.get("k") for child in made]


async def test_copy_that_a_mirror_puts_back_expires_with_the_others(clock: HandClock) -> None:
    """Its time does not begin anew, and the children are alike for verify."""
    lost, kept = forgetting(), DictStore()
    store = MirroringStore([lost, kept])
    await store.put("k", b"v", attributes={"expires-in": "60"})
    end = clock.now() + timedelta(seconds=60)
    clock.go_on(59)
    await lost.delete("k")
    assert b"v" == await store.get("k")

    assert end == await lost.expires("k")
    assert [] == [difference async for difference in store.verify()]
    clock.go_on(1)
    assert not await store.exists("k")


async def test_children_that_are_alike_are_left_as_they_are() -> None:
    """So are those that cannot be written, or keep no attributes."""
    one, other, forgets = DictStore(), DictStore(), forgetting()
    readonly = ReadonlyStore(DictStore())
    assert (one, other) == MirroringStore([one, other]).stores
    assert (forgets, readonly) == FallbackStore([forgets, readonly]).stores
    added = MirroringStore([forgets, ScriptedStore(one)]).stores[1]
    assert isinstance(added, ExpiringStore)
    assert (None, f"ExpiringStore(ScriptedStore({one!r}))") == (added.sweep_interval, repr(added))
