"""`Expiry`: which objects of a store have expired, and their removal."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from storage._core.bulk import pages, results_of
from storage._core.clock import CLOCK
from storage._core.conditions import WriteConditions
from storage._core.deadlines import DEADLINE, LIFETIME, carried_deadline, deadline_of, earliest, lifetime, lifetime_of
from storage._core.lazy import lazy
from storage._core.traits import Trait
from storage.base import ObjectStore
from storage.decorators.bases.stacking import stack
from storage.decorators.expiring.usage import Usage
from storage.errors import (
    ConfigError,
    KeyNotFoundError,
    PreconditionFailedError,
    StorageError,
    UnsupportedOperationError,
)
from storage.types import Attributes, ObjectInfo

__all__ = ["NO_DEADLINES", "Expiry", "expires_by_itself"]

#: The error of a store that cannot keep deadlines; the name of the expiring store, and the store below.
NO_DEADLINES = (
    "{} stores deadlines as attributes, which {} does not support: use a store with the capability 'attributes', "
    "such as SqliteStore"
)

_log = logging.getLogger("storage")

_CANNOT_REMOVE = "the store below cannot delete a single version of an object (it lacks conditional_delete or etags)"


class Expiry:
    """
    The deadlines of a store's objects: tells live objects from expired ones, and removes the expired ones.

    Every `ObjectInfo` here is that of the store below: its attributes include the deadline.

    Args:
        base: the store of the objects.
        ttl: the default lifetime; None for no limit.
        usage: counts the objects; removals are reported to it.
        owner: the store that errors name.

    Attributes:
        clock: the clock by which objects expire.
    """

    def __init__(
        self,
        base: ObjectStore[Any, Any],
        ttl: timedelta | None,
        usage: Usage,
        owner: object,
    ) -> None:
        self.clock = CLOCK
        self._base = base
        self._ttl = ttl
        self._usage = usage
        self._owner = owner

    @lazy
    def supported(self) -> bool:
        """Whether *base* can keep deadlines, which are attributes."""
        return self._base.capabilities.attributes

    @lazy
    def removes(self) -> bool:
        """
        Whether expired objects can be deleted safely.

        They are deleted by their etags. That is safe only if no two versions share one: where equal bytes have equal
        etags, the object may have been put again.
        """
        able = self._base.capabilities
        return able.attributes and able.conditional_delete and able.etags

    def check(self) -> None:
        """
        Raise where objects should expire, and the file system of *base* cannot keep their deadlines.

        Raises:
            ConfigError: it cannot.
        """
        if self._ttl is not None and not self.supported:
            raise ConfigError(NO_DEADLINES.format(type(self._owner).__name__, repr(self._base)))

    def lifetime(self, key: str, attributes: Attributes | None, ttl: float | timedelta | None) -> timedelta | None:
        """Return the lifetime of an object that is put with these arguments; None for no limit."""
        if ttl is not None:
            life = lifetime("ttl", ttl)
        elif attributes and LIFETIME in attributes:
            life = lifetime_of(attributes)
        else:
            self.check()
            return self._ttl
        if life is not None and not self.supported:
            text = "put with a ttl: deadlines are stored as attributes, which the store below does not support"
            raise UnsupportedOperationError(text, key=key, store=self._owner)
        return life

    def deadline(self, attributes: Attributes | None, life: timedelta | None) -> datetime | None:
        """Return the deadline of an object that is put now. A copy does not outlive its original."""
        deadline = None if life is None else self.clock.now() + life
        return earliest(deadline, carried_deadline(attributes)) if attributes else deadline

    def deadline_of(self, below: ObjectInfo) -> datetime | None:
        """Return the deadline that this store gave the object, or with which the object was copied; else None."""
        attributes = below.attributes
        return deadline_of(attributes) if DEADLINE in attributes else carried_deadline(attributes)

    def is_expired(self, below: ObjectInfo) -> bool:
        """Return whether the object's deadline has passed."""
        deadline = self.deadline_of(below)
        return deadline is not None and deadline <= self.clock.now()

    async def head(self, key: str) -> ObjectInfo:
        """
        Return the description of a live object.

        Raises:
            KeyNotFoundError: there is none. One that has expired is removed.
        """
        below = await self._base.head(key)
        if self.is_expired(below):
            await self.try_remove(below)
            raise KeyNotFoundError(key, store=self._owner)
        return below

    async def scan(self, prefix: str, start_after: str, *, expired: bool = False) -> AsyncIterator[ObjectInfo]:
        """Yield the descriptions of the live objects, or of the *expired* ones."""
        async for below in self._base.scan(prefix, start_after=start_after):
            if self.is_expired(below) is expired:
                yield below

    async def remove_if_expired(self, key: str, if_match: str | None = None) -> None:
        """
        Remove an expired object before a conditional write, which must not find it.

        Raises:
            PreconditionFailedError: it has expired, and *if_match* is given.
            UnsupportedOperationError: it has expired and cannot be removed.
        """
        if not self.supported:
            return
        try:
            below = await self._base.head(key)
        except KeyNotFoundError:
            return
        if self.is_expired(below):
            WriteConditions.of(False, if_match).enforce(key, None, self._owner)
            if not self.removes:
                text = f"if_absent where an expired object is stored: {_CANNOT_REMOVE}; delete the object first"
                raise UnsupportedOperationError(text, key=key, store=self._owner)
            await self.remove(below)

    async def sweep(self, prefix: str) -> int:
        """Remove all expired objects below *prefix*, a page at a time, and return how many; see `ExpiringStore`."""
        if self.supported and not self.removes:
            raise UnsupportedOperationError(f"sweep: {_CANNOT_REMOVE}", store=self._owner)
        removed = 0
        failure: StorageError | None = None
        async for page in pages(self.scan(prefix, "", expired=True)):
            below = {info.key: info for info in page}
            for result in (await results_of(below, partial(self._remove_of, below))).values():
                if isinstance(result, StorageError):
                    failure = failure or result
                else:
                    removed += result
        if failure is not None:
            raise failure
        return removed

    async def try_remove(self, below: ObjectInfo) -> None:
        """Remove an expired object; if that fails, leave it to a sweep."""
        if self.removes:
            try:
                await self.remove(below)
            except StorageError as error:
                _log.debug("an expired object was not removed, and stays for now: %s", error)

    async def remove(self, below: ObjectInfo) -> bool:
        """Delete this version, and return whether it was still there; a version that was put meanwhile stays."""
        try:
            await self._base.delete(below.key, if_match=below.etag)
        except PreconditionFailedError:
            return False
        self._usage.mark_removed(below.key, below.etag)
        return True

    async def _remove_of(self, page: Mapping[str, ObjectInfo], key: str) -> bool:
        return await self.remove(page[key])


def expires_by_itself(store: ObjectStore[Any, Any]) -> bool:
    """
    Return whether *store* removes all its objects at their deadlines by itself, so that no sweep is needed.

    Below another expiring store an object stays until the last of its deadlines.
    """
    below = list(stack(store))
    lowest = [each for each in below if not each._parts()]
    by_itself = all(Trait.FORGETS in each._traits for each in lowest)
    return by_itself and not any(Trait.EXPIRES in each._traits for each in below)
