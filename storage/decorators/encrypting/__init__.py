"""`EncryptingStore`, which encrypts objects with AES-GCM, and its parts."""

from __future__ import annotations

from storage.decorators.encrypting.store import EncryptingStore as EncryptingStore

__all__ = ["EncryptingStore"]
