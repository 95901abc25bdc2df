"""Times as parameters: seconds, or a timedelta."""

from __future__ import annotations

import math
from datetime import timedelta

__all__ = ["seconds"]


def seconds(name: str, value: float | timedelta, *, or_none_at_all: bool = False) -> float:
    """
    Return the seconds of a parameter, which is called *name*.

    Args:
        name: what the caller knows it by.
        value: what was given for it.
        or_none_at_all: whether 0 will do, too.

    Raises:
        TypeError: it is no time.
        ValueError: it is negative, not finite, or 0 where that makes no sense.
    """
    if isinstance(value, timedelta):
        given = value.total_seconds()
    elif isinstance(value, int | float) and not isinstance(value, bool):
        given = float(value)
    else:
        raise TypeError(f"{name} is seconds or a timedelta, not {type(value).__name__}")
    if not (0 <= given < math.inf) or (given == 0 and not or_none_at_all):
        raise ValueError(f"{name} is {'0 or more' if or_none_at_all else 'more than 0'} seconds, not {value!r}")
    return given
