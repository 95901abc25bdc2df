"""Stores that cannot be read and are wrong, each in one way."""

from __future__ import annotations

from typing import Any

from wrong_stores.keys import Wrong

from storage import Capabilities, Data

__all__ = ["DropsObjects", "TellsNames"]


class TellsNames(Wrong):
    """Says that it cannot be read, and can."""

    found_by = "test_every_read_is_unsupported"

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(readable=False)


class DropsObjects(Wrong):
    """Takes streams and keeps nothing of them."""

    found_by = "test_sink_takes_objects"

    async def put(self, key: str, data: Data, **options: Any) -> str:
        return await super().put(key, data if isinstance(data, bytes) else b"", **options)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(readable=False)
