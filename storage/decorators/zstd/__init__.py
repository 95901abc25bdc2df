"""`ZstdStore`, which compresses objects with Zstandard, and its coder."""

from __future__ import annotations

from storage.decorators.zstd.store import ZstdStore as ZstdStore

__all__ = ["ZstdStore"]
