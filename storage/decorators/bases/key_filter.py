"""`KeyFilter`: the base of the decorators that accept only some keys."""

from __future__ import annotations

from abc import abstractmethod

from storage.decorators.bases.key_transform import KeyTransform
from storage.errors import InvalidKeyError
from storage.types import In, Out

__all__ = ["KeyFilter"]


class KeyFilter(KeyTransform[In, Out]):
    """
    A decorator that is one pure function, `objection`: the reason why a key is not accepted.

    Every method raises `InvalidKeyError` for such a key, and objects with such keys below are not listed.
    """

    keeps_order = True

    @abstractmethod
    def objection(self, key: str) -> str | None:
        """Return what is wrong with *key*, or None if it is accepted."""

    def encode(self, key: str) -> str:
        if reason := self.objection(key):
            raise InvalidKeyError(reason, key=key, store=self)
        return key

    def encode_prefix(self, prefix: str) -> str:
        return prefix

    def decode(self, inner: str) -> str | None:
        return None if self.objection(inner) else inner
