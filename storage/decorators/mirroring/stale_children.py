"""`Behind`: what a mirror knows of children that do not hold the last version of an object."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

__all__ = ["Behind"]

_NONE: frozenset[int] = frozenset()


class Behind:
    """
    For each key the children that are *behind*: what they hold of it, or that they hold nothing, is not to be believed.

    It is in memory, and bounded: a child that is behind for too many keys is behind as a whole, until `trust`.

    Attributes:
        readable: the children that are read.
        whole: those that are behind as a whole.
        losses: how often that happened.

    Args:
        children: how many there are.
        readable: those that are read.
        limit: for how many keys children may be behind.
    """

    def __init__(self, children: int, readable: Iterable[int], limit: int) -> None:
        self.whole: set[int] = set()
        self.losses: int = 0
        self._children = frozenset(range(children))
        self.readable: frozenset[int] = frozenset(readable)
        self._limit = limit
        self._keys: dict[str, frozenset[int]] = {}

    def __bool__(self) -> bool:
        return bool(self._keys or self.whole)

    def of(self, key: str) -> AbstractSet[int]:
        """Return the children that are behind for this key."""
        known = self._keys.get(key, _NONE)
        return known | self.whole if self.whole else known

    def by_name(self, key: str) -> AbstractSet[int]:
        """Return the children that are behind for this key, but for those that are so as a whole."""
        return self._keys.get(key, _NONE)

    def keys(self, prefix: str) -> list[str]:
        """Return the keys for which children are behind by name, in order."""
        return sorted(key for key in self._keys if key.startswith(prefix))

    def written(
        self, key: str, new: AbstractSet[int], unknown: AbstractSet[int] = _NONE, never: AbstractSet[int] = _NONE
    ) -> None:
        """
        Take note of a write that has ended.

        Where none succeeded and some may have, those that surely did not are right; or else the first one, so that
        reads do not waver between the old version and the new.

        Args:
            key: the object.
            new: the children that surely hold what was written.
            unknown: those that may hold it or what was there before. All others hold what they held.
            never: those that can hold no object of this key, and so no old one.
        """
        if new:
            self._set(key, self._children - new - never)
        elif unknown:
            right = self.readable - self.of(key)
            right = right - unknown or frozenset(sorted(right)[:1])
            if right:
                self._set(key, self._children - right)

    def caught_up(self, key: str, child: int) -> None:
        """Say that a child holds the last version again."""
        self._set(key, self.by_name(key) - {child})

    def hidden(self, children: AbstractSet[int]) -> bool:
        """Return whether there is a key for which nobody but these children can be believed."""
        return any(self.readable - behind <= children for behind in self._keys.values())

    def trust(self, child: int) -> None:
        """Say that a child, which was behind as a whole, holds the last version of everything."""
        self.whole.discard(child)

    def _set(self, key: str, behind: AbstractSet[int]) -> None:
        named = frozenset(behind - self.whole)
        if not named:
            self._keys.pop(key, None)
            return
        self._keys[key] = named
        if len(self._keys) > self._limit:
            self.losses += 1
            self.whole |= named
            rest = {each: children - named for each, children in self._keys.items()}
            self._keys = {each: children for each, children in rest.items() if children}
