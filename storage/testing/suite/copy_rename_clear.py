"""Inside one store: `copy`, `rename` and `clear`."""

from __future__ import annotations

import asyncio
from itertools import product

import pytest

from storage.base import ObjectStore
from storage.errors import KeyExistsError, KeyNotFoundError
from storage.testing.suite.harness import Harness, listed, needs

__all__ = ["CopyRenameClear"]


class CopyRenameClear(Harness):
    """Objects are copied and renamed to other keys, and cleared by prefix."""

    async def test_copy_copies(self, store: ObjectStore) -> None:
        """The copy has the source's bytes and the etag that copy returned; the source stays."""
        for size in (0, 10, 1_500_000):
            data = b"0123456789" * (size // 10)
            await self.fill(store, {"a/source": data})

            etag = await store.copy("a/source", f"b/{size}")

            assert [data, data] == [await self.raw(store, "a/source"), await self.raw(store, f"b/{size}")]
            info = await store.head(f"b/{size}")
            assert (f"b/{size}", len(data), etag) == (info.key, info.size, info.etag)
        assert ["a/source", "b/0", "b/10", "b/1500000"] == await listed(store.keys())

    async def test_copy_replaces_its_target(self, store: ObjectStore) -> None:
        """`copy` replaces an object that exists under the target key."""
        await self.fill(store, {"source": b"new", "target": b"a much longer old one"})

        await store.copy("source", "target")

        assert b"new" == await self.raw(store, "target")

    async def test_copies_are_independent(self, store: ObjectStore) -> None:
        """Later changes to the source do not change the copy, and changes to the copy do not change the source."""
        await self.fill(store, {"k": b"one"})
        await store.copy("k", "copy")

        await store.put("k", b"two")
        assert b"one" == await self.raw(store, "copy")
        await store.copy("k", "copy")
        await store.delete("copy")

        assert b"two" == await self.raw(store, "k")

    async def test_rename_moves(self, store: ObjectStore) -> None:
        """After rename the object has the new key and the etag that rename returned; the old key is gone."""
        await self.fill(store, {"a/source": b"v", "b/target": b"old"})

        etag = await store.rename("a/source", "b/target")

        assert [None, b"v"] == [await self.raw(store, "a/source"), await self.raw(store, "b/target")]
        assert ["b/target"] == await listed(store.keys())
        assert etag == (await store.head("b/target")).etag

    async def test_onto_itself_changes_nothing(self, store: ObjectStore) -> None:
        """An object that is copied or renamed to its own key stays, and the returned etag is its etag."""
        await self.fill(store, {"copied": b"v", "renamed": b"v"})

        etags = {
            "copied": await store.copy("copied", "copied"),
            "renamed": await store.rename("renamed", "renamed"),
        }

        assert [b"v", b"v"] == [await self.raw(store, key) for key in etags]
        assert etags == {key: (await store.head(key)).etag for key in etags}

    async def test_missing_source_is_not_found(self, store: ObjectStore) -> None:
        """`copy` and `rename` of a missing source are a KeyNotFoundError with the source's key; the target stays."""
        await self.fill(store, {"target": b"old"})

        for move, target in product((store.copy, store.rename), ("target", "new", "missing")):
            with pytest.raises(KeyNotFoundError) as caught:
                await move("missing", target)
            assert "missing" == caught.value.key

        assert b"old" == await self.raw(store, "target")
        assert ["target"] == await listed(store.keys())

    @needs(conditional_put=True)
    async def test_if_absent_spares_the_target(self, store: ObjectStore) -> None:
        """With if_absent an existing target is a KeyExistsError with its key, also if it is the source itself."""
        await self.fill(store, {"source": b"new", "target": b"old"})

        for move, target in product((store.copy, store.rename), ("target", "source")):
            with pytest.raises(KeyExistsError) as caught:
                await move("source", target, if_absent=True)
            assert target == caught.value.key
            assert [b"new", b"old"] == [await self.raw(store, "source"), await self.raw(store, "target")]

    @needs(conditional_put=True)
    async def test_if_absent_lets_a_new_target_be_made(self, store: ObjectStore) -> None:
        """With if_absent a missing target is created; a missing source is still a KeyNotFoundError."""
        await self.fill(store, {"source": b"v"})

        etags = {
            "d/copied": await store.copy("source", "d/copied", if_absent=True),
            "d/renamed": await store.rename("source", "d/renamed", if_absent=True),
        }
        for move in (store.copy, store.rename):
            with pytest.raises(KeyNotFoundError):
                await move("missing", "d/other", if_absent=True)

        assert [b"v", b"v"] == [await self.raw(store, key) for key in etags]
        assert etags == {key: (await store.head(key)).etag for key in etags}

    @needs(conditional_put=True)
    @pytest.mark.parametrize("method", ["copy", "rename"])
    async def test_one_of_many_movers_wins(self, store: ObjectStore, method: str) -> None:
        """Of several concurrent copies or renames to one new key exactly one succeeds; the other sources stay."""
        sources = {f"s{number}": b"%d" % number for number in range(10)}
        await self.fill(store, sources)

        async def move(source: str) -> bool:
            try:
                await getattr(store, method)(source, "target", if_absent=True)
            except KeyExistsError:
                return False
            return True

        won = dict(zip(sources, await asyncio.gather(*map(move, sources)), strict=True))

        assert 1 == sum(won.values())
        winner = next(source for source in won if won[source])
        assert sources[winner] == await self.raw(store, "target")
        kept = {key: data for key, data in sources.items() if method == "copy" or key != winner}
        assert sorted([*kept, "target"]) == await listed(store.keys())

    async def test_clear_deletes_below_a_prefix(self, store: ObjectStore) -> None:
        """`clear` deletes the objects whose keys start with the prefix, and no others."""
        await self.fill(store, dict.fromkeys(["a/b", "a/c/d", "a-b", "ab", "b", "A/b", "xa/b"], b"v"))

        await store.clear("a/")
        assert ["A/b", "a-b", "ab", "b", "xa/b"] == await listed(store.keys())

        await store.clear("a")
        assert ["A/b", "b", "xa/b"] == await listed(store.keys())

    async def test_clear_takes_no_character_for_a_wildcard(self, store: ObjectStore) -> None:
        """Characters that are wildcards in SQL or a shell are plain characters in clear's prefix."""
        keys = ["a%1", "ab1", "a_1", "a*1", "a?1", "[ab]1"]
        held = await self.fill_some(store, keys)

        for prefix in ("a%", "a_", "a*", "a?", "[ab]"):
            await store.clear(prefix)
            held = {key: data for key, data in held.items() if not key.startswith(prefix)}
            assert sorted(held) == await listed(store.keys())

    async def test_clear_deletes_everything(self, store: ObjectStore) -> None:
        """`clear` without a prefix deletes all objects, any number of them; a second call is no error."""
        await self.fill(store, {f"d{number % 7}/{number}": b"v" for number in range(self.many)})

        await store.clear()
        await store.clear()
        await store.clear("nothing/")

        assert [] == await listed(store.keys())
        await store.put("k", b"works")
        assert b"works" == await self.raw(store, "k")
