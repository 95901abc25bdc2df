"""`FaultProxy`, which stands between a client and a server, and the protocols that it speaks."""

from __future__ import annotations

from storage.testing.proxy.proxy import Fault as Fault
from storage.testing.proxy.proxy import FaultProxy as FaultProxy

__all__ = ["Fault", "FaultProxy"]
