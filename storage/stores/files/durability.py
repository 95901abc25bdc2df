"""`Durability`: what a put or a delete that has returned outlasts."""

from __future__ import annotations

from typing import Literal, get_args

__all__ = ["Durability", "check_durability"]

Durability = Literal["atomic", "fsync"]


def check_durability(durability: Durability) -> Durability:
    """
    Return *durability* when it is one.

    Raises:
        ValueError: it is another value.
    """
    if durability not in get_args(Durability):
        raise ValueError(f"durability must be 'atomic' or 'fsync', not {durability!r}")
    return durability
