"""The order of decorators: a stack that cannot work is an error when it is built, a wasteful one is a warning."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

from storage._core.traits import Trait
from storage.base import ObjectStore
from storage.errors import ConfigError

__all__ = ["StackWarning", "check_order", "holders", "stack"]


class StackWarning(UserWarning):
    """A stack of stores works, but in this order its parts waste or undo each other's work."""


class _Rule(NamedTuple):
    """
    A trait that must not be above another one.

    Attributes:
        above: the trait of the decorator that is built.
        below: the trait of a store anywhere below it.
        why: what goes wrong.
        fix: what to do about it.
        refused: whether this is an error, not only a warning.
        unless: a trait with which the store below may be there all the same.
    """

    above: Trait
    below: Trait
    why: str
    fix: str = "put them the other way round: {below}({above}(...))"
    refused: bool = False
    unless: Trait | None = None


_LEAVE_ONE_OUT = "leave one of them out"

_RULES = [
    _Rule(Trait.ENCRYPTS, Trait.COMPRESSES, "encrypted bytes have no patterns left to compress", refused=True),
    _Rule(
        Trait.TRANSFORMS,
        Trait.VALUES,
        "{below} takes values, and {above} changes bytes",
        refused=True,
    ),
    _Rule(Trait.COMPRESSES, Trait.COMPRESSES, "compressed bytes do not get smaller", fix=_LEAVE_ONE_OUT),
    _Rule(
        Trait.EXPANDS,
        Trait.COMPRESSES,
        "compressing encoded bytes is slower than compressing the bytes, and the result is larger",
    ),
    _Rule(
        Trait.CACHES,
        Trait.EXPIRES,
        "a cache serves objects after their deadline, which {below} does not tell",
        unless=Trait.DATES,
    ),
    _Rule(
        Trait.CACHES,
        Trait.FORGETS,
        "a cache serves objects after their deadline, which {below} does not tell",
        fix="put an ExpiringStore over the store that holds the copies",
        unless=Trait.DATES,
    ),
    _Rule(Trait.CACHES, Trait.VALUES, "{below} returns values, and {above} keeps copies of bytes", refused=True),
    _Rule(
        Trait.CACHES,
        Trait.SWALLOWS,
        "a write whose error {below} swallows looks finished, and may take effect when {above} has cached what it "
        "replaces",
        refused=True,
    ),
    _Rule(Trait.RETRIES, Trait.RETRIES, "their attempts multiply", fix=_LEAVE_ONE_OUT),
    _Rule(
        Trait.RETRIES, Trait.SWALLOWS, "{below} swallows the errors after which {above} would try again", refused=True
    ),
    _Rule(
        Trait.MIRRORS,
        Trait.SWALLOWS,
        "a write whose error {below} swallows looks successful",
        refused=True,
    ),
    _Rule(
        Trait.MIRRORS, Trait.VALUES, "{above} writes bytes to all its stores, and {below} takes values", refused=True
    ),
    _Rule(Trait.LIMITS, Trait.RETRIES, "a call occupies its slot while it waits for its next attempt"),
    _Rule(Trait.LIMITS, Trait.NOTIFIES, "a handler that calls {above} waits for the slot that its own call occupies"),
    _Rule(Trait.THROTTLES, Trait.RETRIES, "repeated attempts are not counted"),
]


def stack(store: ObjectStore[Any, Any]) -> Iterator[ObjectStore[Any, Any]]:
    """Yield *store* and every store below it, from the top down; a store that two branches share comes twice."""
    yield store
    for part in store._parts().values():
        yield from stack(part)


def holders(store: ObjectStore[Any, Any]) -> Iterator[ObjectStore[Any, Any]]:
    """Yield like `stack`, but without stores that hold only copies: their traits do not affect the objects."""
    yield store
    for name, part in store._parts().items():
        if name not in store._copies_in:
            yield from holders(part)


def check_order(decorator: ObjectStore[Any, Any], base: ObjectStore[Any, Any]) -> None:
    """
    Check the order of a *decorator* that is built over *base*, and warn of a wasteful one.

    Raises:
        ConfigError: the two cannot work in this order; the message gives the right one.
        TypeError: *base* is not a store.
    """
    if not isinstance(base, ObjectStore):
        raise TypeError(f"{type(decorator).__name__} must be built over a store, not over {type(base).__name__}")
    above = type(decorator).__name__
    for rule in _RULES:
        if rule.above not in decorator._traits:
            continue
        for store in holders(base):
            if rule.below in store._traits and rule.unless not in store._traits:
                below = type(store).__name__
                fix = rule.fix if above != below else _LEAVE_ONE_OUT
                text = f"{{above}} over {{below}}: {rule.why}; {fix}".format(above=above, below=below)
                if rule.refused:
                    raise ConfigError(text)
                warnings.warn(text, StackWarning, stacklevel=_outside())
                break


def _outside() -> int:
    """Return the stack level of the call that builds the decorator, past the constructors of its bases."""
    level = 2
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_code.co_name == "__init__":
        frame = frame.f_back
        level += 1
    return level
