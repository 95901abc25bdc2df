"""`describe`: a stack of stores as a tree, to be read by people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from storage._sync.facade import SyncStore
from storage.base import ObjectStore

__all__ = ["describe"]


def describe(store: ObjectStore[Any, Any] | SyncStore[Any]) -> str:
    """
    Return a stack as a tree, a store a line: how it was made, and which capabilities it has not, itself and below it.

    A store of `storage.sync` is described as the async one that it calls. No secret is shown, as in no ``repr``.
    """
    return "\n".join(_lines(store.async_store if isinstance(store, SyncStore) else store))


def _lines(store: ObjectStore[Any, Any]) -> Iterator[str]:
    parts = store._parts()
    made = repr(store)
    for part in parts.values():
        made = made.replace(repr(part), "...", 1)
    able = store.capabilities
    lacking = [each.name for each in fields(able) if not getattr(able, each.name)]
    yield f"{made}   cannot: {', '.join(lacking)}" if lacking else made
    for number, (name, part) in enumerate(parts.items(), start=1):
        branch, beside = ("└── ", "    ") if number == len(parts) else ("├── ", "│   ")
        first, *rest = _lines(part)
        yield branch + (first if name == "base" else f"{name}: {first}")
        yield from (beside + line for line in rest)
