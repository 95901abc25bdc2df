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

        refusals = {outcome for name, outcome in outcomes.items() if name not in taken}
        assert refusals <= {InvalidKeyError, KeyConflictError}
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

    async def test_invalid_key_is_refused_by_every_method(self, store: ObjectStore) -> None:
        """A key that put refuses as invalid is an InvalidKeyError that carries it, also a ValueError, everywhere."""
        await self.fill(store, {"source": b"v"})
        wrong: dict[str, dict[str, object]] = {}
        for name, key in NASTY_KEYS.items():
            if await _outcome(store.put(key, b"v")) is not InvalidKeyError:
                await store.delete(key)
                continue
            for method, call in METHODS.items():
                try:
                    found: object = await call(store, key)
                except InvalidKeyError as error:
                    found = error.key
                    if error.key == key:
                        continue
                except Exception as error:
                    found = error
                wrong.setdefault(name, {})[method] = found

        assert {} == wrong
        assert ["source"] == await listed(store.keys())

    async def test_valid_key_is_refused_by_no_method(self, store: ObjectStore) -> None:
        """A key that put takes is taken by every method; where there is no object it is just missing."""
        missing = {"get": KeyNotFoundError, "head": KeyNotFoundError, "open": KeyNotFoundError, "exists": False}
        missing |= {"delete": None, "copy from": KeyNotFoundError, "rename from": KeyNotFoundError}
        wrong: dict[str, object] = {}
        for name, key in NASTY_KEYS.items():
            if await _outcome(store.put(key, b"v")) is InvalidKeyError:
                continue
            await store.delete(key)
            found = {method: await _outcome(METHODS[method](store, key)) for method in missing}
            if missing != found:
                wrong[name] = found

        assert {} == wrong
        assert [] == await listed(store.keys())

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
