"""See `store`."""

from __future__ import annotations

from storage.stores.sqlite.store import SqliteStore as SqliteStore

__all__ = ["SqliteStore"]
