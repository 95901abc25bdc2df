"""See `store`."""

from __future__ import annotations

from storage.decorators.encrypting.store import EncryptingStore as EncryptingStore

__all__ = ["EncryptingStore"]
