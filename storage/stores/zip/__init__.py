"""`ZipStore`, an object store in one zip archive."""

from __future__ import annotations

from storage.stores.zip.store import ZipStore as ZipStore

__all__ = ["ZipStore"]
