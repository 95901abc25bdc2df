"""See `store`."""

from __future__ import annotations

from storage.decorators.retrying.store import RetryingStore as RetryingStore

__all__ = ["RetryingStore"]
