"""See `store`."""

from __future__ import annotations

from storage.decorators.routing.store import RoutingStore as RoutingStore

__all__ = ["RoutingStore"]
