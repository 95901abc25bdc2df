"""`describe`: a stack of stores as a tree, for people to read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from storage._sync.facade import SyncStore
from storage.base import ObjectStore

__all__ = ["describe"]


def describe(store: ObjectStore[Any, Any] | SyncStore[Any]) -> str:
    """
    Return a stack as a tree with a line for each store: its constructor call and the capabilities that it lacks.

    A store of `storage.sync` is described as the async store that it calls. Secrets are not shown, as in ``repr``.
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
