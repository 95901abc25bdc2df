"""`Routes`: the table behind a `RoutingStore`, and the store behind a route whose prefix is cut off."""

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
    Which store has which keys: that of the first pattern that matches the whole key, else that of the longest prefix.

    Args:
        prefixes: the store of each prefix; that of ``""`` has all keys that no other has.
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
        """Return the store that has *key*, or None where no route takes it."""
        for pattern, store in self._patterns:
            if pattern.fullmatch(key):
                return store
        return self._longest(key)

    def owner(self, prefix: str) -> ObjectStore[In, Out] | None:
        """Return the store that has all keys which start with *prefix*; None where that may be several, or none."""
        return None if self._patterns or self._deeper(prefix) else self._longest(prefix)

    def places(self, prefix: str, start_after: str) -> list[tuple[str, ObjectStore[In, Out]]]:
        """Return where keys are that start with *prefix* and sort behind *start_after*: prefixes and their stores."""
        holder = self._longest(prefix)
        places: list[tuple[str, ObjectStore[In, Out]]] = []
        for start, store in [
            *((prefix, store) for _, store in self._patterns),
            *([] if holder is None else [(prefix, holder)]),
            *((deeper, self._prefixes[deeper]) for deeper in self._deeper(prefix)),
        ]:
            listed = any(store is other and start.startswith(begun) for begun, other in places)
            over = start_after > start and not start_after.startswith(start)
            if not listed and not over:
                places.append((start, store))
        return places

    def _longest(self, start: str) -> ObjectStore[In, Out] | None:
        for length in self._lengths:
            store = self._prefixes.get(start[:length])
            if store is not None:
                return store
        return None

    def _deeper(self, prefix: str) -> list[str]:
        """Return the prefixes of routes that are longer than *prefix* and start with it, sorted."""
        return [each for each in self._prefixes if each.startswith(prefix) and each != prefix]

    def __str__(self) -> str:
        patterns = [f"the pattern {pattern.pattern!r}" for pattern, _ in self._patterns]
        return ", ".join([*map(repr, self._prefixes), *patterns])


class UnprefixedStore(KeyTransform[In, Out]):
    """
    The reverse of a `PrefixStore`: *prefix*, which every key has, is cut off for the store below.

    It is asked for keys below *prefix* only.
    """

    _steppable = True
    keeps_order = True

    def __init__(self, base: ObjectStore[In, Out], prefix: str) -> None:
        super().__init__(base)
        self.prefix = prefix

    def encode(self, key: str) -> str:
        if key == self.prefix:
            raise InvalidKeyError("nothing is left of it when the route's prefix is cut off", key=key)
        return key[len(self.prefix) :]

    def encode_prefix(self, prefix: str) -> str:
        return prefix[len(self.prefix) :] if prefix.startswith(self.prefix) else ""

    def decode(self, inner: str) -> str | None:
        return self.prefix + inner

    async def children(self, prefix: str = "", delimiter: str = "/") -> AsyncIterator[str]:
        async for child in self.base.children(self.encode_prefix(prefix), delimiter):
            yield self.prefix + child
