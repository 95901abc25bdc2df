"""`StaleChildren`: which children of a mirror may not hold the last version of an object."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

__all__ = ["StaleChildren"]

_NONE: frozenset[int] = frozenset()


class StaleChildren:
    """
    For each key the *stale* children: those that may not hold its last version, so that they are not read.

    A stale child may hold an old version, or lack the object, or hold one that was deleted. All other children are
    *current* for the key.

    The table is in memory, and bounded: when it has too many keys, the children that are stale for the key that was
    added last become *wholly stale*, which means stale for every key, until `trust`.

    Attributes:
        readable: the children that are read.
        wholly_stale: the children that are stale for every key.
        distrusted: those of them that missed writes of an earlier process, which all other children have.
        overflows: how often children became wholly stale because the table was full.

    Args:
        children: the number of children.
        readable: the children that are read.
        limit: the number of keys in the table at most.
    """

    def __init__(self, children: int, readable: Iterable[int], limit: int) -> None:
        self.wholly_stale: set[int] = set()
        self.distrusted: set[int] = set()
        self.overflows: int = 0
        self._children = frozenset(range(children))
        self.readable: frozenset[int] = frozenset(readable)
        self._limit = limit
        self._keys: dict[str, frozenset[int]] = {}

    def __bool__(self) -> bool:
        return bool(self._keys or self.wholly_stale)

    def of(self, key: str) -> AbstractSet[int]:
        """Return the children that are stale for this key."""
        for_key = self._keys.get(key, _NONE)
        return for_key | self.wholly_stale if self.wholly_stale else for_key

    def of_key_only(self, key: str) -> AbstractSet[int]:
        """Return the children that are stale for this key, without those that are wholly stale."""
        return self._keys.get(key, _NONE)

    def keys(self, prefix: str) -> list[str]:
        """Return the keys in the table that start with *prefix*, in order."""
        return sorted(key for key in self._keys if key.startswith(prefix))

    def record_write(
        self, key: str, new: AbstractSet[int], unknown: AbstractSet[int] = _NONE, never: AbstractSet[int] = _NONE
    ) -> None:
        """
        Record what a write that has ended left on the children.

        If it succeeded on some children, these are current and all others stale. If it succeeded on none but may have
        taken effect on some, the children where it certainly did not stay current; if there is no such child, the first
        one that was current stays so. Reads then do not alternate between the old version and the new one.

        Args:
            key: the object.
            new: the children that certainly hold the new version.
            unknown: the children that hold the new version or the old one. All others hold the old one.
            never: the children that cannot hold an object of this key, and so no old version either.
        """
        if new:
            self._set(key, self._children - new - never)
        elif unknown:
            current = self.readable - self.of(key)
            current = current - unknown or frozenset(sorted(current)[:1])
            if current:
                self._set(key, self._children - current)

    def mark_current(self, key: str, child: int) -> None:
        """Record that a child holds the last version of an object again."""
        self._set(key, self.of_key_only(key) - {child})

    def any_key_needs(self, children: AbstractSet[int]) -> bool:
        """Return whether there is a key for which no child but these is current."""
        return any(self.readable - stale <= children for stale in self._keys.values())

    def distrust(self, child: int) -> None:
        """Record that a child missed writes of an earlier process, which all children have that are not distrusted."""
        self.distrusted.add(child)
        self.wholly_stale.add(child)

    def trust(self, child: int) -> None:
        """Record that a child that was wholly stale holds the last version of every object again."""
        self.distrusted.discard(child)
        self.wholly_stale.discard(child)

    def _set(self, key: str, stale: AbstractSet[int]) -> None:
        by_key = frozenset(stale - self.wholly_stale)
        if not by_key:
            self._keys.pop(key, None)
            return
        self._keys[key] = by_key
        if len(self._keys) > self._limit:
            self.overflows += 1
            self.wholly_stale |= by_key
            rest = {each: children - by_key for each, children in self._keys.items()}
            self._keys = {each: children for each, children in rest.items() if children}
