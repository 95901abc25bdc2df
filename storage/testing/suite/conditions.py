"""Conditions: ``if_absent`` and ``if_match``, alone and with concurrent writers."""

from __future__ import annotations

import asyncio

import pytest

from storage.base import ObjectStore
from storage.errors import KeyExistsError, PreconditionFailedError, UnsupportedOperationError
from storage.testing.suite.harness import Harness, listed, needs

__all__ = ["Conditions", "count_up", "winners"]

#: Concurrent creators of one key, of which one wins; workers that count by compare-and-swap, and the steps of each.
CREATORS = 50
WORKERS = 5
STEPS = 5


async def winners(stores: list[ObjectStore], key: str) -> list[bytes]:
    """Create *key* through all *stores* concurrently, with different values, and return those whose put succeeded."""

    async def create(number: int) -> bytes | None:
        value = b"%d" % number
        try:
            await stores[number].put(key, value, if_absent=True)
        except KeyExistsError:
            return None
        return value

    outcomes = await asyncio.gather(*(create(number) for number in range(len(stores))))
    return [value for value in outcomes if value is not None]


async def count_up(store: ObjectStore, key: str, steps: int) -> None:
    """Add 1 to the number in the object, *steps* times, by compare-and-swap."""
    for _ in range(steps):
        while True:
            async with store.open(key) as reader:
                number, etag = int(await reader.read()), reader.info.etag
            try:
                await store.put(key, b"%d" % (number + 1), if_match=etag)
                break
            except PreconditionFailedError:
                await asyncio.sleep(0)


class Conditions(Harness):
    """Of several concurrent writers with the same condition, one succeeds."""

    @needs(conditional_put=True)
    async def test_if_absent_creates(self, store: ObjectStore) -> None:
        """With if_absent a missing key is created, from bytes and from a stream."""
        await store.put("k", b"v", if_absent=True)
        etag = await store.put("streamed", [b"v", b"2"], if_absent=True)

        assert b"v" == await self.raw(store, "k")
        assert b"v2" == await self.raw(store, "streamed")
        assert etag == (await store.head("streamed")).etag

    @needs(conditional_put=True)
    async def test_if_absent_refuses_to_overwrite(self, store: ObjectStore) -> None:
        """With if_absent an existing key is a KeyExistsError (a FileExistsError); its object stays, also if empty."""
        await self.fill(store, {"k": b"old", "empty": b""})

        kinds: list[bytes | list[bytes]] = [b"new", b"", [b"new"]]
        for data in kinds:
            with pytest.raises(KeyExistsError) as caught:
                await store.put("k", data, if_absent=True)
            with pytest.raises(KeyExistsError):
                await store.put("empty", data, if_absent=True)

            assert "k" == caught.value.key
            assert isinstance(caught.value, FileExistsError)
            assert [b"old", b""] == [await self.raw(store, "k"), await self.raw(store, "empty")]
            assert ["empty", "k"] == await listed(store.keys())

    @needs(conditional_put=True)
    async def test_if_absent_works_again_after_delete(self, store: ObjectStore) -> None:
        """With if_absent a key that was deleted can be created again."""
        await store.put("a/k", b"v", if_absent=True)
        await store.delete("a/k")

        await store.put("a/k", b"v2", if_absent=True)

        assert b"v2" == await self.raw(store, "a/k")

    @needs(conditional_put=True)
    async def test_one_of_many_creators_wins(self, store: ObjectStore) -> None:
        """Of 50 concurrent creators exactly one succeeds, and the object has its bytes."""
        won = await winners([store] * CREATORS, "a/k")

        assert 1 == len(won)
        assert won[0] == await self.raw(store, "a/k")
        assert ["a/k"] == await listed(store.keys())

    @needs(conditional_put=True)
    async def test_one_of_many_streaming_creators_wins(self, store: ObjectStore) -> None:
        """Of several creators that put streams concurrently exactly one succeeds."""

        async def create(number: int) -> bool:
            try:
                await store.put("k", [b"%d" % number, b"."], if_absent=True)
            except KeyExistsError:
                return False
            return True

        won = await asyncio.gather(*(create(number) for number in range(10)))

        assert 1 == sum(won)
        assert b"%d." % won.index(True) == await self.raw(store, "k")

    @needs(conditional_put=True)
    async def test_if_match_replaces_the_version_it_names(self, store: ObjectStore) -> None:
        """With if_match, the etag from put, head or open lets the next put replace the object."""
        etag = await store.put("k", b"one")
        etag = await store.put("k", b"two", if_match=etag)
        await store.put("k", [b"thr", b"ee"], if_match=etag)
        await store.put("k", b"four", if_match=(await store.head("k")).etag)
        async with store.open("k") as reader:
            etag = reader.info.etag
        await store.put("k", b"five", if_match=etag)

        assert b"five" == await self.raw(store, "k")

    @needs(conditional_put=True)
    async def test_if_match_refuses_another_version(self, store: ObjectStore) -> None:
        """An etag of an older version, or of none, is a PreconditionFailedError, and the object stays."""
        stale = await store.put("k", b"one")
        etag = await store.put("k", b"two")

        for wrong in (stale, "nonsense", "", "*", '"quoted"', "é", etag + "0"):
            with pytest.raises(PreconditionFailedError) as caught:
                await store.put("k", b"three", if_match=wrong)
            assert "k" == caught.value.key
            assert not caught.value.retryable

        assert b"two" == await self.raw(store, "k")
        assert etag == (await store.head("k")).etag

    @needs(conditional_put=True)
    async def test_if_match_refuses_a_missing_key(self, store: ObjectStore) -> None:
        """With if_match a missing key is a PreconditionFailedError, also one that was deleted."""
        etag = await store.put("k", b"one")
        await store.delete("k")

        with pytest.raises(PreconditionFailedError):
            await store.put("k", b"two", if_match=etag)
        with pytest.raises(PreconditionFailedError):
            await store.put("never", b"two", if_match=etag)

        assert [] == await listed(store.keys())

    @needs(conditional_put=True)
    async def test_if_match_refuses_a_deleted_version_of_a_new_object(self, store: ObjectStore) -> None:
        """An etag from before a delete does not match the new object, which has other bytes."""
        etag = await store.put("k", b"one")
        await store.delete("k")
        await store.put("k", b"two")

        with pytest.raises(PreconditionFailedError):
            await store.put("k", b"three", if_match=etag)

        assert b"two" == await self.raw(store, "k")

    @needs(conditional_put=True)
    async def test_no_increment_is_lost(self, store: ObjectStore) -> None:
        """Five workers that each add 1 five times by compare-and-swap reach 25."""
        await store.put("k", b"0")

        await asyncio.gather(*(count_up(store, "k", STEPS) for _ in range(WORKERS)))

        assert b"%d" % (WORKERS * STEPS) == await self.raw(store, "k")

    @needs(conditional_put=True)
    async def test_if_match_holds_against_plain_puts(self, store: ObjectStore) -> None:
        """When a put with if_match and a plain put run concurrently, the plain put is never lost."""
        for number in range(10):
            etag = await store.put("k", b"base%d" % number)

            swap, _ = await asyncio.gather(
                store.put("k", b"swapped", if_match=etag), store.put("k", b"plain"), return_exceptions=True
            )

            assert isinstance(swap, str | PreconditionFailedError)
            assert b"plain" == await store.get("k")  # it came second, or the swap failed

    async def test_both_conditions_are_a_value_error(self, store: ObjectStore) -> None:
        """`if_absent` with `if_match` is a ValueError; a store without conditions may report them as unsupported."""
        etag = await store.put("k", b"old")

        with pytest.raises((ValueError, UnsupportedOperationError)) as caught:
            await store.put("k", b"new", if_absent=True, if_match=etag)

        assert store.capabilities.conditional_put is isinstance(caught.value, ValueError)
        assert b"old" == await self.raw(store, "k")

    @needs(conditional_put=False)
    async def test_conditional_put_is_unsupported(self, store: ObjectStore) -> None:
        """A store without conditional puts refuses a put with a condition, and puts nothing."""
        etag = await store.put("k", b"old")

        with pytest.raises(UnsupportedOperationError) as absent:
            await store.put("new", b"new", if_absent=True)
        with pytest.raises(UnsupportedOperationError) as match:
            await store.put("k", b"new", if_match=etag)
        with pytest.raises(UnsupportedOperationError):
            await store.copy("k", "copy", if_absent=True)

        assert ["new", "k"] == [absent.value.key, match.value.key]
        assert isinstance(absent.value, NotImplementedError)
        assert b"old" == await self.raw(store, "k")
        assert ["k"] == await listed(store.keys())

    @needs(conditional_delete=True)
    async def test_delete_if_match_deletes_the_version_it_names(self, store: ObjectStore) -> None:
        """`delete` with the current etag deletes the object."""
        etag = await store.put("k", b"v")

        await store.delete("k", if_match=etag)

        assert None is await self.raw(store, "k")

    @needs(conditional_delete=True)
    async def test_delete_if_match_refuses_another_version_and_a_missing_key(self, store: ObjectStore) -> None:
        """`delete` with a wrong etag, or of a missing key, is a PreconditionFailedError and deletes nothing."""
        stale = await store.put("k", b"one")
        await store.put("k", b"two")

        for key, etag in (("k", stale), ("k", "nonsense"), ("missing", stale)):
            with pytest.raises(PreconditionFailedError) as caught:
                await store.delete(key, if_match=etag)
            assert key == caught.value.key

        assert b"two" == await self.raw(store, "k")

    @needs(conditional_delete=True)
    async def test_one_of_many_deleters_wins(self, store: ObjectStore) -> None:
        """Of 20 concurrent deletes with the same etag exactly one succeeds."""
        etag = await store.put("k", b"v")

        async def delete() -> bool:
            try:
                await store.delete("k", if_match=etag)
            except PreconditionFailedError:
                return False
            return True

        assert 1 == sum(await asyncio.gather(*(delete() for _ in range(20))))

    @needs(conditional_delete=False, listable=None)
    async def test_conditional_delete_is_unsupported(self, store: ObjectStore) -> None:
        """A store without conditional deletes refuses a delete with a condition, and deletes nothing."""
        etag = await store.put("k", b"v")

        with pytest.raises(UnsupportedOperationError) as caught:
            await store.delete("k", if_match=etag)

        assert "k" == caught.value.key
        assert b"v" == await self.raw(store, "k")
