"""`RegexValidatingStore`: allows only keys that match a regular expression."""

from __future__ import annotations

import re

from storage._core.patterns import compiled
from storage.base import ObjectStore
from storage.decorators.bases.key_filter import KeyFilter
from storage.types import In, Out

__all__ = ["RegexValidatingStore"]


class RegexValidatingStore(KeyFilter[In, Out]):
    """
    Every method refuses keys that *pattern* does not match as a whole with `InvalidKeyError`; listings skip them.

    Args:
        base: the store below.
        pattern: a regular expression of Python's `re`, as text or compiled.

    Raises:
        ConfigError: *pattern* is not a regular expression.
    """

    def __init__(self, base: ObjectStore[In, Out], pattern: str | re.Pattern[str]) -> None:
        super().__init__(base)
        self.pattern: re.Pattern[str] = compiled(pattern)

    def objection(self, key: str) -> str | None:
        return None if self.pattern.fullmatch(key) else f"the key must match {self.pattern.pattern!r}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base!r}, {self.pattern.pattern!r})"
