"""`MirroringStore`, which keeps every object in several stores, and its parts."""

from __future__ import annotations

from storage.decorators.mirroring.store import MirroringStore as MirroringStore
from storage.decorators.mirroring.store import Require as Require

__all__ = ["MirroringStore", "Require"]
