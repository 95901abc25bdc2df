"""`Durability`: which failures a put or a delete that has returned survives."""

from __future__ import annotations

from typing import Literal, get_args

__all__ = ["Durability", "check_durability"]

Durability = Literal["atomic", "fsync"]


def check_durability(durability: Durability) -> Durability:
    """
    Return *durability* if it is valid.

    Raises:
        ValueError: it is not.
    """
    if durability not in get_args(Durability):
        raise ValueError(f"durability must be 'atomic' or 'fsync', not {durability!r}")
    return durability
