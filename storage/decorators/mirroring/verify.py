"""`Verification`: compares the children of a mirror, object by object."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal, NamedTuple, TypeAlias

from storage._concurrency.tasks import CONCURRENCY, for_each, stream
from storage._core.bulk import pages
from storage._core.deadlines import without_carried
from storage._core.merging import merged
from storage.base import ObjectStore
from storage.decorators.mirroring.marks import AheadMarks, without_mark
from storage.decorators.mirroring.repairs import Repairs
from storage.decorators.mirroring.stale_children import StaleChildren
from storage.errors import CorruptObjectError, InvalidKeyError, KeyNotFoundError, StorageError

__all__ = ["Difference", "Verification"]

_log = logging.getLogger("storage")


@dataclass(frozen=True, slots=True)
class Difference:
    """
    One object that is wrong on one child of a mirror.

    Attributes:
        key: the object.
        child: the number of the child.
        problem: the child lacks the object, has another version, a damaged one, or an object that was deleted.
        repaired: whether the child was repaired.
    """

    key: str
    child: int
    problem: Literal["missing", "different", "corrupt", "deleted"]
    repaired: bool = False


@dataclass(frozen=True, slots=True)
class _Version:
    """What is compared of an object. Not its etag: etags of two stores cannot be compared."""

    size: int
    attributes: tuple[tuple[str, str], ...]
    digest: bytes
    modified: datetime | None = field(compare=False)


#: What a child has under a key: a version, nothing, or a damaged object.
_State: TypeAlias = _Version | CorruptObjectError | None


class _Expected(NamedTuple):
    """
    What all children should have under a key.

    Attributes:
        known: whether that can be decided.
        source: the child that has the right version; None where there should be no object.
    """

    known: bool
    source: int | None = None


class Verification:
    """
    One pass over the children of a mirror.

    Args:
        stores: the children.
        readable: the numbers of the children that are compared.
        stale: which children are stale for which keys.
        repairs: has the locks of keys, and copies objects.
        marks: the marks of the children, which are no objects.
        attributes: whether attributes are compared: they are if all children keep them.
        newest_counts: whether the right one of several equally frequent versions is the one that was modified last;
            else it is that of the first child.
    """

    def __init__(
        self,
        stores: Sequence[ObjectStore],
        readable: Sequence[int],
        stale: StaleChildren,
        repairs: Repairs,
        marks: AheadMarks,
        attributes: bool,
        newest_counts: bool,
    ) -> None:
        self._stores = stores
        self._readable = readable
        self._stale = stale
        self._repairs = repairs
        self._marks = marks
        self._attributes = attributes
        self._newest_counts = newest_counts

    async def run(self, prefix: str, repair: bool, content: bool) -> AsyncIterator[Difference]:
        """Compare all keys that start with *prefix*, some concurrently, and yield the differences in key order."""
        await self._marks.read()
        wholly_stale, overflows, unrepaired = set(self._stale.wholly_stale), self._stale.overflows, set()
        listings = [without_mark(self._stores[number].keys(prefix), str) for number in self._readable]
        keys = merged([*listings, stream(self._stale.keys(prefix))])
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
        if repair and not prefix and overflows == self._stale.overflows:
            for child in wholly_stale - unrepaired:
                self._stale.trust(child)
            if not unrepaired and not self._stale:
                await self._marks.remove_all()

    async def _check(self, key: str, repair: bool, content: bool) -> list[Difference]:
        """Compare one object. A difference is compared again with the key's lock, as a write may have caused it."""
        states = await self._states(key, content)
        if len(set(states.values())) == 1 and not self._stale.of_key_only(key):
            return []
        async with self._repairs.locked(key):
            states = await self._states(key, content)
            expected = self._expected(key, states)
            differences = []
            for number, state in states.items():
                problem = _problem(state, states, expected)
                if problem is None:
                    self._stale.mark_current(key, number)
                    continue
                difference = Difference(key, number, problem)
                if repair and expected.known and await self._repair(key, number, expected.source):
                    difference = replace(difference, repaired=True)
                differences.append(difference)
            return differences

    async def _states(self, key: str, content: bool) -> dict[int, _State]:
        states: dict[int, _State] = dict.fromkeys(self._readable)

        async def compare(number: int) -> None:
            states[number] = await self._state(key, number, content)

        await for_each(self._readable, compare)
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
        attributes = tuple(sorted((without_carried(info.attributes) or {}).items())) if self._attributes else ()
        return _Version(info.size, attributes, digest.digest(), info.modified)

    def _expected(self, key: str, states: Mapping[int, _State]) -> _Expected:
        stale = self._stale.of(key)
        current = {number: state for number, state in states.items() if number not in stale}
        versions = {number: state for number, state in current.items() if isinstance(state, _Version)}
        if versions:
            counts = Counter(versions.values())
            most_frequent = [version for version in counts if counts[version] == max(counts.values())]
            right = _newest(most_frequent, versions.values()) if self._newest_counts else most_frequent[0]
            return _Expected(True, next(number for number, state in versions.items() if state == right))
        return _Expected(bool(current) and all(state is None for state in current.values()))

    async def _repair(self, key: str, number: int, source: int | None) -> bool:
        """Copy the right version to a child, or delete the object there; return whether it worked. The lock is held."""
        try:
            if source is None:
                await self._stores[number].delete(key)
            elif not await self._repairs.copy(key, source, number):
                return False
        except StorageError as error:
            _log.warning("children[%d] of a mirror could not be repaired for %r: %s", number, key, error)
            return False
        self._stale.mark_current(key, number)
        return True


def _newest(versions: Sequence[_Version], copies: Collection[_Version]) -> _Version:
    """Return the version with the copy that was modified last; the first one if a child does not tell when that was."""
    times = {version: [copy.modified for copy in copies if copy == version] for version in versions}
    if any(time is None for each in times.values() for time in each):
        return versions[0]
    return max(versions, key=lambda version: max(time for time in times[version] if time is not None))


def _problem(
    state: _State, states: Mapping[int, _State], expected: _Expected
) -> Literal["missing", "different", "corrupt", "deleted"] | None:
    """Return what is wrong with the state of one child."""
    if isinstance(state, CorruptObjectError):
        return "corrupt"
    if expected.source is None:
        return "deleted" if expected.known and state is not None else None
    if state is None:
        return "missing"
    return None if state == states[expected.source] else "different"
