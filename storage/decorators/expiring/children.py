"""`expiring_alike`: children of one store that all expire objects, if one of them does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from storage._core.claims import claimed
from storage._core.traits import Trait
from storage.base import ObjectStore
from storage.decorators.bases.stacking import holders
from storage.decorators.expiring.store import ExpiringStore
from storage.types import In, Out

__all__ = ["expiring_alike"]


def expiring_alike(children: Sequence[ObjectStore[In, Out]]) -> Sequence[ObjectStore[In, Out]]:
    """
    Return the children of a store that takes all of them for one; if some expire their objects, the others do too.

    Else what has expired in one child, as in a `RedisStore`, would be found in another, where its lifetime means
    nothing; and a mirror would put it back. So each of the others gets an `ExpiringStore` without sweeps. One that
    cannot be read, or not be written, or keeps no attributes stays as it is.
    """
    if not isinstance(children, Sequence) or not all(isinstance(child, ObjectStore) for child in children):
        return children  # the caller raises the error
    expire = [_expires(child) for child in children]
    if all(expire) or not any(expire):
        return children
    wrapped = {id(child): child if done else _expiring(child) for child, done in zip(children, expire, strict=True)}
    return [cast("ObjectStore[In, Out]", wrapped[id(child)]) for child in children]


def _expires(child: ObjectStore[Any, Any]) -> bool:
    return any(store._traits & {Trait.EXPIRES, Trait.FORGETS} for store in holders(child))


def _expiring(child: ObjectStore[Any, Any]) -> ObjectStore[Any, Any]:
    able = claimed(child)
    return ExpiringStore(child, sweep_interval=None) if able.readable and able.writable and able.attributes else child
