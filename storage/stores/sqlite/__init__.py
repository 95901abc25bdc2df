"""`SqliteStore`, an object store in one SQLite database."""

from __future__ import annotations

from storage.stores.sqlite.store import SqliteStore as SqliteStore

__all__ = ["SqliteStore"]
