"""`Repairs`: how a child of a mirror gets back what it lacks, and how that keeps out of the way of writes."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import anyio

from storage._concurrency.key_locks import KeyLocks
from storage.base import ObjectStore
from storage.decorators.mirroring.stale_children import Behind
from storage.errors import CorruptObjectError, InvalidKeyError, KeyNotFoundError, StorageError
from storage.functions.copy_object import copy_object

__all__ = ["Repairs"]

_log = logging.getLogger("storage")


class Repairs:
    """
    The locks under which objects of a mirror are written, and the repairs that are made under them.

    Args:
        stores: the children.
        behind: what is known of them.
        find: finds the first child that has an object and can be believed, leaving out those that are given.
        tell: is told which child could not be repaired, and why.
    """

    def __init__(
        self,
        stores: Sequence[ObjectStore],
        behind: Behind,
        find: Callable[[str, Collection[int]], Awaitable[int]],
        tell: Callable[[int, StorageError], None],
    ) -> None:
        self._stores = stores
        self._behind = behind
        self._find = find
        self._tell = tell
        self._locks = KeyLocks()
        self._under_way: dict[str, anyio.CancelScope] = {}

    @asynccontextmanager
    async def alone(self, *keys: str) -> AsyncIterator[None]:
        """Hold the keys' locks. A read's repair that is under way gives way: the write will do its work."""
        async with AsyncExitStack() as held:
            for key in sorted(set(keys)):  # in one order, or two who want the same two would wait for each other
                if key in self._under_way:
                    self._under_way[key].cancel()
                await held.enter_async_context(self._locks.hold(key))
            yield

    async def after_read(self, key: str, errors: Mapping[int, StorageError]) -> None:
        """
        Repair the children that are behind, and those whose *errors* say that they lost what another one has.

        It raises nothing, and does nothing while anybody writes the object: then it is not lost, but on its way.
        """
        lost = [number for number, error in errors.items() if isinstance(error, KeyNotFoundError | CorruptObjectError)]
        if not (lost or self._behind.by_name(key)) or self._locks.busy(key):
            return
        async with self._locks.hold(key):
            with anyio.CancelScope() as self._under_way[key]:
                try:
                    for number in sorted(self._behind.by_name(key)):
                        await self.catch_up(key, number)
                    for number in lost:
                        await self.restore(key, number, errors[number])
                finally:
                    del self._under_way[key]

    async def catch_up(self, key: str, number: int) -> bool:
        """Make a child that is behind hold what the others do, be it nothing; with the lock. Return whether it does."""
        try:
            try:
                source = await self._find(key, ())
            except (KeyNotFoundError, InvalidKeyError):
                await self._stores[number].delete(key)
            else:
                if not await self.copy(key, source, number):
                    return False
        except StorageError as error:
            self._tell(number, error)
            return False
        self._behind.caught_up(key, number)
        _log.info("children[%d] of a mirror has caught up on %r", number, key)
        return True

    async def restore(self, key: str, number: int, why: StorageError) -> bool:
        """
        Put back what a child has lost or holds damaged, if another one has it; with the lock. Return whether one has.

        The lock is what keeps this from putting back what is just being deleted. That the child has it already is no
        repair: the object was put between the questions of a read to this child and to the next.
        """
        try:
            source = await self._find(key, [number])
            copied = await self.copy(key, source, number, overwrite=not isinstance(why, KeyNotFoundError))
        except KeyNotFoundError:
            return False
        except StorageError as error:
            self._tell(number, error)
            return False
        if copied:
            _log.warning("children[%d] of a mirror had lost %r, which was put back: %s", number, key, why)
        return True

    async def copy(self, key: str, source: int, target: int, *, overwrite: bool = True) -> bool:
        """Copy an object from one child to another; with the lock. Return whether it was there to be copied."""
        store = self._stores[target]
        return await copy_object(self._stores[source], store, store.capabilities, key, overwrite) is not None
