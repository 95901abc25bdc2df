"""See `store`."""

from __future__ import annotations

from storage.decorators.expiring.store import ExpiringStore as ExpiringStore

__all__ = ["ExpiringStore"]
