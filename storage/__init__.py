"""
Object stores for asyncio: one small contract, stores that keep bytes in memory, files, SQLite or zip archives, and
decorators that stack on any of them. ``storage.sync`` is the same without ``await``.

Names are imported when they are first used, so that ``import storage`` costs nothing and pulls in no back end.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from storage.base import ObjectStore as ObjectStore
    from storage.stores.dict import DictStore as DictStore

#: Where each public name lives; the names above are for type checkers, and a test holds the two against each other.
_HOMES = {
    "DictStore": "storage.stores.dict",
    "ObjectStore": "storage.base",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module 'storage' has no attribute {name!r}") from None
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
