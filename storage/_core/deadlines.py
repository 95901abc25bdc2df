"""The attributes that carry an object's lifetime and deadline: what expiring stores and stores below them agree on."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from storage._core.durations import seconds
from storage.types import Attributes, ObjectInfo, replace_info

__all__ = ["DEADLINE", "LIFETIME", "deadline_of", "last_deadline", "lifetime", "with_deadline", "without_deadline"]

#: The attribute by which a put says how long its object lives, also through decorators that do not know of it.
LIFETIME = "expires-in"

#: The attribute below that holds an object's deadline: a word for each expiring store of a stack, the outermost first.
DEADLINE = "expires-at"

#: The word of an object that has no deadline.
NEVER = "-"

#: Longer than any of these is a slip; and the calendar ends with the year 9999.
LONGEST = timedelta(days=365_000)


def lifetime(name: str, value: float | timedelta | str | None) -> timedelta | None:
    """
    Return how long an object lives, None for ever, from what the parameter or attribute *name* says.

    Args:
        name: what the caller knows it by.
        value: seconds or a timedelta, infinity or None for ever; from an attribute the number's text.

    Raises:
        TypeError: it is no time.
        ValueError: it is not more than 0, or longer than 1,000 years.
    """
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise ValueError(f"{name} must be a number of seconds or 'inf', not {value!r}") from None
    if value is None or value == math.inf:
        return None
    given = seconds(name, value)
    if given > LONGEST.total_seconds():
        raise ValueError(f"{name} must be at most 1,000 years, not {value!r}; use infinity for no limit")
    return timedelta(seconds=given)


def with_deadline(attributes: Attributes | None, deadline: datetime | None) -> Attributes | None:
    """Return the attributes for below: the caller's, and the deadline if there is one."""
    if deadline is None and (not attributes or DEADLINE not in attributes):
        return attributes
    word = NEVER if deadline is None else deadline.isoformat(timespec="microseconds")
    pushed = dict(attributes or {})
    pushed[DEADLINE] = f"{pushed[DEADLINE]} {word}" if DEADLINE in pushed else word
    return pushed


def deadline_of(below: Attributes) -> datetime | None:
    """Return an object's deadline from its attributes below, or None where it has none."""
    text = below.get(DEADLINE)
    return None if text is None else _parsed(text.rpartition(" ")[2])


def last_deadline(below: Attributes) -> datetime | None:
    """
    Return when an object is gone for every expiring store of a stack, or None where it lives for ever for one of them.

    A store that can forget objects by itself may do so from then on.
    """
    deadlines = [_parsed(word) for word in below.get(DEADLINE, NEVER).split(" ")]
    return None if None in deadlines else max(each for each in deadlines if each is not None)


def without_deadline(below: ObjectInfo) -> ObjectInfo:
    """Return the description with the attributes as the caller put them."""
    text = below.attributes.get(DEADLINE)
    if text is None:
        return below
    rest, more, word = text.rpartition(" ")
    if word != NEVER and _parsed(word) is None:
        return below  # another program's
    outer = {name: value for name, value in below.attributes.items() if name != DEADLINE}
    if more:
        outer[DEADLINE] = rest
    return replace_info(below, attributes=outer)


def _parsed(word: str) -> datetime | None:
    """Return the deadline that a word says, or None where it says none."""
    try:
        deadline = datetime.fromisoformat(word)
    except ValueError:
        return None
    return deadline if deadline.tzinfo is not None else None
