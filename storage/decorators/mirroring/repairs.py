"""`Repairs`: how a child of a mirror is brought up to date without interfering with writes."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import anyio

from storage._concurrency.key_locks import KeyLocks
from storage._concurrency.per_loop import PerLoop
from storage.base import ObjectStore
from storage.decorators.mirroring.stale_children import StaleChildren
from storage.errors import CorruptObjectError, InvalidKeyError, KeyNotFoundError, StorageError
from storage.functions.copy_object import copy_object

__all__ = ["Repairs"]

_log = logging.getLogger("storage")


class Repairs:
    """
    The locks of a mirror's keys, and the repairs of its children. Writes and repairs of a key hold its lock.

    Args:
        stores: the children.
        stale: which children are stale for which keys.
        find: returns the number of the first current child that has an object; the children given to it are skipped.
        log_failure: called with the number of a child that could not be repaired, and its error.
    """

    def __init__(
        self,
        stores: Sequence[ObjectStore],
        stale: StaleChildren,
        find: Callable[[str, Collection[int]], Awaitable[int]],
        log_failure: Callable[[int, StorageError], None],
    ) -> None:
        self._stores = stores
        self._stale = stale
        self._find = find
        self._log_failure = log_failure
        self._locks = KeyLocks()
        self._under_way: PerLoop[dict[str, anyio.CancelScope]] = PerLoop(dict)

    @asynccontextmanager
    async def locked(self, *keys: str) -> AsyncIterator[None]:
        """Hold the keys' locks. A repair after a read is cancelled for it, as the write replaces what it repairs."""
        async with AsyncExitStack() as held:
            for key in sorted(set(keys)):  # always in this order: two callers with the same two keys must not deadlock
                if (repair := self._under_way.get().get(key)) is not None:
                    repair.cancel()
                await held.enter_async_context(self._locks.hold(key))
            yield

    async def after_read(self, key: str, errors: Mapping[int, StorageError]) -> None:
        """
        Repair the children that are stale for the key, and those that lost the object or hold it damaged.

        It does nothing while the key is locked: an object that a child lacks then may just be on its way there. It
        raises no error; failures are logged.

        Args:
            key: the object that was read.
            errors: the errors of the children that were tried before one returned the object.
        """
        lost = [number for number, error in errors.items() if isinstance(error, KeyNotFoundError | CorruptObjectError)]
        if not (lost or self._stale.of_key_only(key)) or self._locks.busy(key):
            return
        under_way = self._under_way.get()
        async with self._locks.hold(key):
            with anyio.CancelScope() as under_way[key]:
                try:
                    for number in sorted(self._stale.of_key_only(key)):
                        await self.catch_up(key, number)
                    for number in lost:
                        await self.restore(key, number, errors[number])
                finally:
                    del under_way[key]

    async def catch_up(self, key: str, number: int) -> bool:
        """
        Copy the last version to a stale child, or delete the object there if the current children have none.

        The caller holds the key's lock. Returns whether the child is current now.
        """
        try:
            try:
                source = await self._find(key, ())
            except (KeyNotFoundError, InvalidKeyError):
                await self._stores[number].delete(key)
            else:
                if not await self.copy(key, source, number):
                    return False
        except StorageError as error:
            self._log_failure(number, error)
            return False
        self._stale.mark_current(key, number)
        _log.info("children[%d] of a mirror has caught up on %r", number, key)
        return True

    async def restore(self, key: str, number: int, why: StorageError) -> bool:
        """
        Copy an object to a child that lost it or holds it damaged, if another child has it. Return whether one has.

        The caller holds the key's lock; without it an object that is just being deleted could be put back. If the child
        has the object already, nothing was lost: it was put after the read had tried this child and before it tried the
        next one.
        """
        try:
            source = await self._find(key, [number])
            copied = await self.copy(key, source, number, overwrite=not isinstance(why, KeyNotFoundError))
        except KeyNotFoundError:
            return False
        except StorageError as error:
            self._log_failure(number, error)
            return False
        if copied:
            _log.warning("children[%d] of a mirror had lost %r, which was put back: %s", number, key, why)
        return True

    async def copy(self, key: str, source: int, target: int, *, overwrite: bool = True) -> bool:
        """Copy an object from one child to another, and return whether it was copied. The caller holds its lock."""
        store = self._stores[target]
        return await copy_object(self._stores[source], store, store.capabilities, key, overwrite) is not None
