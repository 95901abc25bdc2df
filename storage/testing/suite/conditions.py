"""Conditions: ``if_absent`` and ``if_match``, alone and in a crowd."""

from __future__ import annotations

import asyncio

import pytest

from storage.base import ObjectStore
from storage.errors import KeyExistsError, PreconditionFailedError, UnsupportedOperationError
from storage.testing.suite.harness import Harness, listed, needs

__all__ = ["Conditions", "count_up", "winners"]

#: Creators of one key at once, of which one wins; workers, and the steps of each, that count by compare-and-swap.
CREATORS = 50
WORKERS = 5
STEPS = 5


async def winners(stores: list[ObjectStore], key: str) -> list[bytes]:
    """Have each of *stores* create *key* at once, with a value of its own, and return the values that won."""

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
    """Add 1 to the number that is in the object, *steps* times, by compare-and-swap."""
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
    """Of many who want the same, one gets it."""

    @needs(conditional_put=True)
    async def test_if_absent_creates(self, store: ObjectStore) -> None:
        """A key that is not there is created, whether the data come at once or streamed."""
        await store.put("k", b"v", if_absent=True)
        etag = await store.put("streamed", [b"v", b"2"], if_absent=True)

        assert b"v" == await self.raw(store, "k")
        assert b"v2" == await self.raw(store, "streamed")
        assert etag == (await store.head("streamed")).etag

    @needs(conditional_put=True)
    async def test_if_absent_refuses_to_overwrite(self, store: ObjectStore) -> None:
        """A key that is there is a KeyExistsError, also a FileExistsError, and the object stays, be it empty."""
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
        """A deleted key is absent."""
        await store.put("a/k", b"v", if_absent=True)
        await store.delete("a/k")

        await store.put("a/k", b"v2", if_absent=True)

        assert b"v2" == await self.raw(store, "a/k")

    @needs(conditional_put=True)
    async def test_one_of_many_creators_wins(self, store: ObjectStore) -> None:
        """Of 50 concurrent creators exactly one wins, and the object is that one's."""
        won = await winners([store] * CREATORS, "a/k")

        assert 1 == len(won)
        assert won[0] == await self.raw(store, "a/k")
        assert ["a/k"] == await listed(store.keys())

    @needs(conditional_put=True)
    async def test_one_of_many_streaming_creators_wins(self, store: ObjectStore) -> None:
        """The same holds for streams, which arrive over some time."""

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
        """The etag that put returned, or head or open told, lets the next put through."""
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
        """An etag of an older version, or nobody's, is a PreconditionFailedError, and the object stays."""
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
        """Where there is no object there is no version of it, also when there was one."""
        etag = await store.put("k", b"one")
        await store.delete("k")

        with pytest.raises(PreconditionFailedError):
            await store.put("k", b"two", if_match=etag)
        with pytest.raises(PreconditionFailedError):
            await store.put("never", b"two", if_match=etag)

        assert [] == await listed(store.keys())

    @needs(conditional_put=True)
    async def test_if_match_refuses_a_deleted_version_of_a_new_object(self, store: ObjectStore) -> None:
        """An object made anew with other bytes is not the version it was."""
        etag = await store.put("k", b"one")
        await store.delete("k")
        await store.put("k", b"two")

        with pytest.raises(PreconditionFailedError):
            await store.put("k", b"three", if_match=etag)

        assert b"two" == await self.raw(store, "k")

    @needs(conditional_put=True)
    async def test_no_increment_is_lost(self, store: ObjectStore) -> None:
        """5 workers that each count up 5 times by compare-and-swap count to 25."""
        await store.put("k", b"0")

        await asyncio.gather(*(count_up(store, "k", STEPS) for _ in range(WORKERS)))

        assert b"%d" % (WORKERS * STEPS) == await self.raw(store, "k")

    @needs(conditional_put=True)
    async def test_if_match_holds_against_plain_puts(self, store: ObjectStore) -> None:
        """Of a swap and a plain put at once, the plain one is never lost."""
        for number in range(10):
            etag = await store.put("k", b"base%d" % number)

            swap, _ = await asyncio.gather(
                store.put("k", b"swapped", if_match=etag), store.put("k", b"plain"), return_exceptions=True
            )

            assert isinstance(swap, str | PreconditionFailedError)
            assert b"plain" == await store.get("k")  # it came second, or made the swap fail

    async def test_both_conditions_are_a_value_error(self, store: ObjectStore) -> None:
        """No object is both absent and of a version; a store without conditions may refuse them as such."""
        etag = await store.put("k", b"old")

        with pytest.raises((ValueError, UnsupportedOperationError)) as caught:
            await store.put("k", b"new", if_absent=True, if_match=etag)

        assert store.capabilities.conditional_put is isinstance(caught.value, ValueError)
        assert b"old" == await self.raw(store, "k")

    @needs(conditional_put=False)
    async def test_conditional_put_is_unsupported(self, store: ObjectStore) -> None:
        """A store that cannot hold a put's condition refuses it, and puts nothing."""
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
        """The right etag deletes."""
        etag = await store.put("k", b"v")

        await store.delete("k", if_match=etag)

        assert None is await self.raw(store, "k")

    @needs(conditional_delete=True)
    async def test_delete_if_match_refuses_another_version_and_a_missing_key(self, store: ObjectStore) -> None:
        """The wrong etag deletes nothing, and a missing key has none: here it is an error."""
        stale = await store.put("k", b"one")
        await store.put("k", b"two")

        for key, etag in (("k", stale), ("k", "nonsense"), ("missing", stale)):
            with pytest.raises(PreconditionFailedError) as caught:
                await store.delete(key, if_match=etag)
            assert key == caught.value.key

        assert b"two" == await self.raw(store, "k")

    @needs(conditional_delete=True)
    async def test_one_of_many_deleters_wins(self, store: ObjectStore) -> None:
        """A version is deleted once."""
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
        """A store that cannot hold a delete's condition refuses it, and deletes nothing."""
        etag = await store.put("k", b"v")

        with pytest.raises(UnsupportedOperationError) as caught:
            await store.delete("k", if_match=etag)

        assert "k" == caught.value.key
        assert b"v" == await self.raw(store, "k")
