"""`FallbackStore`: objects are written to the first of several stores, and read from all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from storage._core.claims import claimed
from storage._core.conditions import WriteConditions
from storage.base import ObjectStore
from storage.decorators.bases.multi_store import MultiStore, tag_etag
from storage.decorators.bases.streams import takes_bytes
from storage.decorators.expiring.children import expiring_alike
from storage.errors import (
    ConfigError,
    InvalidKeyError,
    KeyExistsError,
    KeyNotFoundError,
    PreconditionFailedError,
    StorageError,
    UnsupportedOperationError,
)
from storage.types import Attributes, Capabilities, In, Items, Out

__all__ = ["FallbackStore"]


class FallbackStore(MultiStore[In, Out]):
    """
    Objects are read from the first child that has them, and written only to the first one: for example a new store
    before an old archive, which is never changed.

    A child that fails is skipped like one that lacks the object; but if no other child has the object, the error is
    raised, as the failing child may have it. A listing is the union of all children, and fails if one of them does.

    An object of another child can be replaced, which hides it. It cannot be deleted or renamed, as it would still be
    found in the other child: that raises `UnsupportedOperationError`. Conditions apply to the objects of all children.

    Args:
        children: the stores, one or more, beginning with the one that is written to; all must be readable.

    Raises:
        ConfigError: there is no child, one twice, or one that cannot be read.
    """

    _steppable = True

    def __init__(self, children: Sequence[ObjectStore[In, Out]]) -> None:
        super().__init__(expiring_alike(children))
        for number, store in enumerate(self.stores):
            if not claimed(store).readable:
                raise ConfigError(f"{self._name(number)} cannot be read; remove it, or use a MirroringStore")

    def _not_found_error(self, key: str, errors: Mapping[int, StorageError]) -> StorageError:
        failed = [error for error in errors.values() if not isinstance(error, KeyNotFoundError | InvalidKeyError)]
        return failed[0] if failed else errors[0]

    # -- writing -------------------------------------------------------------------------------------------------

    async def put(
        self,
        key: str,
        data: In,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        attributes: Attributes | None = None,
    ) -> str:
        WriteConditions.of(if_absent, if_match)  # both together are refused
        if if_absent:
            await self._check_absent(key)
        if if_match is not None and await self._is_etag_of_older(key, if_match):
            try:  # the version is of another child, and is current as long as the first one lacks the object
                return await self.base.put(key, data, if_absent=True, attributes=attributes)
            except KeyExistsError as error:
                raise PreconditionFailedError(key, store=self) from error
        return await self.base.put(key, data, if_absent=if_absent, if_match=if_match, attributes=attributes)

    async def put_many(
        self,
        items: Items[In],
        *,
        raise_errors: bool = True,
    ) -> dict[str, str | StorageError]:
        return await self.base.put_many(items, raise_errors=raise_errors)

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        await self._check_only_first(key, "delete")
        await self.base.delete(key, if_match=if_match)

    async def copy(self, source: str, target: str, *, if_absent: bool = False) -> str:
        if if_absent:
            await self._check_absent(target)
        try:
            return await self.base.copy(source, target, if_absent=if_absent)
        except KeyNotFoundError:
            if not takes_bytes(self) and await self.exists(source):
                raise UnsupportedOperationError(
                    "copy from one store of values to another: use get and put", key=source, store=self
                ) from None
            return await ObjectStore[In, Out].copy(self, source, target, if_absent=if_absent)

    async def rename(self, source: str, target: str, *, if_absent: bool = False) -> str:
        await self._check_only_first(source, "rename")
        if if_absent:
            await self._check_absent(target)
        return await self.base.rename(source, target, if_absent=if_absent)

    async def _find_older(self, key: str) -> int | None:
        """Return the number of the first child that has the object, the first child left out; None if none has."""
        for number, store in enumerate(self.stores[1:], start=1):
            try:
                if await store.exists(key):
                    return number
            except InvalidKeyError:
                continue
        return None

    async def _check_absent(self, key: str) -> None:
        if await self._find_older(key) is not None:
            raise KeyExistsError(key, store=self)

    async def _check_only_first(self, key: str, operation: str) -> None:
        number = await self._find_older(key)
        if number is not None:
            raise UnsupportedOperationError(
                f"{operation} of an object in children[{number}], which is never written to", key=key, store=self
            )

    async def _is_etag_of_older(self, key: str, etag: str) -> bool:
        """Return whether this is the etag of the object in the children after the first one."""
        number = await self._find_older(key)
        return number is not None and etag == tag_etag((await self.stores[number].head(key)).etag, number)

    # -- description ---------------------------------------------------------------------------------------------

    @property
    def capabilities(self) -> Capabilities:
        every = [store.capabilities for store in self.stores]
        first = every[0]
        return self._supported(
            replace(
                Capabilities.common(every),
                readable=first.readable,
                writable=first.writable,
                conditional_put=first.conditional_put,
                conditional_delete=first.conditional_delete,
                attributes=first.attributes,
            )
        )
