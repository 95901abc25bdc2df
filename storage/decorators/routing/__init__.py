"""`RoutingStore`, which chooses a store by the key, and its table of routes."""

from __future__ import annotations

from storage.decorators.routing.store import RoutingStore as RoutingStore

__all__ = ["RoutingStore"]
