"""
`AheadMarks`: what a mirror leaves in its children, so that after a restart it knows which children missed writes.

While some children are stale, those that hold the last versions have an object of the key `KEY`: their *mark*, which
names the children that missed a write. A mirror whose process ended reads the marks when it is first used again, and
does not trust the children that they name. One mark serves for any number of writes, so that a write that meets a
failing child costs one more put at the beginning of the failure, and none later.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence, Set
from time import monotonic
from typing import NamedTuple, TypeVar

import anyio

from storage._concurrency.key_locks import KeyLocks
from storage._concurrency.tasks import for_each
from storage.base import ObjectStore
from storage.decorators.mirroring.stale_children import StaleChildren
from storage.errors import InvalidKeyError, KeyNotFoundError, StorageError
from storage.types import ByteRange

__all__ = ["KEY", "AheadMarks", "without_mark"]

#: The key of the marks in the children. The mirror has no object of this key.
KEY = ".storage-mirror"

#: The most bytes that are read of a mark.
MOST_BYTES = 1 << 16

#: Seconds that the marks may delay a call: a child that does not answer by then is read without its mark.
LIMIT = 5.0

#: Seconds until the mark of a child that did not answer is read again.
PAUSE = 60.0

T = TypeVar("T")

_log = logging.getLogger("storage")


class _Mark(NamedTuple):
    """
    A mark: the number of the child that has it, the number of all children, and those that missed a write.

    Numbers are those of the children when it was written.
    """

    child: int
    children: int
    behind: Sequence[int]

    def encoded(self, writer: str) -> bytes:
        return json.dumps({**self._asdict(), "by": writer}).encode()

    @classmethod
    def of(cls, encoded: bytes) -> _Mark | None:
        """Return the mark that was written so; None if it is damaged."""
        try:
            content = json.loads(encoded)
            mark = cls(content["child"], content["children"], content["behind"])
            numbers = [mark.child, mark.children, *mark.behind]
        except (ValueError, TypeError, LookupError, RecursionError):
            return None
        return mark if all(type(number) is int for number in numbers) else None


class AheadMarks:
    """
    The marks of one mirror.

    Args:
        stores: the children.
        stale: which children are stale for which keys.
        enabled: whether there are marks; there are none where every write must succeed on all children.
    """

    def __init__(self, stores: Sequence[ObjectStore], stale: StaleChildren, enabled: bool) -> None:
        self._stores = stores
        self._stale = stale
        self._enabled = enabled
        self._unread: set[int] = set(stale.readable) if enabled else set()
        self._read_again = 0.0
        self._found: dict[int, _Mark | None] = {}  # the marks that were read; None for one that is damaged
        self._named: dict[int, Set[int]] = {}  # the children that the mark names which this mirror put into a child
        self._ours = secrets.token_hex(8)
        self._lock = KeyLocks()

    async def read(self) -> None:
        """Read the marks that an earlier process left, unless that was done, and stop trusting whom they name."""
        if self._unread and monotonic() >= self._read_again:
            async with self._lock.hold(KEY):
                if monotonic() >= self._read_again:
                    await self._read()

    async def _read(self) -> None:
        async def read(number: int) -> None:
            try:
                mark = await self._stores[number].get(KEY, byte_range=ByteRange(0, MOST_BYTES))
            except (KeyNotFoundError, InvalidKeyError):
                pass
            except StorageError as error:
                _log.debug("children[%d] of a mirror does not tell whether it has a mark: %s", number, error)
                return
            else:
                self._found[number] = _Mark.of(mark)
            self._unread.discard(number)

        with anyio.move_on_after(LIMIT):
            await for_each(sorted(self._unread), read)
        self._read_again = monotonic() + PAUSE
        behind = self._named_by(self._found) - self._stale.distrusted
        if not behind:
            return
        names = ", ".join(f"children[{number}]" for number in sorted(behind))
        if behind >= self._stale.readable - self._stale.distrusted or self._stale.any_key_needs(behind):
            _log.error("%s of a mirror each missed writes of an earlier process: call verify(repair=True)", names)
            return
        _log.warning(
            "%s of a mirror missed writes of an earlier process and will not be read before verify(repair=True)", names
        )
        for number in behind:
            self._stale.distrust(number)

    def _named_by(self, marks: Mapping[int, _Mark | None]) -> set[int]:
        """
        Return the children that the marks name, by their present numbers.

        If the children are in another order now, a child with a mark is known by the number in it. Any of those without
        a mark may be a child that is named and has none.
        """
        readable = self._stale.readable
        known = {number: mark for number, mark in marks.items() if mark is not None}
        named = {number for mark in known.values() for number in mark.behind}
        if known == marks and all((number, len(self._stores)) == mark[:2] for number, mark in known.items()):
            return named & readable
        now = {mark.child: number for number, mark in known.items()}
        others = readable - marks.keys() - self._unread if marks else set()
        behind = {now[number] for number in named if number in now}
        return behind | others if len(known) < len(marks) or not named <= now.keys() else behind

    async def place(self, keys: Collection[str]) -> None:
        """Put marks into the children that hold the last version of these keys, after a write that others missed."""
        behind = {number for key in keys for number in self._stale.of(key)} & self._stale.readable
        if not self._enabled or not behind:
            return
        async with self._lock.hold(KEY):
            lacking = [number for number in self._stale.readable - behind if not behind <= self._names(number)]

            async def put(number: int) -> None:
                named = behind | self._names(number)
                mark = _Mark(number, len(self._stores), sorted(named))
                try:
                    await self._stores[number].put(KEY, mark.encoded(self._ours))
                except StorageError as error:
                    _log.warning("children[%d] of a mirror takes no mark: %s", number, error)
                else:
                    self._named[number] = named

            with anyio.move_on_after(LIMIT):
                await for_each(lacking, put)

    def _names(self, number: int) -> Set[int]:
        return self._named.get(number, frozenset())

    async def remove(self) -> None:
        """Remove the marks of this mirror, once no child is stale any more."""
        if not self._named or self._stale:
            return
        async with self._lock.hold(KEY):
            if not self._stale:
                await self._delete(list(self._named), ours_only=True)

    async def remove_all(self) -> None:
        """Remove all marks: the children were compared and repaired."""
        if self._enabled:
            async with self._lock.hold(KEY):
                await self._delete(sorted(self._stale.readable), ours_only=False)

    async def _delete(self, numbers: Collection[int], *, ours_only: bool) -> None:
        async def delete(number: int) -> None:
            store = self._stores[number]
            try:
                if not ours_only or self._ours.encode() in await store.get(KEY, byte_range=ByteRange(0, MOST_BYTES)):
                    await store.delete(KEY)
            except StorageError as error:
                _log.debug("children[%d] of a mirror keeps its mark: %s", number, error)

        self._named.clear()  # a mark that stays costs no more than a comparison of the children after a restart
        with anyio.move_on_after(LIMIT):
            await for_each(numbers, delete)


async def without_mark(items: AsyncIterator[T], key: Callable[[T], str]) -> AsyncIterator[T]:
    """Yield what a child lists, except its mark."""
    async for item in items:
        if key(item) != KEY:
            yield item
