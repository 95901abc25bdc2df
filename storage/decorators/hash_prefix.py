"""`HashPrefixStore`: keys with a hash before them, which spreads them evenly."""

from __future__ import annotations

import hashlib

from storage.base import ObjectStore
from storage.decorators.bases.key_transform import KeyTransform
from storage.types import In, Out

__all__ = ["HashPrefixStore"]

#: Hex digits of a SHA-256.
_DIGITS = 64


class HashPrefixStore(KeyTransform[In, Out]):
    """
    In the store below, every key begins with the first hex digits of its own SHA-256: ``"a.csv"`` is
    ``"32f29f33/a.csv"`` there.

    This spreads the load evenly in back ends that divide it by the first characters of keys, and keeps directories
    small. Objects in the store below whose keys do not begin with their hash are not visible and not changed. A listing
    collects all keys and sorts them.

    Args:
        base: the store below.
        hash_length: hex digits of the hash, 1 to 64.
        separator: the text between the hash and the key.

    Raises:
        ValueError: *hash_length* is not in this range.
    """

    def __init__(self, base: ObjectStore[In, Out], *, hash_length: int = 8, separator: str = "/") -> None:
        if not 1 <= hash_length <= _DIGITS:
            raise ValueError(f"hash_length must be 1 to {_DIGITS}, the hex digits of a SHA-256, not {hash_length}")
        super().__init__(base)
        self.hash_length = hash_length
        self.separator = separator

    def encode(self, key: str) -> str:
        return hashlib.sha256(key.encode()).hexdigest()[: self.hash_length] + self.separator + key

    def decode(self, inner: str) -> str | None:
        key = inner[self.hash_length + len(self.separator) :]
        return key if key and self.encode(key) == inner else None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base!r}, hash_length={self.hash_length!r}, separator={self.separator!r})"
