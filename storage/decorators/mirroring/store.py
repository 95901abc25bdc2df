"""`MirroringStore`: the same objects in several stores, so that the loss of one is no loss."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Literal, TypeAlias, TypeVar

from storage._concurrency.tasks import stream
from storage._core.bulk import PAGE, raise_failures, result_of
from storage._core.conditions import check_conditions
from storage._core.data import as_bytes, chunks, is_stream
from storage._core.keys import check_key, is_key
from storage._core.merging import merged
from storage.base import ObjectStore
from storage.decorators.bases.multi_store import Found, MultiStore, marked
from storage.decorators.mirroring.repairs import Repairs
from storage.decorators.mirroring.stale_children import Behind
from storage.decorators.mirroring.verify import Difference, Verification
from storage.decorators.mirroring.writes import Writes
from storage.errors import (
    ConfigError,
    InvalidKeyError,
    KeyNotFoundError,
    RangeNotSatisfiableError,
    StorageError,
    StoreUnavailableError,
    UnsupportedOperationError,
)
from storage.types import Attributes, Capabilities, Data, check_attributes

__all__ = ["MirroringStore", "Require"]

T = TypeVar("T")

Require: TypeAlias = Literal["all", "quorum", "any"]
"""How many children of a mirror have to do a write: each, more than half, or one."""


class MirroringStore(MultiStore):
    """
    Every object is in every child: writes go to all of them at once, reads to the first that answers.

    *require* says how many children have to do a write. Where that is met, those that failed are logged; else
    `MirrorError` says which hold the new version. Either way a child that missed a write is *behind* for that key:
    nothing of it is believed until it has caught up, which the next read or write of the key sees to. A missing key is
    one that so many children have not that no write which met *require* can be on the others alone.

    A stream is read once, and each child gets a piece when all are ready for it; before its end has reached one of
    them, nothing is written anywhere. The first child judges conditions, alone and before the others are touched, and
    so without it nothing is written on a condition. Etags are its etags; others are marked.

    Two writes of one key through this store leave the same on all children. Others that write to them know nothing of
    it, and it forgets with its process: children that differ then are found by `verify`. A write that is cancelled
    when it has begun on a child goes on to its end on all of them, 5 seconds at most.

    Args:
        children: the stores, one or more. The first one must be readable and all must be writable; those that cannot be
            read are never asked. All are entered, and one that fails to open stops the mirror, whatever *require* says.
        require: how many children must do a write: ``"all"``, ``"quorum"`` (more than half) or ``"any"`` (one).
        repair: whether reads put back what a child lost or missed. Turn it off where other processes delete objects:
            one that is half deleted looks like one that is half lost.
        max_behind: for how many keys children may be behind; with more, a child is no longer read at all until
            ``verify(repair=True)`` has been through. Takes some 200 bytes for each.

    Raises:
        ConfigError: there is no child, one twice, one that is not writable, or the first one cannot be read.
    """

    _traits = frozenset({"mirrors"})

    def __init__(
        self,
        children: Sequence[ObjectStore],
        *,
        require: Require = "all",
        repair: bool = True,
        max_behind: int = 100_000,
    ) -> None:
        super().__init__(children)
        if require not in ("all", "quorum", "any"):
            raise ValueError(f"require is 'all', 'quorum' or 'any', not {require!r}")
        if max_behind < 1:
            raise ValueError(f"max_behind is at least 1, not {max_behind}")
        able = [store.capabilities for store in self.stores]
        for number in self._numbers:
            if not able[number].writable:
                raise ConfigError(f"{self._name(number)} cannot be written to; leave it out, or use a FallbackStore")
        if not able[0].readable:
            raise ConfigError(f"{self._name(0)} cannot be read: put one first that can, for it judges conditions")
        self.require: Require = require
        self.repair = repair
        self.max_behind = max_behind
        total = len(self.stores)
        self._needed = {"all": total, "quorum": total // 2 + 1, "any": 1}[require]
        self._readable = [number for number in self._numbers if able[number].readable]
        # What was written as it has to be is on at least so many of the readable children.
        self._witnesses = max(self._needed - (total - len(self._readable)), 1)
        self._behind = Behind(total, self._readable, max_behind)
        self._repairs = Repairs(self.stores, self._behind, self._find, self._tell)
        self._writes = Writes(self, self._needed, self._behind, self._repairs)

    # -- reading: MultiStore does it, and asks this -----------------------------------------------------------

    def _order(self, key: str) -> Sequence[int]:
        if not self._behind:
            return self._readable
        behind = self._behind.of(key)
        return [number for number in self._readable if number not in behind]

    def _is_plain(self, key: str) -> bool:
        return not self._behind.of(key)

    async def _read(
        self,
        key: str,
        call: Callable[[ObjectStore], Awaitable[T]],
        known: Mapping[int, StorageError] | None = None,
    ) -> Found[T]:
        """
        Read as ever, but look again at children that lacked the object before another one gave it.

        It may have been put meanwhile, and once more: the other one can be ahead of what they give who comes next.
        """
        found = await super()._read(key, call, known)
        for number, error in found.errors.items():
            if isinstance(error, KeyNotFoundError) and number not in self._behind.of(key):
                try:
                    value = await call(self.stores[number])
                except RangeNotSatisfiableError:
                    raise
                except StorageError:
                    continue
                return Found(value, number, {other: found.errors[other] for other in found.errors if other != number})
        return found

    def _verdict(self, key: str, errors: Mapping[int, StorageError]) -> StorageError:
        invalid = [error for error in errors.values() if isinstance(error, InvalidKeyError)]
        if len(self.stores) - len(invalid) < self._needed:
            return invalid[0]
        missing = [error for error in errors.values() if isinstance(error, KeyNotFoundError)]
        failed = [error for error in errors.values() if error not in missing and error not in invalid]
        silent = len(self._readable) - len(missing) - len(invalid)
        if missing and (not failed or self._behind.by_name(key) or silent < self._witnesses):
            return missing[0]
        if failed:
            return failed[0]
        return StoreUnavailableError("the children that can be read missed the last write", key=key, store=self)

    async def _served(self, key: str, errors: Mapping[int, StorageError]) -> None:
        if self.repair and (errors or self._behind):
            await self._repairs.after_read(key, errors)

    async def _find(self, key: str, without: Collection[int]) -> int:
        """Return the first child that has an object, for a repair."""
        known: dict[int, StorageError] = {number: KeyNotFoundError(key) for number in without}
        return (await super()._read(key, lambda store: store.head(key), known)).number

    # -- listing -------------------------------------------------------------------------------------------------

    def _union(self, listings: Sequence[AsyncIterator[T]], key: Callable[[T], str]) -> AsyncIterator[T]:
        failing: set[int] = set()
        return merged([self._listing(number, listings[number], key, failing) for number in self._readable], key)

    def children(self, prefix: str = "", delimiter: str = "/") -> AsyncIterator[str]:
        # a prefix may be there for nothing but a deleted object on a child that is behind
        return ObjectStore.children(self, prefix, delimiter) if self._behind else super().children(prefix, delimiter)

    async def _listing(
        self, number: int, items: AsyncIterator[T], key: Callable[[T], str], failing: set[int]
    ) -> AsyncIterator[T]:
        """Yield what a child lists and can be believed; it ends early where the others have all that it has."""
        try:
            if number in self._behind.whole:
                raise StoreUnavailableError(f"{self._name(number)} has missed too many writes: verify(repair=True)")
            async for item in items:
                if number not in self._behind.of(key(item)):
                    yield item
        except StorageError as error:
            failing.add(number)
            if len(failing) >= self._witnesses or self._behind.hidden(failing):
                raise
            self._tell(number, error)

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
        check_key(key, self)
        check_conditions(if_absent, if_match)
        kept = check_attributes(attributes) or None
        if kept and not self.capabilities.attributes:
            raise UnsupportedOperationError("not every child keeps attributes", key=key, store=self)
        conditional = if_absent or if_match is not None

        async def put(number: int, content: Data) -> str:
            if number:
                return marked(await self.stores[number].put(key, content, attributes=kept), number)
            return await self.base.put(key, content, if_absent=if_absent, if_match=if_match, attributes=kept)

        if not is_stream(data):
            return await self._writes.write("put", key, partial(put, content=as_bytes(data)), conditional)
        async with aclosing(chunks(data)) as pieces:
            first, second = await anext(pieces, b""), await anext(pieces, None)
            if second is None:
                return await self._writes.write("put", key, partial(put, content=first), conditional)
            return await self._writes.write_stream(key, put, _chained([first, second], pieces), conditional)

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        check_key(key, self)

        def delete(number: int) -> Awaitable[None]:
            return self.stores[number].delete(key) if number else self.base.delete(key, if_match=if_match)

        await self._writes.write("delete", key, delete, if_match is not None)

    async def delete_many(
        self, keys: Iterable[str] | AsyncIterable[str], *, raise_errors: bool = True
    ) -> dict[str, None | StorageError]:
        results: dict[str, None | StorageError] = dict.fromkeys([key async for key in stream(keys)])
        valid = []
        for key in results:
            if is_key(key):
                valid.append(key)
            else:
                results[key] = await result_of(self.delete(key))
        for begin in range(0, len(valid), PAGE):
            page = valid[begin : begin + PAGE]
            async with self._repairs.alone(*page):
                results |= await self._writes.delete_page(page)
        return raise_failures(results, self, raise_errors)

    async def copy(self, source: str, target: str, *, if_absent: bool = False) -> str:
        return await self._move("copy", [target], source, target, if_absent)

    async def rename(self, source: str, target: str, *, if_absent: bool = False) -> str:
        return await self._move("rename", [target, source], source, target, if_absent)

    async def _move(
        self, action: Literal["copy", "rename"], changed: list[str], source: str, target: str, if_absent: bool
    ) -> str:
        """Copy or rename inside of each child, where it never comes here."""
        check_key(source, self)
        check_key(target, self)
        if len(self._readable) < len(self.stores):  # what cannot be read cannot copy
            plain = ObjectStore.copy if action == "copy" else ObjectStore.rename
            return await plain(self, source, target, if_absent=if_absent)

        async def move(number: int) -> str:
            if number in self._behind.of(source):
                raise StoreUnavailableError("it missed the last write of the source", key=source)
            native: Callable[..., Awaitable[str]] = getattr(self.stores[number], action)
            call = partial(native, source, target, if_absent=if_absent and number == 0)
            try:
                etag = await call()
            except KeyNotFoundError as error:
                if not await self._repairs.restore(source, number, error):
                    raise
                etag = await call()
            return marked(etag, number)

        async with self._repairs.alone(source, target):
            for number in sorted(self._behind.by_name(source)):
                await self._repairs.catch_up(source, number)
            return await self._writes.write_alone(action, changed, move, if_absent)

    # -- about itself --------------------------------------------------------------------------------------------

    def verify(self, prefix: str = "", *, repair: bool = False, content: bool = True) -> AsyncIterator[Difference]:
        """
        Compare the children, and yield what differs, in the order of keys.

        The version that most children have is right, of equally many that of the first; an object that some have and
        others lack was lost, unless this mirror deleted it. Children that cannot be read are left out.

        Args:
            prefix: compare only keys that start with this.
            repair: put right what differs.
            content: read all objects and compare their bytes; else only sizes and attributes.

        Raises:
            StorageError: a child fails, and so cannot be compared.
        """
        check = Verification(self.stores, self._readable, self._behind, self._repairs, self.capabilities.attributes)
        return check.run(prefix, repair, content)

    @property
    def capabilities(self) -> Capabilities:
        able = [store.capabilities for store in self.stores]
        read = [able[number] for number in self._readable]
        return self._supported(
            Capabilities(
                listable=all(each.listable for each in read),
                conditional_put=able[0].conditional_put,
                conditional_delete=able[0].conditional_delete,
                attributes=all(each.attributes for each in able),
                ranges=all(each.ranges for each in read),
                streaming=all(each.streaming for each in able),
                bounded_listing=all(each.bounded_listing for each in read),
                cheap_head=all(each.cheap_head for each in read),
                etags=all(each.etags for each in read),
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
