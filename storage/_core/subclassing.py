"""
How a new subclass of `ObjectStore` is completed, once, when it is defined. Three rules:

1. **Options that it leaves out are supplied.** A ``get(self, key)`` gets ``byte_range``, and so on (`_SUPPLY`).
2. **What it overrides is not bypassed.** A store may copy natively, but a subclass that overrides ``put`` to check
   objects must see the copy. So a derived method stays native only if none of the methods that it is derived from
   (`DERIVED_FROM`) is overridden nearer to the class; else it is the contract's default again, built on ``self``.
3. **It claims no capability that it has lost.** `complete_class` collects the capabilities that are lost by both rules.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from storage._core.data import etag_of, whole
from storage._core.keys import check_key
from storage._core.traits import check_declarations
from storage.errors import UnsupportedOperationError
from storage.types import Attributes, ByteRange, Data

__all__ = ["DERIVED_FROM", "complete_class"]

#: The methods that each derived method replaces. A method comes after those that it is built on.
DERIVED_FROM: dict[str, tuple[str, ...]] = {
    "open": ("get",),
    "head": ("get", "open"),
    "get_many": ("get",),
    "put_many": ("put",),
    "delete_many": ("delete",),
    "children": ("keys",),
    "copy": ("get", "open", "put"),
    "rename": ("get", "open", "put", "copy", "delete"),
    "clear": ("keys", "delete", "delete_many"),
    "scan": ("keys", "get", "open", "head"),
}

#: The same for the optional methods that make `copy_store` faster.
_SHORTCUTS: dict[str, tuple[str, ...]] = {"_get_small": ("get", "open"), "_put_small": ("put",)}

#: The capabilities that a class lacks as long as it has the contract's default of a method.
_DEFAULT_COSTS = {"open": ("streaming",), "head": ("cheap_head",)}


def complete_class(cls: type[Any], contract: type[Any]) -> None:
    """Apply the three rules to *cls*, a new subclass of *contract*, and check what it declares."""
    check_declarations(cls, contract)
    if "_steppable" not in vars(cls):
        cls._steppable = cls._steppable and not any(_has_coroutine(base) for base in _nearer(cls, "_steppable"))

    for name, supply in _SUPPLY.items():
        provider = _provider(cls, name)
        if provider is cls or not issubclass(provider, contract):
            method = getattr(provider, name)
            if not _is_abstract(method):
                setattr(cls, name, supply(method))
    if (
        hasattr(cls.get, "_lost_capabilities")
        and not hasattr(cls.exists, "_lost_capabilities")
        and not _is_abstract(cls.exists)
    ):
        cls.exists = _checking(cls.exists)

    for name, primitives in {**DERIVED_FROM, **_SHORTCUTS}.items():
        order = cls.__mro__
        native = order.index(_provider(cls, name))
        if name == "head" and cls.head is not contract.head:
            cls._described_by = cls.head
        if any(order.index(_provider(cls, primitive)) < native for primitive in primitives):
            setattr(cls, name, getattr(contract, name))

    losses = {loss for name in _SUPPLY for loss in _lost_capabilities(cls, name)}
    for name, costs in _DEFAULT_COSTS.items():
        if getattr(cls, name) is getattr(contract, name):
            losses.update(costs)
    if cls.open is contract.open and cls._described_by is None:
        losses.add("attributes")
    if not cls._steppable:
        losses.add("steppable")
    cls._lost_capabilities = frozenset(losses)


def _provider(cls: type[Any], name: str) -> type[Any]:
    """Return the first class in the resolution order of *cls* whose body has *name*."""
    return next(base for base in cls.__mro__ if name in vars(base))


def _nearer(cls: type[Any], name: str) -> list[type[Any]]:
    """Return the classes that come before the one whose body has *name*."""
    return list(cls.__mro__[: cls.__mro__.index(_provider(cls, name))])


def _has_coroutine(cls: type[Any]) -> bool:
    """Return whether the class body has a method of the contract, or overrides any other coroutine."""
    return any(
        name in _SUPPLY
        or name in DERIVED_FROM
        or (inspect.iscoroutinefunction(value) and any(hasattr(base, name) for base in cls.__mro__[1:]))
        for name, value in vars(cls).items()
    )


def _is_abstract(method: Any) -> bool:
    return getattr(method, "__isabstractmethod__", False)


def _takes_any(method: Callable[..., Any]) -> bool:
    """Return whether the method takes options of any name."""
    return any(kind.kind is inspect.Parameter.VAR_KEYWORD for kind in inspect.signature(method).parameters.values())


def _lost_capabilities(cls: type[Any], name: str) -> Iterator[str]:
    """Yield the capabilities that a method loses; one with ``**options`` passes them on, so the next one counts too."""
    for base in cls.__mro__:
        if name in vars(base):
            method = getattr(base, name)
            yield from getattr(method, "_lost_capabilities", ())
            if not _takes_any(method):
                return


def _lacks(method: Callable[..., Any], *options: str) -> set[str]:
    """Return those of *options* that the method does not take."""
    return set() if _takes_any(method) else set(options) - set(inspect.signature(method).parameters)


def _losing(name: str, lacking: set[str], method: Any) -> Any:
    """Mark what was supplied for the method *name* with the capabilities that are lost with its missing options."""
    method._lost_capabilities = {loss for option in lacking for loss in _OPTION_COSTS.get((name, option), ())}
    return method


_OPTION_COSTS = {
    ("get", "byte_range"): ("ranges",),
    ("put", "if_absent"): ("conditional_put",),
    ("put", "if_match"): ("conditional_put",),
    ("put", "attributes"): ("attributes",),
    ("delete", "if_match"): ("conditional_delete",),
    ("keys", "prefix"): ("bounded_listing",),
    ("keys", "start_after"): ("bounded_listing",),
}


def _refuse(store: Any, method: str, option: str, key: str) -> UnsupportedOperationError:
    return UnsupportedOperationError(f"{type(store).__name__}.{method} does not take {option}", key=key, store=store)


def _supply_get(get: Any) -> Any:
    lacking = _lacks(get, "byte_range")
    if not lacking:
        return get

    @functools.wraps(get)
    async def supplied(self: Any, key: str, *, byte_range: ByteRange | None = None) -> bytes:
        data: bytes = await get(self, check_key(key, self))
        if byte_range is None:
            return data
        start, stop = byte_range.within(len(data), key)
        return data[start:stop]

    return _losing("get", lacking, supplied)


def _supply_put(put: Any) -> Any:
    lacking = _lacks(put, "if_absent", "if_match", "attributes")
    if not lacking:
        return put

    @functools.wraps(put)
    async def supplied(self: Any, key: str, data: Data, **options: Any) -> str:
        return await _put_without(self, put, lacking, key, data, **options)

    return _losing("put", lacking, supplied)


async def _put_without(
    store: Any,
    put: Any,
    lacking: set[str],
    key: str,
    data: Data,
    *,
    if_absent: bool = False,
    if_match: str | None = None,
    attributes: Attributes | None = None,
) -> str:
    """Call a user's `put`, which lacks some options and takes whole bytes; return an etag even if it returns none."""
    given = {"if_absent": if_absent or None, "if_match": if_match, "attributes": attributes or None}
    check_key(key, store)
    for option in lacking:
        if given[option] is not None:
            raise _refuse(store, "put", option, key)
    content = await whole(data)
    options = {option: value for option, value in given.items() if option not in lacking and value is not None}
    etag: str | None = await put(store, key, content, **options)
    if etag is not None:
        return etag
    return etag_of(content) if store._described_by is None else (await store._described_by(key)).etag


def _supply_delete(delete: Any) -> Any:
    lacking = _lacks(delete, "if_match")
    if not lacking:
        return delete

    @functools.wraps(delete)
    async def supplied(self: Any, key: str, *, if_match: str | None = None) -> None:
        if if_match is not None:
            raise _refuse(self, "delete", "if_match", key)
        await delete(self, check_key(key, self))

    return _losing("delete", lacking, supplied)


def _checking(exists: Any) -> Any:
    """Return `exists` with a check of the key: a store whose `get` was supplied does not check keys itself."""

    @functools.wraps(exists)
    async def supplied(self: Any, key: str) -> bool:
        found: bool = await exists(self, check_key(key, self))
        return found

    return _losing("exists", set(), supplied)


def _supply_keys(keys: Any) -> Any:
    lacking = _lacks(keys, "prefix", "start_after")
    if not lacking:
        return keys

    @functools.wraps(keys)
    async def supplied(self: Any, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
        listed = keys(self) if "prefix" in lacking else keys(self, prefix)
        found = {key async for key in listed if key.startswith(prefix) and key > start_after}
        for key in sorted(found):
            yield key

    return _losing("keys", lacking, supplied)


_SUPPLY: dict[str, Callable[[Any], Any]] = {
    "get": _supply_get,
    "put": _supply_put,
    "delete": _supply_delete,
    "keys": _supply_keys,
}
