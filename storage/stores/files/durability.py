"""`Durability`: what a put or a delete that has returned outlasts."""

from __future__ import annotations

from typing import Literal

__all__ = ["Durability"]

Durability = Literal["atomic", "fsync"]
