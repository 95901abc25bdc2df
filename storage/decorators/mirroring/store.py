"""`MirroringStore`: the same objects in several stores, so that nothing is lost when one store is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Literal, TypeAlias, TypeVar

from storage._concurrency.tasks import stream
from storage._core.bulk import PAGE, raise_failures, result_of
from storage._core.claims import claimed
from storage._core.conditions import WriteConditions
from storage._core.data import as_bytes, chunks, is_stream
from storage._core.keys import check_key, is_key
from storage._core.merging import merged
from storage._core.traits import Trait
from storage.base import ObjectStore
from storage.decorators.bases.multi_store import MultiStore, ReadResult, tag_etag
from storage.decorators.expiring.children import expiring_alike
from storage.decorators.mirroring.marks import KEY, AheadMarks, without_mark
from storage.decorators.mirroring.repairs import Repairs
from storage.decorators.mirroring.stale_children import StaleChildren
from storage.decorators.mirroring.verify import Difference, Verification
from storage.decorators.mirroring.writes import Writes
from storage.errors import (
    ConfigError,
    IncompleteListingError,
    InvalidKeyError,
    KeyNotFoundError,
    RangeNotSatisfiableError,
    StorageError,
    StoreUnavailableError,
    UnsupportedOperationError,
)
from storage.types import Attributes, Capabilities, Data, Keys, check_attributes

__all__ = ["MirroringStore", "Require"]

T = TypeVar("T")

Require: TypeAlias = Literal["all", "quorum", "any"]
"""The number of children on which a write must succeed: all, more than half, or one."""


class MirroringStore(MultiStore):
    """
    Every object is in every child: writes go to all children concurrently, reads to the first that returns the object.

    *require* is the number of children on which a write must succeed. If it succeeds on so many, the failures of the
    others are logged; else `MirrorError` is raised and lists the children that hold the new version. Either way a child
    that missed a write is *stale* for that key: it is not read until the next read or write of the key has brought it
    up to date. A key is missing if so many children lack the object that the others are too few for *require*: no
    write that succeeded can be on them alone.

    A stream is read once. Each piece of it is sent when all children are ready for it, and no child publishes the
    object before the stream has come to its end. Conditions are checked by the first child, which is written to before
    all others; while it is not available, conditional writes fail. Etags are those of the first child; an etag of
    another child has the child's number added.

    Two concurrent writes of one key through this store leave the same version on all children. The store does not see
    what others write to the children: `verify` finds such differences. A write that is cancelled after it has begun on
    a child goes on, on all children, for up to 5 seconds.

    Before a write that a child missed is acknowledged, a mark is put into the children that hold the new version: an
    object of the key ``.storage-mirror``, which the mirror does not list. After a restart the children that a mark
    names are not read until ``verify(repair=True)`` has finished. If each child missed something that another one has,
    the marks cannot tell which is right for which key: the children are then read in their order, and an error is
    logged. A child whose mark cannot be read within 5 seconds is read without it; its mark is tried again after a
    minute.

    Args:
        children: the stores, one or more. The first one must be readable and all must be writable; those that cannot be
            read are only written to. All are entered, and one that fails to open stops the mirror, whatever *require*
            is.
        require: the number of children on which a write must succeed: ``"all"``, ``"quorum"`` (more than half) or
            ``"any"`` (one).
        repair: whether reads repair children that are stale or have lost the object. Turn it off if other processes
            delete objects: an object that is deleted on some children looks like one that the others have lost.
        max_behind: the number of keys, at most, for which children may be stale. Beyond it a child is not read at all
            until ``verify(repair=True)`` has finished. Each key takes some 200 bytes.

    Raises:
        ConfigError: there is no child, one twice, one that is not writable, or the first one cannot be read.
    """

    _traits = frozenset({Trait.MIRRORS})

    def __init__(
        self,
        children: Sequence[ObjectStore],
        *,
        require: Require = "all",
        repair: bool = True,
        max_behind: int = 100_000,
    ) -> None:
        super().__init__(expiring_alike(children))
        if require not in ("all", "quorum", "any"):
            raise ValueError(f"require must be 'all', 'quorum' or 'any', not {require!r}")
        if max_behind < 1:
            raise ValueError(f"max_behind must be at least 1, not {max_behind}")
        able = [claimed(store) for store in self.stores]
        for number in self._numbers:
            if not able[number].writable:
                raise ConfigError(f"{self._name(number)} cannot be written to; remove it, or use a FallbackStore")
        if not able[0].readable:
            raise ConfigError(f"{self._name(0)} cannot be read: put a readable store first, as it checks conditions")
        self.require: Require = require
        self.repair = repair
        self.max_behind = max_behind
        total = len(self.stores)
        self._needed = {"all": total, "quorum": total // 2 + 1, "any": 1}[require]
        self._readable = [number for number in self._numbers if able[number].readable]
        # An object whose write met *require* is on at least so many of the readable children.
        self._min_copies = max(self._needed - (total - len(self._readable)), 1)
        self._stale = StaleChildren(total, self._readable, max_behind)
        self._repairs = Repairs(self.stores, self._stale, self._find, self._log_failure)
        self._marks = AheadMarks(self.stores, self._stale, self._needed < total)
        self._writes = Writes(self, self._needed, self._stale, self._repairs, self._marks)

    # -- reading: the hooks of MultiStore ------------------------------------------------------------------------

    def _check(self, key: str) -> None:
        check_key(key, self)
        if key == KEY:
            raise InvalidKeyError(f"{KEY!r} is where a mirror notes which children missed writes", key=key, store=self)

    def _order(self, key: str) -> Sequence[int]:
        if key == KEY:
            self._check(key)
        if not self._stale:
            return self._readable
        stale = self._stale.of(key)
        return [number for number in self._readable if number not in stale]

    def _first_may_answer(self, key: str) -> bool:
        return key != KEY and not self._stale.of(key)

    async def get_many(self, keys: Keys) -> dict[str, bytes | StorageError]:
        await self._marks.read()
        return await super().get_many(keys)

    async def _read(
        self,
        key: str,
        call: Callable[[ObjectStore], Awaitable[T]],
        known: Mapping[int, StorageError] | None = None,
    ) -> ReadResult[T]:
        """
        Read as `MultiStore` does, but try the children again that lacked the object before another one returned it.

        The object may have been put after they were tried, so that the other child has the next version already. The
        next reader could then get the older version from the first child: reads would go back in time.
        """
        await self._marks.read()
        found = await super()._read(key, call, known)
        for number, error in found.errors.items():
            if isinstance(error, KeyNotFoundError) and number not in self._stale.of(key):
                try:
                    value = await call(self.stores[number])
                except RangeNotSatisfiableError:
                    raise
                except StorageError:
                    continue
                return ReadResult(
                    value, number, {other: found.errors[other] for other in found.errors if other != number}
                )
        return found

    def _not_found_error(self, key: str, errors: Mapping[int, StorageError]) -> StorageError:
        invalid = [error for error in errors.values() if isinstance(error, InvalidKeyError)]
        if len(self.stores) - len(invalid) < self._needed:
            return invalid[0]
        missing = [error for error in errors.values() if isinstance(error, KeyNotFoundError)]
        failed = [error for error in errors.values() if error not in missing and error not in invalid]
        not_lacking = len(self._readable) - len(missing) - len(invalid)
        if missing and (not failed or self._stale.of_key_only(key) or not_lacking < self._min_copies):
            return missing[0]
        if failed:
            return failed[0]
        return StoreUnavailableError("every child that can be read missed the last write", key=key, store=self)

    async def _after_read(self, key: str, errors: Mapping[int, StorageError]) -> None:
        if self.repair and (errors or self._stale):
            await self._repairs.after_read(key, errors)
            await self._marks.remove()

    async def _find(self, key: str, without: Collection[int]) -> int:
        """Return the number of the first current child that has an object, for a repair; skip those in *without*."""
        known: dict[int, StorageError] = {number: KeyNotFoundError(key) for number in without}
        return (await super()._read(key, lambda store: store.head(key), known)).number

    # -- listing -------------------------------------------------------------------------------------------------

    def _union(self, listings: Sequence[AsyncIterator[T]], key: Callable[[T], str]) -> AsyncIterator[T]:
        failing: set[int] = set()
        current = [self._listing(number, listings[number], key, failing) for number in self._readable]
        return merged(current, key, store=self, recheck=self.head)

    def children(self, prefix: str = "", delimiter: str = "/") -> AsyncIterator[str]:
        # a stale child may list a prefix under which all objects were deleted
        return ObjectStore.children(self, prefix, delimiter) if self._stale else super().children(prefix, delimiter)

    async def _listing(
        self, number: int, items: AsyncIterator[T], key: Callable[[T], str], failing: set[int]
    ) -> AsyncIterator[T]:
        """
        Yield the keys that a child lists and for which it is current.

        A child that fails ends its part of the listing if the other children certainly list all objects; else its error
        is raised.
        """
        try:
            await self._marks.read()
            distrusted = self._stale.distrusted
            if number in distrusted and not self._stale.any_key_needs(distrusted):
                return
            if number in self._stale.wholly_stale:
                raise StoreUnavailableError(f"{self._name(number)} missed too many writes: call verify(repair=True)")
            async for item in without_mark(items, key):
                if number not in self._stale.of(key(item)):
                    yield item
        except IncompleteListingError:  # it listed all others, and another child may have listed these
            raise
        except StorageError as error:
            failing.add(number)
            if len(failing) >= self._min_copies or self._stale.any_key_needs(failing):
                raise
            self._log_failure(number, error)

    # -- writing -------------------------------------------------------------------------------------------------

    async def put(
        self,
        key: str,
        data: Data,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        attributes: Attributes | None = None,
    ) -> str:
        self._check(key)
        await self._marks.read()
        conditions = WriteConditions.of(if_absent, if_match)
        checked = check_attributes(attributes) or None
        if checked and not all(store.capabilities.attributes for store in self.stores):
            raise UnsupportedOperationError("not every child supports attributes", key=key, store=self)
        conditional = bool(conditions)

        async def put(number: int, content: Data) -> str:
            if number:
                return tag_etag(await self.stores[number].put(key, content, attributes=checked), number)
            return await self.base.put(key, content, if_absent=if_absent, if_match=if_match, attributes=checked)

        if not is_stream(data):
            return await self._writes.write("put", key, partial(put, content=as_bytes(data)), conditional)
        async with aclosing(chunks(data)) as pieces:
            first, second = await anext(pieces, b""), await anext(pieces, None)
            if second is None:
                return await self._writes.write("put", key, partial(put, content=first), conditional)
            return await self._writes.write_stream(key, put, _chained([first, second], pieces), conditional)

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        self._check(key)
        await self._marks.read()

        def delete(number: int) -> Awaitable[None]:
            return self.stores[number].delete(key) if number else self.base.delete(key, if_match=if_match)

        await self._writes.write("delete", key, delete, if_match is not None)

    async def delete_many(self, keys: Keys, *, raise_errors: bool = True) -> dict[str, None | StorageError]:
        results: dict[str, None | StorageError] = dict.fromkeys([key async for key in stream(keys)])
        valid = []
        await self._marks.read()
        for key in results:
            if is_key(key) and key != KEY:
                valid.append(key)
            else:
                results[key] = await result_of(self.delete(key))
        for begin in range(0, len(valid), PAGE):
            page = valid[begin : begin + PAGE]
            async with self._repairs.locked(*page):
                results |= await self._writes.delete_page(page)
        return raise_failures(results, self, raise_errors)

    async def copy(self, source: str, target: str, *, if_absent: bool = False) -> str:
        return await self._move("copy", [target], source, target, if_absent)

    async def rename(self, source: str, target: str, *, if_absent: bool = False) -> str:
        return await self._move("rename", [target, source], source, target, if_absent)

    async def _move(
        self, action: Literal["copy", "rename"], changed: list[str], source: str, target: str, if_absent: bool
    ) -> str:
        """Copy or rename natively in each child, so that no data passes through this process."""
        self._check(source)
        self._check(target)
        await self._marks.read()
        if len(self._readable) < len(self.stores):  # a child that cannot be read cannot copy
            plain = ObjectStore.copy if action == "copy" else ObjectStore.rename
            return await plain(self, source, target, if_absent=if_absent)

        async def move(number: int) -> str:
            if number in self._stale.of(source):
                raise StoreUnavailableError("the child missed the last write of the source", key=source)
            native: Callable[..., Awaitable[str]] = getattr(self.stores[number], action)
            call = partial(native, source, target, if_absent=if_absent and number == 0)
            try:
                etag = await call()
            except KeyNotFoundError as error:
                if not await self._repairs.restore(source, number, error):
                    raise
                etag = await call()
            return tag_etag(etag, number)

        async with self._repairs.locked(source, target):
            for number in sorted(self._stale.of_key_only(source)):
                await self._repairs.catch_up(source, number)
            return await self._writes.write_locked(action, changed, move, if_absent)

    # -- description --------------------------------------------------------------------------------------------

    def verify(self, prefix: str = "", *, repair: bool = False, content: bool = True) -> AsyncIterator[Difference]:
        """
        Compare the children, and yield the differences in key order.

        The right version is the one that most children have. If several versions are equally frequent, it is that of
        the first child under ``require="all"``, and otherwise the one that was modified last, by the children's clocks.
        An object that only some children have was lost by the others, unless this mirror deleted it.
        Children that cannot be read are not compared.

        Args:
            prefix: compare only keys that start with this.
            repair: copy the right version to the children that differ.
            content: read all objects and compare their bytes; else only sizes and attributes.

        Raises:
            StorageError: a child fails, so that it cannot be compared.
        """
        check = Verification(
            self.stores,
            self._readable,
            self._stale,
            self._repairs,
            self._marks,
            attributes=self.capabilities.attributes,
            newest_counts=self.require != "all",
        )
        return check.run(prefix, repair, content)

    @property
    def capabilities(self) -> Capabilities:
        every = [store.capabilities for store in self.stores]
        written, read = Capabilities.common(every), Capabilities.common(every[number] for number in self._readable)
        return self._supported(
            replace(
                read,
                writable=True,
                conditional_put=every[0].conditional_put,
                conditional_delete=every[0].conditional_delete,
                attributes=written.attributes,
                streaming=written.streaming,
                multi_process=False,
                steppable=False,
            )
        )

    def __repr__(self) -> str:
        require = "" if self.require == "all" else f", require={self.require!r}"
        return f"{type(self).__name__}({list(self.stores)!r}{require})"


async def _chained(first: Sequence[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for piece in first:
        yield piece
    async for piece in rest:
        yield piece
