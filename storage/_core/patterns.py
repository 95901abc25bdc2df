"""`compiled`: a regular expression on keys, or an error that says why it is none."""

from __future__ import annotations

import re

from storage.errors import ConfigError

__all__ = ["compiled"]


def compiled(pattern: str | re.Pattern[str]) -> re.Pattern[str]:
    """
    Return a regular expression on keys, compiled.

    Raises:
        ConfigError: it is none, or one on bytes.
    """
    try:
        made = re.compile(pattern)
    except (re.error, TypeError) as cause:
        raise ConfigError(f"{pattern!r} is not a valid regular expression: {cause}") from cause
    if isinstance(made.pattern, bytes):
        raise ConfigError(f"{made.pattern!r} is a pattern of bytes, and keys are text: remove the b")
    return made
