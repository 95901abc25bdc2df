"""`ExpiringStore`, which removes objects after a deadline or above a bound, and its parts."""

from __future__ import annotations

from storage.decorators.expiring.store import ExpiringStore as ExpiringStore

__all__ = ["ExpiringStore"]
