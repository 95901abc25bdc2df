"""`seconds`: durations as parameters, in seconds or as a timedelta."""

from __future__ import annotations

import math
from datetime import timedelta

__all__ = ["seconds"]


def seconds(name: str, value: float | timedelta, *, allow_zero: bool = False) -> float:
    """
    Return the seconds of the parameter *name*.

    Args:
        name: its name, for the error.
        value: its value.
        allow_zero: whether 0 is allowed.

    Raises:
        TypeError: it is neither a number nor a timedelta.
        ValueError: it is negative, not finite, or 0 where that is not allowed.
    """
    if isinstance(value, timedelta):
        given = value.total_seconds()
    elif isinstance(value, int | float) and not isinstance(value, bool):
        given = float(value)
    else:
        raise TypeError(f"{name} must be a number of seconds or a timedelta, not {type(value).__name__}")
    if not (0 <= given < math.inf) or (given == 0 and not allow_zero):
        raise ValueError(f"{name} must be {'0 or more' if allow_zero else 'more than 0'} seconds, not {value!r}")
    return given
