"""`RoutingStore`: several stores as one; the key of an object decides which of them has it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from copy import copy as copied
from operator import attrgetter, itemgetter
from typing import Any, TypeVar

from storage._concurrency.tasks import CONCURRENCY, for_each, stream
from storage._core.bulk import pairs_of, raise_failures, result_of
from storage._core.keys import check_key
from storage._core.left_out import LeftOut
from storage._core.merging import merged
from storage._core.patterns import compiled
from storage._core.traits import Trait
from storage.base import ObjectStore
from storage.decorators.bases.stacking import check_order, stack
from storage.decorators.routing.table import Routes, UnprefixedStore
from storage.errors import ConfigError, InvalidKeyError, StorageError, UnsupportedOperationError
from storage.reader import ObjectReader
from storage.types import Attributes, ByteRange, Capabilities, In, Items, Keys, ObjectInfo, Out

__all__ = ["RoutingStore"]

T = TypeVar("T")

#: `put_many` collects so many items, or bytes of data, before it distributes them to the stores.
_ITEMS, _BYTES = 1000, 8 << 20


class RoutingStore(ObjectStore[In, Out]):
    """
    Several stores as one: the key of an object decides which of them has it.

    It is the store of the first pattern that matches the whole key; else that of the longest prefix in *routes*; else
    *default*. If no route matches a key, every method raises `InvalidKeyError`. Objects that a store holds under keys
    of another store are neither listed nor changed.

    An object is streamed when it is copied or renamed from one store to another; such a rename is a copy and a delete.

    Args:
        routes: the store of each prefix; one store may have several prefixes.
        patterns: the store of each regular expression of Python's `re`, in the order in which they are tried.
        default: the store of all other keys.
        strip_prefix: cut the prefix off the keys in the stores of *routes*. Each store can then have one route only.

    Raises:
        ConfigError: there is no store, a pattern is not a regular expression, the route ``""`` leaves no keys for the
            default, or with *strip_prefix* two keys would be one object.
    """

    _steppable = True

    def __init__(
        self,
        routes: Mapping[str, ObjectStore[In, Out]] | None = None,
        *,
        patterns: Mapping[str, ObjectStore[In, Out]] | None = None,
        default: ObjectStore[In, Out] | None = None,
        strip_prefix: bool = False,
    ) -> None:
        self.routes: dict[str, ObjectStore[In, Out]] = dict(routes or {})
        self.patterns: dict[str, ObjectStore[In, Out]] = dict(patterns or {})
        self.default = default
        self.strip_prefix = strip_prefix
        stores = list(self._parts().values())
        for store in stores:
            check_order(self, store)
        self._check(stores)
        prefixes = self.routes if default is None else {"": default, **self.routes}
        self._routes = Routes(
            {
                prefix: UnprefixedStore(store, prefix) if strip_prefix and prefix else store
                for prefix, store in prefixes.items()
            },
            [(compiled(pattern), store) for pattern, store in self.patterns.items()],
        )
        self._has_values = any(Trait.VALUES in below._traits for store in stores for below in stack(store))

    def _check(self, stores: list[ObjectStore[In, Out]]) -> None:
        if not stores:
            raise ConfigError("a RoutingStore needs at least one route, or a default")
        if self.default is not None and "" in self.routes:
            raise ConfigError("the route '' matches every key and leaves none for the default; remove one of them")
        cut = [store for prefix, store in self.routes.items() if prefix and self.strip_prefix]
        if any(sum(store is other for other in stores) > 1 for store in cut):
            raise ConfigError(
                "with strip_prefix, keys of two routes to one store could be one object; "
                "put a PrefixStore over it for each route"
            )

    def _route(self, key: str) -> ObjectStore[In, Out]:
        """Return the store of *key*."""
        store = self._routes.find(check_key(key, self))
        if store is None:
            raise InvalidKeyError(f"no route matches the key; the routes are {self._routes}", key=key, store=self)
        return store

    # -- one object ----------------------------------------------------------------------------------------------

    async def get(self, key: str, *, byte_range: ByteRange | None = None) -> Out:
        return await self._route(key).get(key, byte_range=byte_range)

    async def put(
        self,
        key: str,
        data: In,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        attributes: Attributes | None = None,
    ) -> str:
        return await self._route(key).put(key, data, if_absent=if_absent, if_match=if_match, attributes=attributes)

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        await self._route(key).delete(key, if_match=if_match)

    async def exists(self, key: str) -> bool:
        return await self._route(key).exists(key)

    async def head(self, key: str) -> ObjectInfo:
        return await self._route(key).head(key)

    @asynccontextmanager
    async def open(self, key: str, *, byte_range: ByteRange | None = None) -> AsyncIterator[ObjectReader]:
        async with self._route(key).open(key, byte_range=byte_range) as reader:
            yield reader

    async def copy(self, source: str, target: str, *, if_absent: bool = False) -> str:
        one, other = self._route(source), self._route(target)
        if one is other:
            return await one.copy(source, target, if_absent=if_absent)
        if self._has_values:
            raise UnsupportedOperationError(
                "copy from one store of values to another: use get and put", key=source, store=self
            )
        return await ObjectStore[In, Out].copy(self, source, target, if_absent=if_absent)

    async def rename(self, source: str, target: str, *, if_absent: bool = False) -> str:
        one, other = self._route(source), self._route(target)
        if one is other:
            return await one.rename(source, target, if_absent=if_absent)
        return await ObjectStore[In, Out].rename(self, source, target, if_absent=if_absent)

    # -- listing -------------------------------------------------------------------------------------------------

    def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
        return self._listed(prefix, start_after, lambda store, start: store.keys(start, start_after=start_after), str)

    def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        return self._listed(
            prefix, start_after, lambda store, start: store.scan(start, start_after=start_after), attrgetter("key")
        )

    def children(self, prefix: str = "", delimiter: str = "/") -> AsyncIterator[str]:
        owner = self._routes.owner(prefix)
        return (
            ObjectStore[In, Out].children(self, prefix, delimiter)
            if owner is None
            else owner.children(prefix, delimiter)
        )

    def _listed(
        self,
        prefix: str,
        start_after: str,
        listing: Callable[[ObjectStore[In, Out], str], AsyncIterator[T]],
        key: Callable[[T], str],
    ) -> AsyncIterator[T]:
        to_list = self._routes.to_list(prefix, start_after)
        if to_list and self._routes.owner(prefix) is not None:
            [(start, store)] = to_list
            return listing(store, start)
        listings = [self._routed_here(store, listing(store, start), key) for start, store in to_list]
        return merged(listings, key, store=self)

    async def _routed_here(
        self, store: ObjectStore[In, Out], items: AsyncIterator[T], key: Callable[[T], str]
    ) -> AsyncIterator[T]:
        """Yield the items of a store's listing whose keys are routed to this store."""
        with LeftOut(self, lambda key: key if self._routes.find(key) is store else None):
            async for item in items:
                if self._routes.find(key(item)) is store:
                    yield item

    # -- bulk ----------------------------------------------------------------------------------------------------

    async def get_many(self, keys: Keys) -> dict[str, Out | StorageError]:
        return await self._split(await _distinct(keys), str, lambda store, part: store.get_many(part))

    async def put_many(
        self,
        items: Items[In],
        *,
        raise_errors: bool = True,
    ) -> dict[str, str | StorageError]:
        results: dict[str, str | StorageError] = {}
        async for batch in _batches(stream(pairs_of(items))):
            results |= await self._split(
                batch, itemgetter(0), lambda store, part: store.put_many(part, raise_errors=False)
            )
        return raise_failures(results, self, raise_errors)

    async def delete_many(self, keys: Keys, *, raise_errors: bool = True) -> dict[str, None | StorageError]:
        results: dict[str, None | StorageError] = await self._split(
            await _distinct(keys), str, lambda store, part: store.delete_many(part, raise_errors=False)
        )
        return raise_failures(results, self, raise_errors)

    async def clear(self, prefix: str = "") -> None:
        owner = self._routes.owner(prefix)
        if owner is None:
            await ObjectStore[In, Out].clear(self, prefix)
        else:
            await owner.clear(prefix)

    async def _split(
        self,
        items: Iterable[T],
        key: Callable[[T], str],
        work: Callable[[ObjectStore[In, Out], list[T]], Awaitable[dict[str, Any]]],
    ) -> dict[str, Any]:
        """Split a bulk call between the stores, concurrently, and return the results in the order of *items*."""
        results: dict[str, Any] = {}
        shares: dict[int, tuple[ObjectStore[In, Out], list[T]]] = {}
        for item in items:
            results[key(item)] = None  # keeps the caller's order
            try:
                store = self._route(key(item))
            except InvalidKeyError as error:
                results[key(item)] = error
            else:
                shares.setdefault(id(store), (store, []))[1].append(item)

        async def call(share: tuple[ObjectStore[In, Out], list[T]]) -> None:
            store, part = share
            done = await result_of(work(store, part))
            results.update(
                done if isinstance(done, dict) else {key(item): _error_for_key(done, key(item)) for item in part}
            )

        await for_each(shares.values(), call)
        return results

    # -- description ---------------------------------------------------------------------------------------------

    @property
    def capabilities(self) -> Capabilities:
        return self._supported(Capabilities.common(store.capabilities for store in self._parts().values()))

    def _parts(self) -> dict[str, ObjectStore[Any, Any]]:
        parts = {f"routes[{prefix!r}]": store for prefix, store in self.routes.items()}
        parts |= {f"patterns[{pattern!r}]": store for pattern, store in self.patterns.items()}
        return parts if self.default is None else {**parts, "default": self.default}

    def __repr__(self) -> str:
        patterns = f", patterns={self.patterns!r}" if self.patterns else ""
        default = f", default={self.default!r}" if self.default is not None else ""
        strip = ", strip_prefix=True" if self.strip_prefix else ""
        return f"{type(self).__name__}({self.routes!r}{patterns}{default}{strip})"


async def _distinct(keys: Keys) -> list[str]:
    return list(dict.fromkeys([key async for key in stream(keys)]))


async def _batches(items: AsyncIterator[tuple[str, T]]) -> AsyncIterator[list[tuple[str, T]]]:
    """Yield the items of `put_many` in lists of bounded size; data of unknown size counts as 512 KiB."""
    batch: list[tuple[str, T]] = []
    size = 0
    async for key, data in items:
        batch.append((key, data))
        size += len(data) if isinstance(data, bytes | bytearray | memoryview) else _BYTES // CONCURRENCY
        if size >= _BYTES or len(batch) >= _ITEMS:
            yield batch
            batch, size = [], 0
    yield batch


def _error_for_key(error: StorageError, key: str) -> StorageError:
    """Return a copy of the error of a whole bulk call, for this key."""
    own = copied(error).with_key(key)
    own.__cause__ = error
    return own
