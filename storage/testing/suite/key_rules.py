"""Keys: every method takes a key unchanged, or every method refuses it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import product
from typing import cast

import pytest

from storage.base import ObjectStore
from storage.errors import InvalidKeyError, KeyConflictError, KeyNotFoundError, StorageError
from storage.testing.suite.harness import Harness, each, listed
from storage.testing.suite.nasty_keys import NASTY_KEYS

__all__ = ["KeyRules"]


async def _open(store: ObjectStore, key: str) -> bytes:
    async with store.open(key) as reader:
        return await reader.read()


#: Single characters that are special in names or paths.
SPECIAL = "\0\n ./\\~?%"

#: Every method that takes a key, called with that key.
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

#: The results of the methods for a valid key without an object.
MISSING: dict[str, object] = {
    **dict.fromkeys(("get", "head", "open", "copy from", "rename from"), KeyNotFoundError),
    "delete": None,
}


async def _outcome(call: Awaitable[object]) -> object:
    """Return the result of *call*, or the class of its StorageError."""
    try:
        return await call
    except StorageError as error:
        return type(error)


class KeyRules(Harness):
    """A store never changes a key."""

    async def test_nasty_keys_come_back_or_are_refused(self, store: ObjectStore) -> None:
        """
        All nasty keys are put into one store: each accepted key has its own object and is listed unchanged.

        The others are an InvalidKeyError, or a KeyConflictError with a key that is there.
        """
        outcomes = {}
        for name, key in NASTY_KEYS.items():
            outcomes[name] = await _outcome(store.put(key, name.encode()))
        taken = {name: key for name, key in NASTY_KEYS.items() if isinstance(outcomes[name], str)}

        def of(method: str) -> Callable[[str], Awaitable[object]]:
            return lambda name: _outcome(METHODS[method](store, NASTY_KEYS[name]))

        refused = {name: outcome for name, outcome in outcomes.items() if name not in taken}
        assert set(refused.values()) <= {InvalidKeyError, KeyConflictError}
        invalid = {name: outcome is InvalidKeyError and outcome for name, outcome in refused.items()}
        assert invalid == await each(of("exists"), refused)
        own = {name: name.encode() for name in taken}
        assert own == await each(of("get"), taken)
        assert own == await each(lambda name: self.raw(store, taken[name]), taken)
        assert taken == {name: info.key for name, info in (await each(lambda n: store.head(taken[n]), taken)).items()}
        assert sorted(set(taken.values())) == await listed(store.keys())
        assert dict.fromkeys(taken, True) == await each(of("exists"), taken)

        assert dict.fromkeys(taken) == await each(of("delete"), taken)
        assert dict.fromkeys(taken, False) == await each(of("exists"), taken)
        assert [] == await listed(store.keys())

    async def test_plain_keys_are_taken(self, store: ObjectStore) -> None:
        """Letters, digits and other common characters of file names work in every store."""
        keys = ["a", "Z", "0", "with-dash", "under_score", "dot.ted", "a1/b2/c3", "x" * 100, "/".join("bcdefghij")]

        for key in keys:
            await store.put(key, key.encode())

        assert {key: key.encode() for key in keys} == {key: await store.get(key) for key in keys}

    async def test_every_method_agrees_on_a_key(self, store: ObjectStore) -> None:
        """
        A key that `exists` refuses is refused by every method, with an InvalidKeyError (a ValueError) that has the key.

        A key that `exists` accepts is accepted by every method: without an object it is only missing.
        """
        await self.fill(store, {"source": b"v"})

        async def wrong(name: str) -> dict[str, object]:
            key, outcomes = NASTY_KEYS[name], {}
            valid = await _outcome(store.exists(key)) is False
            for method, expected in MISSING.items() if valid else dict.fromkeys(METHODS, key).items():
                try:
                    found: object = await METHODS[method](store, key)
                except InvalidKeyError as error:
                    found = type(error) if valid or not isinstance(error, ValueError) else error.key
                except StorageError as error:
                    found = type(error)
                if expected != found:
                    outcomes[method] = found
            return outcomes

        # of the single characters, those are enough that are special in many programs, and only as a whole key
        names = [name for name, key in NASTY_KEYS.items() if not name.startswith("ASCII") or key in SPECIAL]
        assert {name: {} for name in names} == await each(wrong, names)
        assert ["source"] == await listed(store.keys())

    async def test_no_store_takes_what_is_not_a_key(self, store: ObjectStore) -> None:
        """The empty key and keys with lone surrogates are an InvalidKeyError in every store and method."""
        await self.fill(store, {"source": b"v"})
        calls = list(product(("", "\ud800", "x\udfff"), METHODS))

        assert dict.fromkeys(calls, InvalidKeyError) == {
            (key, method): await _outcome(METHODS[method](store, key)) for key, method in calls
        }

    async def test_key_that_is_no_text_is_a_type_error(self, store: ObjectStore) -> None:
        """A key that is not a str is a TypeError in every method."""
        await self.fill(store, {"source": b"v"})
        wrong = {}
        for key, method in product((None, 5, b"bytes", ("k",)), METHODS):
            try:
                wrong[key, method] = await METHODS[method](store, cast(str, key))
            except TypeError:
                continue

        assert {} == wrong

    async def test_object_that_is_a_directory_too(self, store: ObjectStore) -> None:
        """'a' and 'a/b' are both stored, or the second put is a KeyConflictError with its key and changes nothing."""
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
