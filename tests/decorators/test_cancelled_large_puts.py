"""A large put that is cancelled while it is being published: whatever the store did, the decorators over it agree."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from cancelling import interrupted

from storage import (
    CachingStore,
    DictStore,
    Event,
    ExpiringStore,
    FilesystemStore,
    HashdirStore,
    NotifyingStore,
    ObjectStore,
    OutcomeUnknownError,
    SqliteStore,
    TieredStore,
    ZipStore,
)

MAKE: dict[str, Callable[[Path], ObjectStore]] = {
    "filesystem": FilesystemStore,
    "hashdir": HashdirStore,
    "sqlite": lambda path: SqliteStore(path / "objects.db"),
    "zip": lambda path: ZipStore(path / "objects.zip"),
}

LARGE = b"n" * 2_500_000


async def pieces() -> AsyncIterator[bytes]:
    """Yield the new object in three pieces, which no store holds together."""
    for begin in range(0, len(LARGE), 1_000_000):
        yield LARGE[begin : begin + 1_000_000]


@pytest.mark.parametrize("make", MAKE.values(), ids=list(MAKE))
async def test_caches_bounds_and_handlers_know_of_a_put_that_was_cancelled(
    tmp_path: Path, make: Callable[[Path], ObjectStore]
) -> None:
    """At whichever await: reads give what the store has, the bounds count it, and the handlers were called."""
    tmp_path.joinpath("d").mkdir()
    async with make(tmp_path / "d") as main:
        tiers = TieredStore([DictStore(), DictStore(), CachingStore(main, DictStore(), write="through", negative=1000)])
        bounded = ExpiringStore(tiers, max_bytes=4_000_000)
        events: list[Event] = []
        store = NotifyingStore(bounded, on_put=events.append)
        number, reached = 1, True
        while reached:
            await store.put("k", b"old")
            assert b"old" == await store.get("k")
            events.clear()
            reached = await interrupted(store.put("k", pieces()), number)
            found = await main.get("k")
            assert found in (b"old", LARGE)
            assert found == await store.get("k")
            assert len(found) == (await store.head("k")).size
            assert len(found) <= bounded._bounds._bytes
            assert [isinstance(event.error, OutcomeUnknownError) for event in events] == [reached]
            number += 1
        await store.put("new", b"")
        assert number > 2
