"""Stores that tests use in place of real ones."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator

from storage import Attributes, Data, ObjectStore, StoreDecorator

__all__ = ["WatchedStore"]


class WatchedStore(StoreDecorator):
    """Writes down what is listed and what is put."""

    def __init__(self, base: ObjectStore) -> None:
        super().__init__(base)
        self.seen: list[str] = []

    def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
        self.seen.append(f"keys {prefix}")
        return super().keys(prefix, start_after=start_after)

    def children(self, prefix: str = "", delimiter: str = "/") -> AsyncIterator[str]:
        self.seen.append(f"children {prefix}")
        return super().children(prefix, delimiter)

    async def put(
        self,
        key: str,
        data: Data,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        attributes: Attributes | None = None,
    ) -> str:
        self.seen.append(f"put {key} {'stream' if isinstance(data, AsyncIterable) else 'bytes'}")
        return await super().put(key, data, if_absent=if_absent, if_match=if_match, attributes=attributes)
