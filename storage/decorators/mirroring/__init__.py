"""See `store`."""

from __future__ import annotations

from storage.decorators.mirroring.store import MirroringStore as MirroringStore
from storage.decorators.mirroring.store import Require as Require

__all__ = ["MirroringStore", "Require"]
