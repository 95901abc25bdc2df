"""The attributes for an object's lifetime and deadline, which expiring stores and the stores below them share."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from storage._core.durations import seconds
from storage.errors import CorruptObjectError
from storage.types import Attributes, ObjectInfo, replace_info

__all__ = [
    "CARRIED",
    "DEADLINE",
    "LIFETIME",
    "WrongLifetimeError",
    "carried_deadline",
    "copied_attributes",
    "deadline_of",
    "earliest",
    "known_deadline",
    "last_deadline",
    "lifetime",
    "lifetime_of",
    "with_deadline",
    "without_carried",
    "without_deadline",
]

#: The attribute with which a put sets the lifetime of its object, in seconds. It passes through other decorators.
LIFETIME = "expires-in"

#: The attribute of an object's deadlines: one for each expiring store of a stack, the outermost first, with spaces
#: between them.
DEADLINE = "expires-at"

#: The attribute with which a copy is put: the moment at which the original expires. It limits the life of the copy in
#: every store that expires objects, and stays with it like any other attribute.
CARRIED = "expires-by"

#: Stands for a missing deadline.
NEVER = "-"

#: The longest lifetime, 1,000 years: a longer one is a mistake, and the calendar ends with the year 9999.
LONGEST = timedelta(days=365_000)


class WrongLifetimeError(ValueError):
    """
    The attribute `LIFETIME` of a put is no lifetime.

    It is an error of the caller who made it up, but whoever copies an object has it from the object: see `of_copy`.
    """

    def of_copy(self, key: str, store: object) -> CorruptObjectError:
        """Return the error of copying the object of this key, which has the attribute, from *store*."""
        return CorruptObjectError(f"cannot be copied with its attributes: {self}", key=key, store=store)


def lifetime_of(attributes: Attributes) -> timedelta | None:
    """
    Return the lifetime that the attribute `LIFETIME` gives, which is among these; None if it is unlimited.

    Raises:
        WrongLifetimeError: it is no number of seconds, not more than 0, or more than 1,000 years.
    """
    try:
        return lifetime(f"the attribute {LIFETIME!r}", attributes[LIFETIME])
    except ValueError as error:
        raise WrongLifetimeError(*error.args) from None


def lifetime(name: str, value: float | timedelta | str | None) -> timedelta | None:
    """
    Return the lifetime that a parameter or an attribute gives; None if it is unlimited.

    Args:
        name: the name of the parameter or attribute, for errors.
        value: seconds or a timedelta; infinity or None for no limit. An attribute's value is the number as text.

    Raises:
        TypeError: *value* is not a time.
        ValueError: *value* is not more than 0, or more than 1,000 years.
    """
    if isinstance(value, str):
        text = value
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"{name} must be a number of seconds or 'inf', not {text!r:.100}") from None
        if value == math.inf and "inf" not in text.lower():
            raise ValueError(f"{name} must be at most 1,000 years, not {text!r:.100}; use 'inf' for no limit")
    if value is None or value == math.inf:
        return None
    given = seconds(name, value)
    if given > LONGEST.total_seconds():
        raise ValueError(f"{name} must be at most 1,000 years, not {value!r}; use infinity for no limit")
    return timedelta(seconds=given)


def with_deadline(attributes: Attributes | None, deadline: datetime | None) -> Attributes | None:
    """Return the attributes for the store below: the caller's, and the deadline if there is one."""
    if deadline is None and (not attributes or DEADLINE not in attributes):
        return attributes
    text = NEVER if deadline is None else deadline.isoformat(timespec="microseconds")
    dated = dict(attributes or {})
    dated[DEADLINE] = f"{dated[DEADLINE]} {text}" if DEADLINE in dated else text
    return dated


def deadline_of(below: Attributes) -> datetime | None:
    """Return an object's deadline from its attributes in the store below; None if it has none."""
    text = below.get(DEADLINE)
    return None if text is None else _parsed(text.rpartition(" ")[2])


def last_deadline(below: Attributes) -> datetime | None:
    """
    Return the latest of an object's deadlines; None if it has no deadline in one of the expiring stores of a stack.

    A store that removes expired objects by itself may remove the object from then on.
    """
    deadlines = [_parsed(text) for text in below.get(DEADLINE, NEVER).split(" ")]
    return None if None in deadlines else max(each for each in deadlines if each is not None)


def without_deadline(below: ObjectInfo) -> ObjectInfo:
    """Return the description with the attributes that the caller put."""
    text = below.attributes.get(DEADLINE)
    if text is None:
        return below
    rest, more, last = text.rpartition(" ")
    deadline = _parsed(last)
    if last != NEVER and deadline is None:
        return below  # another program wrote this attribute
    outer = {name: value for name, value in below.attributes.items() if name != DEADLINE}
    if more:
        outer[DEADLINE] = rest
    return replace_info(below, attributes=outer, expires=earliest(deadline, below.expires))


def earliest(*deadlines: datetime | None) -> datetime | None:
    """Return the earliest of these deadlines; None if all are None."""
    return min((each for each in deadlines if each is not None), default=None)


def carried_deadline(attributes: Attributes | None) -> datetime | None:
    """Return the deadline that a copy was put with; None if there is none."""
    text = attributes.get(CARRIED) if attributes else None
    return None if text is None else _parsed(text)


def without_carried(attributes: Attributes | None) -> Attributes | None:
    """Return the attributes without the deadline that a copy was put with."""
    if carried_deadline(attributes) is None:
        return attributes
    return {name: value for name, value in (attributes or {}).items() if name != CARRIED}


def known_deadline(info: ObjectInfo) -> datetime | None:
    """Return when an object expires, as far as its description and its attributes tell; None if it does not."""
    attributes = info.attributes
    if CARRIED not in attributes and DEADLINE not in attributes:
        return info.expires
    return earliest(info.expires, carried_deadline(attributes), last_deadline(attributes))


def copied_attributes(info: ObjectInfo) -> Attributes:
    """
    Return the attributes with which to put a copy of the object: its own, and its deadline if it has one.

    Whoever copies an object by reading and writing it puts these, so that the life of the copy does not begin anew.
    """
    if info.expires is None:
        return info.attributes
    deadline = known_deadline(info)
    assert deadline is not None
    return {**info.attributes, CARRIED: deadline.isoformat(timespec="microseconds")}


def _parsed(text: str) -> datetime | None:
    """Return the deadline of this text; None if it is not a deadline."""
    try:
        deadline = datetime.fromisoformat(text)
    except ValueError:
        return None
    return deadline if deadline.tzinfo is not None else None
