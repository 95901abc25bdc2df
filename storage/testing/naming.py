"""Keys: each comes back as it was given, or is refused by every method alike."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from storage.base import ObjectStore
from storage.errors import InvalidKeyError, KeyConflictError, KeyNotFoundError, StorageError
from storage.testing.harness import Harness, listed
from storage.testing.keys import NASTY_KEYS

__all__ = ["Naming"]


async def _open(store: ObjectStore, key: str) -> bytes:
    async with store.open(key) as reader:
        return await reader.read()


#: Every method that takes a key, on that key.
METHODS: dict[str, Callable[[ObjectStore, str], Awaitable[object]]] = {
    "get": lambda store, key: store.get(key),
    "head": lambda store, key: store.head(key),
    "open": _open,
    "exists": lambda store, key: store.exists(key),
    "put": lambda store, key: store.put(key, b"v"),
    "put of a stream": lambda store, key: store.put(key, [b"v"]),
    "delete": lambda store, key: store.delete(key),
    "copy from": lambda store, key: store.copy(key, "target"),
    "copy to": lambda store, key: store.copy("source", key),
    "rename from": lambda store, key: store.rename(key, "target"),
    "rename to": lambda store, key: store.rename("source", key),
}

#: What the methods give for a key that is valid, and under which there is no object.
MISSING: dict[str, object] = {
    **dict.fromkeys(("get", "head", "open", "copy from", "rename from"), KeyNotFoundError),
    "exists": False,
    "delete": None,
}


async def _outcome(call: Awaitable[object]) -> object:
    """Return what *call* gives, or the class of its StorageError."""
    try:
        return await call
    except StorageError as error:
        return type(error)


class Naming(Harness):
    """No key becomes another."""

    async def test_nasty_keys_come_back_or_are_refused(self, store: ObjectStore) -> None:
        """
        With all nasty keys in the store at once, each that was taken has its own object and is listed as it is.

        The others were refused as invalid, or because the store cannot hold them beside one that it holds.
        """
        outcomes = {}
        for name, key in NASTY_KEYS.items():
            outcomes[name] = await _outcome(store.put(key, name.encode()))
        taken = {name: key for name, key in NASTY_KEYS.items() if isinstance(outcomes[name], str)}

        refused = {name: outcome for name, outcome in outcomes.items() if name not in taken}
        assert set(refused.values()) <= {InvalidKeyError, KeyConflictError}
        assert {name: outcome is InvalidKeyError for name, outcome in refused.items()} == {
            name: await _outcome(store.exists(NASTY_KEYS[name])) is InvalidKeyError for name in refused
        }
        assert {name: name.encode() for name in taken} == {
            name: await _outcome(store.get(key)) for name, key in taken.items()
        }
        assert {name: name.encode() for name in taken} == {
            name: await self.raw(store, key) for name, key in taken.items()
        }
        assert taken == {name: (await store.head(key)).key for name, key in taken.items()}
        assert sorted(set(taken.values())) == await listed(store.keys())
        assert [] == [name for name, key in taken.items() if not await store.exists(key)]

        for name, key in taken.items():
            await store.delete(key)
            assert not await store.exists(key), name
        assert [] == await listed(store.keys())

    async def test_plain_keys_are_taken(self, store: ObjectStore) -> None:
        """Letters, digits and what else is common in names of files works everywhere."""
        keys = ["a", "Z", "0", "with-dash", "under_score", "dot.ted", "a1/b2/c3", "x" * 100, "/".join("bcdefghij")]

        for key in keys:
            await store.put(key, key.encode())

        assert {key: key.encode() for key in keys} == {key: await store.get(key) for key in keys}

    async def test_every_method_agrees_on_a_key(self, store: ObjectStore) -> None:
        """
        A key that `exists` refuses as invalid is refused by all, with an error that carries it and is a ValueError.

        One that it takes is refused by none: where there is no object it is just missing.
        """
        await self.fill(store, {"source": b"v"})
        wrong: dict[str, dict[str, object]] = {}
        for name, key in NASTY_KEYS.items():
            if name.endswith("inside"):
                continue  # as good as alone, and 128 of them
            valid = await _outcome(store.exists(key)) is not InvalidKeyError
            for method, expected in MISSING.items() if valid else dict.fromkeys(METHODS, key).items():
                try:
                    found: object = await METHODS[method](store, key)
                except InvalidKeyError as error:
                    found = type(error) if valid or not isinstance(error, ValueError) else error.key
                except StorageError as error:
                    found = type(error)
                if expected != found:
                    wrong.setdefault(name, {})[method] = found

        assert {} == wrong
        assert ["source"] == await listed(store.keys())

    @pytest.mark.parametrize("key", ["", "\ud800", "x\udfff"])
    async def test_no_store_takes_what_is_not_a_key(self, store: ObjectStore, key: str) -> None:
        """The empty key and lone surrogates, which no encoding has, are invalid in every store and method."""
        await self.fill(store, {"source": b"v"})

        assert dict.fromkeys(METHODS, InvalidKeyError) == {
            method: await _outcome(call(store, key)) for method, call in METHODS.items()
        }

    @pytest.mark.parametrize("key", [None, 5, b"bytes", ("k",)])
    async def test_key_that_is_no_text_is_a_type_error(self, store: ObjectStore, key: Any) -> None:
        """Another type than str is the caller's mistake in every method."""
        await self.fill(store, {"source": b"v"})
        wrong = {}
        for method, call in METHODS.items():
            try:
                wrong[method] = await call(store, cast(str, key))
            except TypeError:
                continue

        assert {} == wrong

    async def test_object_that_is_a_directory_too(self, store: ObjectStore) -> None:
        """'a' and 'a/b' are both held, or the second is a KeyConflictError that carries it, and changes nothing."""
        for first, second in (("a", "a/b"), ("d/e", "d"), ("f/g/h", "f")):
            await store.put(first, b"1")

            outcome = await _outcome(store.put(second, b"2"))

            assert b"1" == await self.raw(store, first)
            if outcome is KeyConflictError:
                with pytest.raises(KeyConflictError) as caught:
                    await store.put(second, [b"2"])
                assert second == caught.value.key
                missing = [await _outcome(METHODS[method](store, second)) for method in ("get", "head", "open")]
                assert [KeyNotFoundError] * 3 == missing
                assert not await store.exists(second)
                await store.delete(second)
                assert b"1" == await self.raw(store, first)
                await store.delete(first)
                await store.put(second, b"2")
            assert b"2" == await self.raw(store, second)
