"""See `store`."""

from __future__ import annotations

from storage.stores.http.store import HttpStore as HttpStore

__all__ = ["HttpStore"]
