"""`PrefixStore`: the part of a store below a prefix, as a store."""

from __future__ import annotations

from collections.abc import AsyncIterator

from storage.base import ObjectStore
from storage.decorators.bases.key_transform import KeyTransform
from storage.types import In, Out

__all__ = ["PrefixStore"]


class PrefixStore(KeyTransform[In, Out]):
    """
    Every key begins with *prefix* in the store below; objects there without it are not visible and not changed.

    Args:
        base: the store below.
        prefix: put before every key unchanged; let it end with ``"/"`` for a directory.
    """

    _steppable = True
    keeps_order = True

    def __init__(self, base: ObjectStore[In, Out], prefix: str) -> None:
        super().__init__(base)
        self.prefix = prefix

    def encode(self, key: str) -> str:
        return self.prefix + key

    def decode(self, inner: str) -> str | None:
        return inner[len(self.prefix) :] if inner.startswith(self.prefix) else None

    async def children(self, prefix: str = "", delimiter: str = "/") -> AsyncIterator[str]:
        async for child in self.base.children(self.encode(prefix), delimiter):
            if name := self.decode(child):
                yield name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base!r}, {self.prefix!r})"
