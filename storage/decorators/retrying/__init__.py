"""`RetryingStore`, which repeats operations that failed for a moment, and its parts."""

from __future__ import annotations

from storage.decorators.retrying.store import RetryingStore as RetryingStore

__all__ = ["RetryingStore"]
