"""`ReadonlyStore`: objects can be read, but not changed."""

from __future__ import annotations

from dataclasses import replace

from storage._core.claims import claimed
from storage.base import ObjectStore
from storage.decorators.bases.store_decorator import StoreDecorator
from storage.errors import ConfigError, StorageError, UnsupportedOperationError
from storage.types import Attributes, Capabilities, In, Items, Keys, Out

__all__ = ["ReadonlyStore"]


class ReadonlyStore(StoreDecorator[In, Out]):
    """
    Objects can be read; every method that would change an object raises `UnsupportedOperationError`.

    Args:
        base: the store below.

    Raises:
        ConfigError: *base* cannot be read.
    """

    _steppable = True

    def __init__(self, base: ObjectStore[In, Out]) -> None:
        super().__init__(base)
        if not claimed(base).readable:
            raise ConfigError(
                f"{type(self).__name__} over {type(base).__name__}, which cannot be read: together they can do "
                "nothing; remove one of them"
            )

    async def put(
        self,
        key: str,
        data: In,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        attributes: Attributes | None = None,
    ) -> str:
        raise self._unsupported("put", key)

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        raise self._unsupported("delete", key)

    async def put_many(
        self,
        items: Items[In],
        *,
        raise_errors: bool = True,
    ) -> dict[str, str | StorageError]:
        raise self._unsupported("put_many")

    async def delete_many(self, keys: Keys, *, raise_errors: bool = True) -> dict[str, None | StorageError]:
        raise self._unsupported("delete_many")

    async def copy(self, source: str, target: str, *, if_absent: bool = False) -> str:
        raise self._unsupported("copy", target)

    async def rename(self, source: str, target: str, *, if_absent: bool = False) -> str:
        raise self._unsupported("rename", source)

    async def clear(self, prefix: str = "") -> None:
        raise self._unsupported("clear")

    @property
    def capabilities(self) -> Capabilities:
        return self._supported(
            replace(self.base.capabilities, writable=False, conditional_put=False, conditional_delete=False)
        )

    def _unsupported(self, operation: str, key: str | None = None) -> UnsupportedOperationError:
        return UnsupportedOperationError(f"{operation} on a read-only store", key=key, store=self)
