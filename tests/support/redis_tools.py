"""Helpers of the tests of `RedisStore`."""

from __future__ import annotations

__all__ = ["name"]


def name(key: str) -> str:
    return f"{{storage:p}}:o:{key}"
