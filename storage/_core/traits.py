"""`Trait`: what a class of stores declares of its effects on objects and calls; and the check of such declarations."""

from __future__ import annotations

from collections import Counter
from enum import Enum
from typing import Any

__all__ = ["Trait", "check_declarations"]


class Trait(Enum):
    """What a store does to objects or calls. `storage.decorators.bases.stacking` uses it to find wrong stacks."""

    CACHES = "it keeps copies of objects"
    COMPRESSES = "it compresses objects"
    DATES = "it describes when each of its objects expires (`ObjectInfo.expires`)"
    ENCRYPTS = "it encrypts objects"
    EXPANDS = "it makes objects larger"
    EXPIRES = "it hides and removes objects after a deadline"
    FORGETS = "its backend removes objects at their deadline"
    LIMITS = "it limits how many calls run concurrently"
    MIRRORS = "it writes each object to several stores"
    NOTIFIES = "it calls handlers"
    RETRIES = "it repeats failed calls"
    SWALLOWS = "it does not raise the errors of the store below it"
    THROTTLES = "it limits the rate of calls"
    TRANSFORMS = "it changes the bytes of objects"
    VALUES = "it takes and returns values instead of bytes"


def check_declarations(cls: type[Any], contract: type[Any]) -> None:
    """
    Refuse what a misspelling makes of a declaration in the body of *cls*, a new subclass of *contract*, or of a mixin.

    Raises:
        TypeError: ``_steppable`` is not a bool, ``_traits`` is not a frozenset of `Trait`, or an attribute looks like
            one of the two with another name.
    """
    for base in cls.__mro__:
        if base is not cls and (contract in base.__mro__ or base in contract.__mro__):
            continue  # checked when it was defined, or a base of all stores
        for name, value in vars(base).items():
            if name == "_steppable":
                if not isinstance(value, bool):
                    raise TypeError(f"{base.__qualname__}._steppable must be True or False, not {value!r}")
            elif name == "_traits":
                if not isinstance(value, frozenset) or not all(isinstance(each, Trait) for each in value):
                    raise TypeError(f"{base.__qualname__}._traits must be a frozenset of `Trait`, not {value!r}")
            elif isinstance(value, bool) and "_steppable" not in vars(base) and _resembles(name, "_steppable"):
                raise _misspelled(base, name, "_steppable")
            elif isinstance(value, frozenset | set) and any(isinstance(each, Trait) for each in value):
                raise _misspelled(base, name, "_traits")


def _misspelled(cls: type[Any], name: str, meant: str) -> TypeError:
    return TypeError(f"{cls.__qualname__}.{name} has no effect: did you mean {meant}? If not, choose another name")


def _resembles(name: str, declared: str) -> bool:
    """
    Return whether *name* is *declared* with a letter or two wrong: it begins alike and has nearly the same letters.

    Real words stay allowed: ``stoppable``, ``testable`` and ``settable`` do not resemble ``steppable``.
    """
    given, meant = (text.lower().replace("_", "") for text in (name, declared))
    common = (Counter(given) & Counter(meant)).total()
    alike = given[:1] == meant[0] and sorted(given[:3]) == sorted(meant[:3])
    return alike and 2 * common > 0.85 * (len(given) + len(meant))
