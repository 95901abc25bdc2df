"""`ExpiringStore` removes expired objects, and they block no call."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from doubles import HandClock
from expiring_tools import ASKING, expiring, found
from processes.workers import CREATED, compete, in_processes

from storage import (
    Capabilities,
    Data,
    DictStore,
    ExpiringStore,
    FilesystemStore,
    KeyExistsError,
    KeyNotFoundError,
    ObjectStore,
    PreconditionFailedError,
    SqliteStore,
    StoreDecorator,
    StoreUnavailableError,
    UnsupportedOperationError,
)
from storage.testing.suite.harness import listed

# -- removal ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted({*ASKING, "exists"} - {"a range after its end"}))
async def test_what_is_found_expired_is_removed(base: ObjectStore, clock: HandClock, name: str) -> None:
    """The call that finds it removes it, even if the store was not entered."""
    store = expiring(base, clock, 60)
    await store.put("a/k", b"value")
    clock.go_on(60)

    with suppress(KeyNotFoundError):
        await (ASKING[name](store) if name in ASKING else store.exists("a/k"))

    assert [] == await listed(base.keys())


class Raced(StoreDecorator):
    """Another caller puts into the store below just before a conditional delete."""

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        if if_match is not None:
            await self.base.put(key, b"new")
        await self.base.delete(key, if_match=if_match)


async def test_removal_never_takes_what_was_put_meanwhile(base: ObjectStore, clock: HandClock) -> None:
    """Neither the removal by a read, nor by a sweep, nor before a conditional put."""
    store = expiring(Raced(base), clock, 60)
    for call in (
        lambda: store.get("k"),
        lambda: store.sweep(),
        lambda: store.put("k", b"x", if_absent=True),
        lambda: store.delete("k", if_match="nonsense"),
    ):
        await store.put("k", b"old")
        clock.go_on(60)
        with suppress(KeyNotFoundError, KeyExistsError, PreconditionFailedError):
            await call()
        if await base.get("k") == b"old":  # it was not even tried
            await store.sweep()

        assert b"new" == await base.get("k")


class HashedEtags(StoreDecorator):
    """A store that declares that equal bytes share an etag."""

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, etags=False)


async def test_nothing_is_removed_where_equal_bytes_share_an_etag(clock: HandClock) -> None:
    """A condition would not protect an object that was put again. Expired objects are only hidden."""
    base = DictStore()
    store = expiring(HashedEtags(base), clock, 60)
    etag = await store.put("k", b"v")
    clock.go_on(60)

    assert [None, []] == [await found(store, "k"), await listed(store.keys())]
    assert ["k"] == await listed(base.keys())
    for call in (store.sweep(), store.put("k", b"w", if_absent=True)):
        with pytest.raises(UnsupportedOperationError, match="cannot delete a single version"):
            await call
    with pytest.raises(PreconditionFailedError):
        await store.put("k", b"w", if_match=etag)
    await store.put("k", b"w")
    assert b"w" == await store.get("k")


async def test_removal_that_fails_does_not_fail_a_read(clock: HandClock) -> None:
    """The object is missing, even if its bytes cannot be removed."""

    class Undeletable(StoreDecorator):
        async def delete(self, key: str, *, if_match: str | None = None) -> None:
            raise StoreUnavailableError("away", key=key)

    store = expiring(Undeletable(DictStore()), clock, 60)
    await store.put("k", b"v")
    clock.go_on(60)

    assert [None, False] == [await found(store, "k"), await store.exists("k")]


# -- conditions over what has expired --------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"new", b"", [b"n", b"ew"]], ids=["bytes", "empty", "stream"])
async def test_expired_object_does_not_block_a_creator(base: ObjectStore, clock: HandClock, data: Data) -> None:
    """It counts as absent, swept or not; a copy or rename may replace it, too."""
    store = expiring(base, clock, 60)
    await store.put("source", b"v", ttl=1000)
    await store.put_many(dict.fromkeys(["k", "copy", "renamed"], b"old"))
    clock.go_on(60)

    await store.put("k", data, if_absent=True)
    await store.copy("source", "copy", if_absent=True)
    await store.rename("source", "renamed", if_absent=True)

    assert [b"".join(data) if isinstance(data, list) else data, b"v", b"v"] == [
        await store.get("k"),
        await store.get("copy"),
        await store.get("renamed"),
    ]


async def test_one_of_many_creators_over_an_expired_object_wins(base: ObjectStore, clock: HandClock) -> None:
    """The object that is stored is that of the winner."""
    store = expiring(base, clock, 60)

    async def create(number: int) -> bool:
        try:
            await store.put("k", b"%d" % number, if_absent=True)
        except KeyExistsError:
            return False
        return True

    for _ in range(5):
        await store.put("k", b"old")
        clock.go_on(60)
        won = await asyncio.gather(*(create(number) for number in range(20)), found(store, "k"), store.sweep())

        assert 1 == sum(outcome is True for outcome in won[:20])
        assert b"%d" % won.index(True) == await store.get("k")


@pytest.mark.process
@pytest.mark.parametrize("name", ["expiring-filesystem", "expiring-sqlite"])
async def test_one_of_many_processes_over_expired_objects_wins(name: str, tmp_path: Path) -> None:
    """The base checks the condition, so it holds across processes."""
    base: ObjectStore = FilesystemStore(tmp_path) if "filesystem" in name else SqliteStore(tmp_path / "objects.db")
    async with base:
        for key in CREATED:
            await base.put(key, b"old", attributes={"expires-at": "2001-01-01T00:00:00.000000+00:00"})
        await base.put("count", b"0")

    won = await asyncio.to_thread(in_processes, compete, 4, name, tmp_path, 1)

    assert sorted(CREATED) == sorted(key for keys in won for key in keys)
    async with ExpiringStore(base, 60) as store:
        assert {key: key.encode() for key in CREATED} == await store.get_many(CREATED)


async def test_expired_version_is_none_to_match(base: ObjectStore, clock: HandClock) -> None:
    """A compare-and-swap or a delete with its etag fails; an unconditional delete does not."""
    store = expiring(base, clock, 60)
    etag = await store.put("k", b"old")
    clock.go_on(60)

    with pytest.raises(PreconditionFailedError):
        await store.put("k", b"new", if_match=etag)
    with pytest.raises(PreconditionFailedError):
        await store.delete("k", if_match=etag)
    assert None is await found(store, "k")
    await store.put("k", b"old")
    clock.go_on(60)
    await store.delete("k")
    assert [] == await listed(base.keys())
