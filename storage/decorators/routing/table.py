"""`Routes`: the table of a `RoutingStore`; `UnprefixedStore`: a store whose route's prefix is cut off the keys."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Generic

from storage.base import ObjectStore
from storage.decorators.bases.key_transform import KeyTransform
from storage.errors import InvalidKeyError
from storage.types import In, Out

__all__ = ["Routes", "UnprefixedStore"]


class Routes(Generic[In, Out]):
    """
    Which store has a key: that of the first pattern that matches the whole key, else that of its longest prefix.

    Args:
        prefixes: the store of each prefix; that of ``""`` has all keys that no other store has.
        patterns: regular expressions, each with its store.
    """

    def __init__(
        self,
        prefixes: Mapping[str, ObjectStore[In, Out]],
        patterns: Sequence[tuple[re.Pattern[str], ObjectStore[In, Out]]],
    ) -> None:
        self._prefixes = dict(sorted(prefixes.items()))
        self._lengths = sorted({len(prefix) for prefix in prefixes}, reverse=True)
        self._patterns = patterns

    def find(self, key: str) -> ObjectStore[In, Out] | None:
        """Return the store of *key*, or None if no route matches it."""
        for pattern, store in self._patterns:
            if pattern.fullmatch(key):
                return store
        return self._store_of_longest_prefix(key)

    def owner(self, prefix: str) -> ObjectStore[In, Out] | None:
        """Return the store of all keys that start with *prefix*; None if they may be in several stores, or in none."""
        return None if self._patterns or self._longer_prefixes(prefix) else self._store_of_longest_prefix(prefix)

    def to_list(self, prefix: str, start_after: str) -> list[tuple[str, ObjectStore[In, Out]]]:
        """
        Return what to list for the keys that start with *prefix* and sort after *start_after*.

        It is a list of stores, each with the prefix to list there. No key of a store is listed twice.
        """
        store_of_prefix = self._store_of_longest_prefix(prefix)
        to_list: list[tuple[str, ObjectStore[In, Out]]] = []
        for start, store in [
            *((prefix, store) for _, store in self._patterns),
            *([] if store_of_prefix is None else [(prefix, store_of_prefix)]),
            *((deeper, self._prefixes[deeper]) for deeper in self._longer_prefixes(prefix)),
        ]:
            listed = any(store is other and start.startswith(listed_prefix) for listed_prefix, other in to_list)
            is_before_start = start_after > start and not start_after.startswith(start)
            if not listed and not is_before_start:
                to_list.append((start, store))
        return to_list

    def _store_of_longest_prefix(self, start: str) -> ObjectStore[In, Out] | None:
        for length in self._lengths:
            store = self._prefixes.get(start[:length])
            if store is not None:
                return store
        return None

    def _longer_prefixes(self, prefix: str) -> list[str]:
        """Return the prefixes of routes that start with *prefix* and are longer, sorted."""
        return [each for each in self._prefixes if each.startswith(prefix) and each != prefix]

    def __str__(self) -> str:
        patterns = [f"the pattern {pattern.pattern!r}" for pattern, _ in self._patterns]
        return ", ".join([*map(repr, self._prefixes), *patterns])


class UnprefixedStore(KeyTransform[In, Out]):
    """
    The reverse of a `PrefixStore`: every key starts with *prefix*, which is cut off for the store below.

    Callers pass only keys that start with *prefix*.
    """

    _steppable = True
    keeps_order = True

    def __init__(self, base: ObjectStore[In, Out], prefix: str) -> None:
        super().__init__(base)
        self.prefix = prefix

    def encode(self, key: str) -> str:
        if key == self.prefix:
            raise InvalidKeyError("nothing is left of the key without the route's prefix", key=key)
        return key[len(self.prefix) :]

    def encode_prefix(self, prefix: str) -> str:
        return prefix[len(self.prefix) :] if prefix.startswith(self.prefix) else ""

    def decode(self, inner: str) -> str | None:
        return self.prefix + inner

    async def children(self, prefix: str = "", delimiter: str = "/") -> AsyncIterator[str]:
        async for child in self.base.children(self.encode_prefix(prefix), delimiter):
            yield self.prefix + child
