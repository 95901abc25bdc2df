"""`Verification`: the children of a mirror held against each other, object by object."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeAlias

from storage._concurrency.tasks import CONCURRENCY, for_each, stream
from storage._core.bulk import pages
from storage._core.merging import merged
from storage.base import ObjectStore
from storage.decorators.mirroring.repairs import Repairs
from storage.decorators.mirroring.stale_children import Behind
from storage.errors import CorruptObjectError, InvalidKeyError, KeyNotFoundError, StorageError

__all__ = ["Difference", "Verification"]

_log = logging.getLogger("storage")


@dataclass(frozen=True, slots=True)
class Difference:
    """
    What one child of a mirror has of one object, where that is not right.

    Attributes:
        key: the object.
        child: the child's number.
        problem: it has no such object, another one, a damaged one, or one that was deleted.
        repaired: whether it was put right.
    """

    key: str
    child: int
    problem: Literal["missing", "different", "corrupt", "deleted"]
    repaired: bool = False


class _Version(NamedTuple):
    """What can be told of an object in any store: never its etag, which means nothing elsewhere."""

    size: int
    attributes: tuple[tuple[str, str], ...]
    digest: bytes


#: What a child has of an object: a version, nothing, or something damaged.
_State: TypeAlias = _Version | CorruptObjectError | None


class _Right(NamedTuple):
    """
    What all children should have.

    Attributes:
        known: whether that can be told.
        source: the child to copy it from; None where there should be nothing.
    """

    known: bool
    source: int | None = None


class Verification:
    """
    One pass over the children of a mirror.

    Args:
        stores: the children.
        readable: the numbers of those that are compared.
        behind: what is known of them.
        repairs: the way to put one right.
        attributes: whether they keep attributes, all of them.
    """

    def __init__(
        self,
        stores: Sequence[ObjectStore],
        readable: Sequence[int],
        behind: Behind,
        repairs: Repairs,
        attributes: bool,
    ) -> None:
        self._stores = stores
        self._readable = readable
        self._behind = behind
        self._repairs = repairs
        self._attributes = attributes

    async def run(self, prefix: str, repair: bool, content: bool) -> AsyncIterator[Difference]:
        """Compare what is listed below *prefix*, some keys at once, and yield what differs in their order."""
        lost, losses, unrepaired = set(self._behind.whole), self._behind.losses, set()
        listings = [self._stores[number].keys(prefix) for number in self._readable]
        keys = merged([*listings, stream(self._behind.keys(prefix))])
        async for page in pages(keys, CONCURRENCY):
            found: dict[str, list[Difference]] = {}

            async def check(key: str, found: dict[str, list[Difference]] = found) -> None:
                found[key] = await self._check(key, repair, content)

            await for_each(page, check)
            for key in page:
                for difference in found[key]:
                    if not difference.repaired:
                        unrepaired.add(difference.child)
                    yield difference
        if repair and not prefix and losses == self._behind.losses:
            for child in lost - unrepaired:
                self._behind.trust(child)

    async def _check(self, key: str, repair: bool, content: bool) -> list[Difference]:
        """Compare one object, and once more with its lock if there seems to be a difference: it may just be written."""
        states = await self._states(key, content)
        if len(set(states.values())) == 1 and not self._behind.by_name(key):
            return []
        async with self._repairs.alone(key):
            states = await self._states(key, content)
            right = self._right(key, states)
            differences = []
            for number, state in states.items():
                problem = _problem(state, states, right)
                if problem is None:
                    self._behind.caught_up(key, number)
                    continue
                difference = Difference(key, number, problem)
                if repair and right.known and await self._repaired(key, number, right.source):
                    difference = replace(difference, repaired=True)
                differences.append(difference)
            return differences

    async def _states(self, key: str, content: bool) -> dict[int, _State]:
        states: dict[int, _State] = dict.fromkeys(self._readable)

        async def ask(number: int) -> None:
            states[number] = await self._state(key, number, content)

        await for_each(self._readable, ask)
        return states

    async def _state(self, key: str, number: int, content: bool) -> _State:
        store = self._stores[number]
        digest = hashlib.sha256()
        try:
            if content:
                async with store.open(key) as reader:
                    info = reader.info
                    async for piece in reader:
                        digest.update(piece)
            else:
                info = await store.head(key)
        except (KeyNotFoundError, InvalidKeyError):
            return None
        except CorruptObjectError as error:
            return error
        attributes = tuple(sorted(info.attributes.items())) if self._attributes else ()
        return _Version(info.size, attributes, digest.digest())

    def _right(self, key: str, states: Mapping[int, _State]) -> _Right:
        behind = self._behind.of(key)
        believed = {number: state for number, state in states.items() if number not in behind}
        versions = Counter(state for state in believed.values() if isinstance(state, _Version))
        if versions:
            [(most, _)] = versions.most_common(1)
            return _Right(True, next(number for number, state in believed.items() if state == most))
        return _Right(bool(believed) and all(state is None for state in believed.values()))

    async def _repaired(self, key: str, number: int, source: int | None) -> bool:
        """Put a child right, with the lock, and say whether that was done."""
        try:
            if source is None:
                await self._stores[number].delete(key)
            elif not await self._repairs.copy(key, source, number):
                return False
        except StorageError as error:
            _log.warning("children[%d] of a mirror could not be repaired for %r: %s", number, key, error)
            return False
        self._behind.caught_up(key, number)
        return True


def _problem(
    state: _State, states: Mapping[int, _State], right: _Right
) -> Literal["missing", "different", "corrupt", "deleted"] | None:
    """Return what is wrong with what one child has."""
    if isinstance(state, CorruptObjectError):
        return "corrupt"
    if right.source is None:
        return "deleted" if right.known and state is not None else None
    if state is None:
        return "missing"
    return None if state == states[right.source] else "different"
