"""Stores and decorators as a user writes them, with no more than the documentation asks for."""

from __future__ import annotations

from collections.abc import AsyncIterator

from storage import CorruptObjectError, DataTransform, KeyNotFoundError, KeyTransform, ObjectStore

__all__ = ["BackwardsStore", "EndingStore", "MinimalStore", "SaltedStore"]


class MinimalStore(ObjectStore):
    """The five methods over a dict, without a single option."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    async def get(self, key: str) -> bytes:  # type: ignore[override]  # to leave the options out is what is tested
        if key not in self.objects:
            raise KeyNotFoundError(key)
        return self.objects[key]

    async def put(self, key: str, data: bytes) -> None:  # type: ignore[override]
        self.objects[key] = data

    async def delete(self, key: str) -> None:  # type: ignore[override]
        self.objects.pop(key, None)

    async def exists(self, key: str) -> bool:
        return key in self.objects

    async def keys(self) -> AsyncIterator[str]:  # type: ignore[override]
        for key in list(self.objects):
            yield key


class BackwardsStore(KeyTransform):
    """Keys are written backwards below: a transform that does not keep their order."""

    def encode(self, key: str) -> str:
        return key[::-1]

    def decode(self, inner: str) -> str | None:
        return inner[::-1]


class EndingStore(KeyTransform):
    """Keys have an extension below."""

    def encode(self, key: str) -> str:
        return f"{key}.tif"

    def decode(self, inner: str) -> str | None:
        return inner.removesuffix(".tif") if inner.endswith(".tif") else None


class SaltedStore(DataTransform):
    """Every object has a grain of salt at either end: a codec that works on whole objects only."""

    def encode(self, data: bytes) -> bytes:
        return b"salt" + data + b"salt"

    def decode(self, data: bytes) -> bytes:
        if len(data) < 8 or not (data.startswith(b"salt") and data.endswith(b"salt")):
            raise CorruptObjectError("not salted data")
        return data[4:-4]
