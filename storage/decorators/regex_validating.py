"""`RegexValidatingStore`: only keys of one form."""

from __future__ import annotations

import re

from storage.base import ObjectStore
from storage.decorators.bases.key_filter import KeyFilter
from storage.errors import ConfigError
from storage.types import In, Out

__all__ = ["RegexValidatingStore", "compiled"]


class RegexValidatingStore(KeyFilter[In, Out]):
    """
    Every method refuses keys that *pattern* does not match as a whole with `InvalidKeyError`, and does not list them.

    Args:
        base: the store below.
        pattern: a regular expression of Python's `re`, as text or compiled.

    Raises:
        ConfigError: *pattern* is no regular expression.
    """

    def __init__(self, base: ObjectStore[In, Out], pattern: str | re.Pattern[str]) -> None:
        super().__init__(base)
        self.pattern: re.Pattern[str] = compiled(pattern)

    def objection(self, key: str) -> str | None:
        return None if self.pattern.fullmatch(key) else f"a key here matches {self.pattern.pattern!r}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base!r}, {self.pattern.pattern!r})"


def compiled(pattern: str | re.Pattern[str]) -> re.Pattern[str]:
    """
    Return a regular expression on keys, compiled.

    Raises:
        ConfigError: it is none, or one on bytes.
    """
    try:
        made = re.compile(pattern)
    except (re.error, TypeError) as cause:
        raise ConfigError(f"{pattern!r} is no regular expression: {cause}") from cause
    if isinstance(made.pattern, bytes):
        raise ConfigError(f"{made.pattern!r} is of bytes, and keys are text: leave out the b")
    return made
